"""Persistent databases in a running server: kill -9 loses nothing, and every wrong path or missing library is explained."""

import json
import re
import shutil

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE
from support import BUILD, run

TYPES = [t for t in ("rocksdb", "lmdb", "leveldb") if (BUILD / "lib" / f"libdango-yokan-{t}.so").exists()]
PACKAGES = {"rocksdb": "librocksdb-dev", "lmdb": "liblmdb-dev", "leveldb": "libleveldb-dev"}


def configuration(database_type, path, **options):
    """The master database as in the user guide; only its directory is another one."""
    return {
        "libraries": ["libyokan-bedrock-module.so"],
        "providers": [
            {
                "name": "master",
                "provider_id": 2,
                "type": "yokan",
                "tags": ["mofka:master"],
                "config": {
                    "database": {
                        "type": database_type,
                        "config": {"create_if_missing": True, "path": str(path), **options},
                    }
                },
            }
        ],
    }


def failed_start(workdir, config, program="bedrock", env=None):
    """Standard error of a server that does not come up."""
    (workdir / "failing.json").write_text(json.dumps(config))
    result = run([program, "na+sm", "-c", "failing.json"], check=False, env=env)
    assert result.returncode == 1, result.stderr
    return result.stderr


def acknowledged(process):
    return len(re.findall("acknowledged", process.output()))


@pytest.mark.parametrize("database_type", TYPES)
def test_kill_9_loses_nothing_acknowledged(servers, workdir, database_type):
    config = configuration(database_type, workdir / "mofka" / "master")
    server = servers.bedrock(config)
    client = servers.start(["yokan-peer", server.address, "2", "put", "1000000"])
    client.wait_for_output("acknowledged 200\n")
    server.kill()
    assert client.wait() == 1, client.output()
    count = acknowledged(client)
    assert count >= 200
    server = servers.bedrock(config)
    found = run(["yokan-peer", server.address, "2", "check", count])
    assert found.stdout == f"found {count}\n"
    server.stop()
    server = servers.bedrock(config)
    run(["yokan-peer", server.address, "2", "check", count])
    server.stop()


@pytest.mark.skipif("rocksdb" not in TYPES, reason="the plug-in is not built")
def test_topics_outlive_the_server(servers, workdir):
    """The configuration of the user guide with the master database on RocksDB: what was created is there again."""
    config = json.loads(FIRST_CONFIGURATION)
    config["providers"][1] = configuration("rocksdb", workdir / "mofka" / "master")["providers"][0]
    driver = ["--driver", "mofka", "--driver.group_file", GROUP_FILE]
    server = servers.bedrock(config)
    create = ["--topic.num_partitions", "1", "--topic.config.type", "memory"]
    run(["diaspora-ctl", "topic", "create", *driver, "--name", "lasting", *create])
    server.kill()
    server = servers.bedrock(config)
    assert run(["diaspora-ctl", "topic", "list", *driver]).stdout == "lasting\n"
    server.stop()


@pytest.mark.parametrize("database_type", TYPES)
def test_the_effective_configuration_is_shown(servers, workdir, database_type):
    server = servers.bedrock(configuration(database_type, workdir / "db"))
    document = json.loads(run(["bedrock-query", "na+sm", "-a", server.address]).stdout)
    database = document[server.address]["providers"][0]["config"]["database"]
    assert database["type"] == database_type
    assert database["config"]["path"] == str(workdir / "db") and database["config"]["create_if_missing"] is True
    assert "disable_doc_mixin_lock" in database["config"]
    server.stop()


@pytest.mark.parametrize("database_type", TYPES)
def test_a_second_server_is_told_who_has_the_database(servers, workdir, database_type):
    config = configuration(database_type, workdir / "db")
    server = servers.bedrock(config)
    text = failed_start(workdir, config)
    assert f"in use by another process (id {server.pid})" in text and str(workdir / "db") in text
    server.stop()


@pytest.mark.parametrize("database_type", TYPES)
def test_wrong_paths_are_explained(workdir, database_type):
    text = failed_start(workdir, configuration(database_type, workdir / "db", create_if_missing=False))
    assert 'config.database.config: path: cannot open the directory' in text and "create_if_missing" in text
    text = failed_start(workdir, configuration(database_type, "/proc/nobody/may/write/here"))
    assert "cannot create the directory" in text
    text = failed_start(workdir, configuration(database_type, workdir, patth="x"))
    assert 'did you mean "path"?' in text


@pytest.mark.parametrize("database_type", sorted(PACKAGES))
def test_a_missing_library_names_its_package(workdir, database_type):
    """A copy of the programs without the plug-ins, as on a machine where they were not built."""
    for folder, pattern in (("bin", "bedrock"), ("lib", "libdango.so*"), ("lib", "libyokan-bedrock-module.so")):
        (workdir / folder).mkdir(exist_ok=True)
        for source in (BUILD / folder).glob(pattern):
            shutil.copy(source, workdir / folder, follow_symlinks=False)
    text = failed_start(workdir, configuration(database_type, workdir / "db"), program=workdir / "bin" / "bedrock")
    assert f"libdango-yokan-{database_type}.so" in text and PACKAGES[database_type] in text
    assert not (workdir / "db").exists()


def test_a_server_without_them_does_not_load_them(servers, workdir):
    config = configuration("map", "")
    config["providers"][0]["config"]["database"]["config"] = {}
    server = servers.bedrock(config)
    with open(f"/proc/{server.pid}/maps") as maps:
        mapped = maps.read()
    assert not [name for name in PACKAGES if name in mapped]
    server.stop()
