"""Saved positions from the command line: listing, moving, deleting, and consumers that are there meanwhile."""

import json
from datetime import datetime, timezone

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE
from support import SLOWNESS, run, wait_until

DRIVER = ["--driver", "mofka", "--driver.group_file", GROUP_FILE]
WAIT_S = 20 * SLOWNESS


def ctl(*words, check=True, **options):
    return run(["diaspora-ctl", *words, *DRIVER], check=check, **options)


def positions():
    return json.loads(ctl("topic", "positions", "--name", "t", "--json").stdout)


def reset(*words, **options):
    return ctl("topic", "positions", "reset", "--name", "t", "--consumer", "c", *words, **options)


def read(*words):
    return ctl("consume", "--topic", "t", "--name", "c", *words).stdout.splitlines()


@pytest.fixture(params=["memory", "default"])
def topic(request, servers, workdir):
    servers.bedrock(FIRST_CONFIGURATION)
    options = ["--topic.config.partition.path", "files"] if request.param == "default" else []
    ctl("topic", "create", "--name", "t", "--topic.num_partitions", "2", "--topic.config.type", request.param, *options)
    lines = "".join(f"{i}\n" for i in range(10))
    ctl("produce", "--topic", "t", stdin=lines)


def test_positions_are_listed_moved_and_forgotten(topic):
    assert [p["positions"] for p in positions()] == [{}, {}]
    assert len(read()) == 10
    state = positions()
    assert [(p["first"], p["end"]) for p in state] == [(0, 5), (0, 5)]
    assert [p["positions"]["c"] for p in state] == [{"position": 5, "connected": 0}] * 2
    assert read() == []

    reset("--to", "first", "--partition", "1")
    assert read("--count", "5") == ["1", "3", "5", "7", "9"]
    reset("--to", "3")
    assert sorted(read("--count", "4")) == ["6", "7", "8", "9"]
    reset("--to", "last")
    assert read() == []
    table = ctl("topic", "positions", "--name", "t").stdout.splitlines()
    assert table[0].split() == ["PARTITION", "POSITION", "BEHIND", "MISSED", "CONNECTED", "CONSUMER"]
    assert [line.split() for line in table[1:]] == [["0", "5", "0", "0", "0", "c"], ["1", "5", "0", "0", "0", "c"]]

    ctl("topic", "positions", "delete", "--name", "t", "--consumer", "c")
    assert [p["positions"] for p in positions()] == [{}, {}]
    assert len(read()) == 10


def test_positions_go_to_a_time(topic):
    before = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    ctl("produce", "--topic", "t", stdin="10\n11\n")
    reset("--to", before)
    assert [p["positions"]["c"]["position"] for p in positions()] == [5, 5]
    assert sorted(read()) == ["10", "11"]
    assert sorted(ctl("consume", "--topic", "t", "--from", before).stdout.splitlines()) == ["10", "11"]
    reset("--to", "1999-12-31T23:59:59")
    assert len(read()) == 12
    reset("--to", "2500-12-31T23:59:59")
    assert read() == []


@pytest.mark.parametrize("words, text", [
    (["--to", "6"], "partition 0: cannot start at event 6: the partition has 5 events"),
    (["--to", "first", "--partition", "2"], 'topic "t" has no partition 2 (partitions: 2)'),
    (["--to", "middle"], 'to: expected "first", "last", an event id or a time'),
    (["--to", "saved"], 'to: expected "first", "last", an event id or a time'),
    ([], "--to WHERE is required"),
])
def test_impossible_moves_are_refused(topic, words, text):
    result = reset(*words, check=False)
    assert result.returncode == 1 and text in result.stderr, result.stderr


def test_a_name_without_a_position_cannot_be_deleted(topic):
    result = ctl("topic", "positions", "delete", "--name", "t", "--consumer", "x", check=False)
    assert result.returncode == 1 and 'consumer "x" has no saved position' in result.stderr


def test_a_consumer_that_is_there_keeps_its_position(servers, topic):
    reader = servers.start(["diaspora-ctl", "consume", "--topic", "t", "--name", "c", "--follow", *DRIVER], "reader")
    wait_until(lambda: all(p["positions"].get("c", {}) == {"position": 5, "connected": 1} for p in positions()),
               "the consumer has acknowledged everything", WAIT_S)
    result = reset("--to", "first", check=False)
    assert result.returncode == 1
    assert '1 consumer of the name "c" is reading: stop it first' in result.stderr
    reset("--to", "first", "--force")
    assert reader.wait(WAIT_S) == 1
    assert 'an operator has moved the position of consumer "c"' in reader.output()
    assert [p["positions"]["c"]["position"] for p in positions()] == [0, 0]
