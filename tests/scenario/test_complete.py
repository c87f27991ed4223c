"""The end of the stream: consumers that wait are told, producers are refused, and the mark survives the server."""

import json

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE
from support import PROTOCOL, SLOWNESS, run, wait_until

DRIVER = ["--driver", "mofka", "--driver.group_file", GROUP_FILE]
WAIT_S = 20 * SLOWNESS


def ctl(*words, check=True, **options):
    return run(["diaspora-ctl", *words, *DRIVER], check=check, **options)


def create(type_, *options):
    path = ["--topic.config.partition.path", "files"] if type_ == "default" else []
    ctl("topic", "create", "--name", "t", "--topic.config.type", type_, *path, *options)


def produce(count, check=True):
    return ctl("produce", "--topic", "t", stdin="".join(f"{i}\n" for i in range(count)), check=check)


def states():
    return json.loads(ctl("topic", "positions", "--name", "t", "--json").stdout)


@pytest.mark.parametrize("type_", ["memory", "default"])
def test_the_end_of_the_stream(servers, type_):
    servers.bedrock(FIRST_CONFIGURATION)
    create(type_, "--topic.num_partitions", "3")
    produce(100)
    reader = servers.start(["diaspora-ctl", "consume", "--topic", "t", "--name", "c", "--follow", *DRIVER], "reader")
    wait_until(lambda: reader.output().count("\n") >= 100, "the consumer has printed everything", WAIT_S)
    assert reader.running()
    assert not any(state["complete"] for state in states())

    assert 'topic "t" is complete' in ctl("topic", "complete", "--name", "t").stderr
    assert reader.wait(WAIT_S) == 0, reader.output()
    assert all(state["complete"] for state in states())
    refused = produce(1, check=False)
    assert refused.returncode == 1 and "the topic is complete: it takes no more events" in refused.stderr
    ctl("topic", "complete", "--name", "t")

    assert len(ctl("consume", "--topic", "t", "--follow").stdout.splitlines()) == 100
    assert ctl("consume", "--topic", "t", "--name", "c", "--count", "1").stdout == ""


def test_the_mark_survives(servers):
    config = json.loads(FIRST_CONFIGURATION)
    server = servers.bedrock(config)
    create("default")
    produce(10)
    ctl("topic", "complete", "--name", "t")
    provider = next(p for p in json.loads(run(["bedrock-query", PROTOCOL, "-f", GROUP_FILE]).stdout)[server.address]
                    ["providers"] if p["type"] == "mofka")
    server.kill()
    servers.bedrock(config)
    create("default", "--topic.config.uuid", provider["config"]["uuid"])
    assert len(ctl("consume", "--topic", "t", "--follow").stdout.splitlines()) == 10
    refused = produce(1, check=False)
    assert refused.returncode == 1 and "the topic is complete" in refused.stderr
