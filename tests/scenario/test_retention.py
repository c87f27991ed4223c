"""Retention: full chunks go when they are too much, too old or acknowledged, and consumers are told what they missed."""

import json
import re

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE
from support import PROTOCOL, SLOWNESS, run, wait_until

DRIVER = ["--driver", "mofka", "--driver.group_file", GROUP_FILE]
WAIT_S = 20 * SLOWNESS
CHUNK = 100  # events


def ctl(*words, check=True, **options):
    return run(["diaspora-ctl", *words, *DRIVER], check=check, **options)


def create(*retention, uuid=None):
    options = [word for key, value in retention for word in (f"--topic.config.partition.retention.{key}", str(value))]
    options += ["--topic.config.uuid", uuid] if uuid else []
    ctl("topic", "create", "--name", "t", "--topic.config.type", "default", "--topic.config.partition.path", "files",
        "--topic.config.partition.max_events_per_chunk", str(CHUNK), *options)


def produce(count):
    """Batches of one event, so that chunks are exactly full."""
    for first in range(0, count, CHUNK):
        ctl("produce", "--topic", "t", stdin="".join(f"{i}\n" for i in range(first, min(first + CHUNK, count))))


def state():
    return json.loads(ctl("topic", "positions", "--name", "t", "--json").stdout)[0]


def wait_for_first(first):
    wait_until(lambda: state()["first"] >= first, f"events begin at {first}", WAIT_S)


def consume(*words):
    return ctl("consume", "--topic", "t", *words)


def chunks(workdir):
    return sorted(path.name for path in workdir.glob("files/*/chunk-*.log"))


@pytest.fixture
def service(servers):
    return servers.bedrock(FIRST_CONFIGURATION)


def test_bytes(service, workdir):
    create(("max_bytes", 1))
    produce(50)
    assert len(consume("--name", "c").stdout.splitlines()) == 50
    produce(500)
    wait_for_first(400)
    assert state()["end"] == 550
    assert all(int(re.search(r"\d+", name)[0]) >= 3 for name in chunks(workdir))
    first = state()["first"]

    assert state()["positions"]["c"]["position"] == 50
    table = ctl("topic", "positions", "--name", "t").stdout.splitlines()[1].split()
    assert table == ["0", "50", str(550 - first), str(first - 50), "0", "c"]
    late = consume("--name", "c")
    assert len(late.stdout.splitlines()) == 550 - first
    assert f"partition 0: {first - 50} events are no longer kept and were skipped" in late.stderr
    # Who begins at the beginning has missed nothing, nor has somebody new.
    for words in ([], ["--name", "new"]):
        fresh = consume(*words)
        assert len(fresh.stdout.splitlines()) == 550 - first and "no longer kept" not in fresh.stderr
    assert f"{first} events are no longer kept" in consume("--from", "0").stderr


def test_acknowledged(service):
    create(("acknowledged_by", "a,b"))
    produce(450)
    assert state()["first"] == 0
    assert len(consume("--name", "a").stdout.splitlines()) == 450
    assert state()["first"] == 0
    assert len(consume("--name", "b", "--count", "250").stdout.splitlines()) == 250
    wait_for_first(100)
    assert state()["first"] <= 250
    assert len(consume("--name", "b").stdout.splitlines()) == 200
    wait_for_first(300)


def test_age(service):
    create(("max_age_s", 1))
    produce(250)
    wait_for_first(200)
    assert state()["end"] == 250


def test_needed_events_outlive_the_limits(service):
    create(("max_bytes", 1), ("acknowledged_by", "a"))
    produce(300)
    assert state()["first"] == 0
    assert "stay until all consumers of retention.acknowledged_by" in service.output()
    consume("--name", "a")
    wait_for_first(100)


def test_a_server_that_comes_back_begins_where_the_log_does(servers, workdir):
    server = servers.bedrock(FIRST_CONFIGURATION)
    create(("max_bytes", 1))
    produce(350)
    wait_for_first(200)
    first = state()["first"]
    document = json.loads(run(["bedrock-query", PROTOCOL, "-f", GROUP_FILE]).stdout)[server.address]
    provider = next(p for p in document["providers"] if p["type"] == "mofka")
    assert provider["config"]["partition"]["retention"] == {"max_age_s": 0, "max_bytes": 1}
    server.kill()
    servers.bedrock(FIRST_CONFIGURATION)
    create(("max_bytes", 1), uuid=provider["config"]["uuid"])
    assert state()["first"] >= first and state()["end"] == 350
    produce(10)
    assert consume().stdout.splitlines()[-1] == "9"


@pytest.mark.parametrize("key, value, text", [
    ("max_age", 1, "did you mean"),
    ("max_bytes", -1, "max_bytes"),
    ("acknowledged_by", "a," + 300 * "x", "acknowledged_by[1]: expected the name of a consumer"),
])
def test_wrong_options_are_explained(service, key, value, text):
    result = run(["diaspora-ctl", "topic", "create", "--name", "t", "--topic.config.type", "default",
                  "--topic.config.partition.path", "files", f"--topic.config.partition.retention.{key}", str(value),
                  *DRIVER], check=False)
    assert result.returncode == 1 and text in result.stderr, result.stderr
