"""The first configuration that a newcomer runs: all five module libraries, a group file, and no trace of a failed start."""

import json

import pytest

from support import ROOT, SLOWNESS, run

CONFIG = (ROOT / "examples" / "quickstart" / "config.json").read_text()


def test_the_group_file_leads_to_every_provider(servers, workdir):
    server = servers.bedrock(CONFIG)
    document = json.loads(run(["bedrock-query", "na+sm", "-f", "mofka.json"]).stdout)
    providers = document[server.address]["providers"]
    assert [(p["name"], p["type"], p["provider_id"]) for p in providers] == [
        ("group_manager", "flock", 1),
        ("master_database", "yokan", 2),
        ("io_controller", "abt_io", 3),
    ]
    assert providers[1]["tags"] == ["mofka:master"] and providers[2]["dependencies"] == {"pool": "__primary__"}
    assert all(p["config"] for p in providers)
    server.stop()


def test_it_stays_small(servers):
    server = servers.bedrock(CONFIG)
    if SLOWNESS == 1:  # sanitizers have memory of their own
        assert server.resident_bytes() <= 12 << 20


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"name": "x", "type": "abt_io"}, 'providers[3] ("x"): missing dependency "pool" (type pool)'),
        ({"name": "x", "type": "yokan", "provider_id": 2}, 'provider id 2 is already used by "master_database"'),
        ({"name": "x", "type": "warbi"}, 'did you mean "warabi"?'),
        ({"name": "x", "type": "abt_io", "dependencies": {"pool": "nope"}}, "providers[3].dependencies.pool: no pool"),
        ({"name": "x", "type": "yokan", "config": {"databse": {}}}, 'did you mean "database"?'),
    ],
)
def test_a_failed_start_leaves_no_group_file(workdir, wrong, message):
    config = json.loads(CONFIG)
    config["providers"].append(wrong)
    (workdir / "config.json").write_text(json.dumps(config))
    result = run(["bedrock", "na+sm", "-c", "config.json"], check=False)
    assert result.returncode == 1 and message in result.stderr
    assert [path.name for path in workdir.iterdir()] == ["config.json"]


def test_a_running_group_keeps_its_file(servers, workdir):
    first = servers.bedrock(CONFIG)
    before = (workdir / "mofka.json").read_text()
    (workdir / "config.json").write_text(CONFIG)
    result = run(["bedrock", "na+sm", "-c", "config.json"], check=False)
    assert result.returncode == 1
    assert f"belongs to a group that is running ({first.address})" in result.stderr
    assert (workdir / "mofka.json").read_text() == before
    first.stop()


def test_the_file_of_a_dead_group_is_replaced(servers, workdir):
    servers.bedrock(CONFIG).stop()
    old = (workdir / "mofka.json").read_text()
    (workdir / "mofka.json").write_text(old)
    second = servers.bedrock(CONFIG)
    assert second.address in (workdir / "mofka.json").read_text()
    second.stop()


def test_other_files_are_not_overwritten(workdir):
    (workdir / "config.json").write_text(CONFIG)
    (workdir / "mofka.json").write_text("my notes")
    result = run(["bedrock", "na+sm", "-c", "config.json"], check=False)
    assert result.returncode == 1 and "is not a group file" in result.stderr
    assert (workdir / "mofka.json").read_text() == "my notes"
