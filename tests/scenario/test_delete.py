"""Deleting topics: files, registry, users that are there, servers that are away, and what an interruption leaves."""

import json

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE, persistent, two_servers, write_group_file
from support import PROTOCOL, SLOWNESS, run, wait_until

DRIVER = ["--driver", "mofka", "--driver.group_file", GROUP_FILE]
WAIT_S = 20 * SLOWNESS


def ctl(*words, check=True, **options):
    return run(["diaspora-ctl", *words, *DRIVER], check=check, **options)


def create(type_="default", partitions=2):
    path = ["--topic.config.partition.path", "files"] if type_ == "default" else []
    ctl("topic", "create", "--name", "t", "--topic.num_partitions", str(partitions), "--topic.config.type", type_, *path)
    ctl("produce", "--topic", "t", stdin="1\n2\n3\n4\n")


def delete(*words, **options):
    return ctl("topic", "delete", "--name", "t", *words, **options)


def topics():
    return ctl("topic", "list").stdout.split()


def providers(server):
    document = json.loads(run(["bedrock-query", PROTOCOL, "-f", GROUP_FILE]).stdout)[server.address]
    return [p for p in document["providers"] if p["type"] == "mofka"]


def directories(workdir):
    return sorted(path.name for path in (workdir / "files").iterdir())


@pytest.fixture
def service(servers):
    return servers.bedrock(FIRST_CONFIGURATION)


@pytest.mark.parametrize("type_", ["memory", "default"])
def test_nothing_is_left(service, workdir, type_):
    for _ in range(2):
        create(type_)
        ctl("consume", "--topic", "t", "--name", "c")
        assert 'topic "t" deleted' in delete().stderr
        assert topics() == [] and providers(service) == []
        assert type_ == "memory" or directories(workdir) == []
    missing = delete(check=False)
    assert missing.returncode == 1 and 'there is no topic "t"' in missing.stderr
    create(type_)
    assert len(ctl("consume", "--topic", "t", "--name", "c").stdout.splitlines()) == 4


def test_files_may_stay(service, workdir):
    create(partitions=1)
    uuid = providers(service)[0]["config"]["uuid"]
    delete("--keep-data")
    assert topics() == [] and directories(workdir) == [f"t-{uuid}"]
    ctl("topic", "create", "--name", "t", "--topic.config.type", "default", "--topic.config.partition.path", "files",
        "--topic.config.uuid", uuid)
    assert len(ctl("consume", "--topic", "t").stdout.splitlines()) == 4


def test_users_are_protected_unless_it_is_forced(servers, service, workdir):
    create()
    reader = servers.start(["diaspora-ctl", "consume", "--topic", "t", "--follow", *DRIVER], "reader")
    wait_until(lambda: reader.output().count("\n") >= 4, "the consumer has printed everything", WAIT_S)
    refused = delete(check=False)
    assert refused.returncode == 1 and 'topic "t" is in use: 2 producers and consumers' in refused.stderr
    assert topics() == ["t"] and reader.running()
    delete("--force")
    assert reader.wait(WAIT_S) == 1
    assert "the topic has been deleted" in reader.output()
    assert topics() == [] and directories(workdir) == []


def test_a_server_that_comes_back_does_not_bring_it_back(servers, workdir):
    server = servers.bedrock(persistent())
    create()
    server.kill()
    server = servers.bedrock(persistent())
    assert len(providers(server)) == 2
    delete()
    server.kill()
    server = servers.bedrock(persistent())
    assert topics() == [] and providers(server) == [] and directories(workdir) == []


def test_a_server_that_is_away_keeps_its_files(servers, workdir):
    first, second = two_servers(servers, workdir)
    create()
    uuid = providers(second)[0]["config"]["uuid"]
    second.kill()
    # As a dynamic group would do it.
    write_group_file(workdir, first)
    told = delete().stderr
    assert f"its files, if any, stay in files/t-{uuid}" in told
    assert topics() == [] and directories(workdir) == [f"t-{uuid}"]
    missing = delete(check=False)
    assert missing.returncode == 1 and 'there is no topic "t"' in missing.stderr


def test_what_was_interrupted_goes_on(service, workdir):
    create()
    uuid = providers(service)[1]["config"]["uuid"]
    obstacle = workdir / "files" / f"t-{uuid}.deleted" / "obstacle"
    obstacle.mkdir(parents=True)
    stopped = delete(check=False)
    assert stopped.returncode == 1 and "could not be deleted as a whole; try again: partition 1" in stopped.stderr
    assert topics() == []
    refused = ctl("produce", "--topic", "t", stdin="1\n", check=False)
    assert 'there is no topic "t"' in refused.stderr
    refused = ctl("topic", "create", "--name", "t", check=False)
    assert refused.returncode == 1 and '"diaspora-ctl topic delete" clears it away' in refused.stderr
    obstacle.rmdir()
    delete()
    assert providers(service) == [] and directories(workdir) == []
    create()


def test_what_a_crash_has_interrupted_goes_on(servers, workdir):
    """One partition is removed; of the other the provider has gone with its server, and the directory is there still."""
    server = servers.bedrock(persistent())
    create()
    uuid = providers(server)[1]["config"]["uuid"]
    obstacle = workdir / "files" / f"t-{uuid}.deleted" / "obstacle"
    obstacle.mkdir(parents=True)
    assert delete(check=False).returncode == 1
    server.kill()
    server = servers.bedrock(persistent())
    assert topics() == [] and providers(server) == []
    assert directories(workdir) == [f"t-{uuid}", f"t-{uuid}.deleted"]
    stopped = delete(check=False)
    assert stopped.returncode == 1 and f"t-{uuid}.deleted: cannot remove" in stopped.stderr
    obstacle.rmdir()
    (obstacle.parent / "chunk-000000.log").write_text("what was left")
    assert "stay" not in delete().stderr
    assert directories(workdir) == []
    create()


def test_a_partition_that_is_not_served_is_removed(servers, workdir):
    server = servers.bedrock(persistent())
    create()
    server.kill()
    uuid = directories(workdir)[0][2:]
    (workdir / "files" / f"t-{uuid}" / "partition.json").write_text("damaged")
    server = servers.bedrock(persistent())
    assert len(providers(server)) == 1
    assert "stay" not in delete().stderr
    assert topics() == [] and providers(server) == [] and directories(workdir) == []


def test_litter_is_swept(servers, workdir):
    """By a server that starts, and by a creation beside it; and nothing else is."""
    def drop_litter():
        litter = workdir / "files" / "gone-01234567-89ab-cdef-0123-456789abcdef.deleted"
        litter.mkdir(parents=True)
        (litter / "chunk-000000.log").write_text("what was left")

    kept = ["01234567-89ab-cdef-0123-456789abcdef.deleted", "mine.deleted"]
    for name in kept:
        (workdir / "files" / name).mkdir(parents=True)
    drop_litter()
    server = servers.bedrock(persistent())
    create(partitions=1)
    uuid = providers(server)[0]["config"]["uuid"]
    assert directories(workdir) == [kept[0], kept[1], f"t-{uuid}"]
    server.kill()
    drop_litter()
    server = servers.bedrock(persistent())
    assert directories(workdir) == [kept[0], kept[1], f"t-{uuid}"]
    assert "removed what an interrupted deletion had left" in server.output()
