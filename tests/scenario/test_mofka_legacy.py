"""Partitions of type "legacy": metadata in a Yokan database, data in a Warabi target, found by their tags or named."""

import json

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE, count_of, peer, wait_for_count
from support import SLOWNESS, run

METADATA = {"name": "metadata", "type": "yokan", "provider_id": 5, "tags": ["mofka:metadata"],
            "config": {"database": {"type": "rocksdb", "config": {"path": "store/metadata", "create_if_missing": True}}}}
DATA = {"name": "data", "type": "warabi", "provider_id": 6, "tags": ["mofka:data"],
        "config": {"target": {"type": "abtio", "config": {"path": "store/data", "create_if_missing": True}}},
        "dependencies": {"abt_io": "io_controller"}}


def configuration():
    config = json.loads(FIRST_CONFIGURATION)
    master = next(p for p in config["providers"] if p["name"] == "master_database")
    master["config"] = {"database": {"type": "rocksdb", "config": {"path": "store/master", "create_if_missing": True}}}
    config["providers"] += [METADATA, DATA]
    return config


def create(name, *words):
    return run(["diaspora-ctl", "topic", "create", "--driver", "mofka", "--driver.group_file", GROUP_FILE, "--name", name,
                "--topic.num_partitions", 1, "--topic.config.type", "legacy", *words])


def consume(topic, name, count, data="all"):
    return run(peer("consume", topic, name, count, data))


@pytest.fixture
def service(servers):
    return servers.bedrock(configuration())


def test_events_come_back_as_they_were(service):
    create("old")
    run(peer("produce", "old", 5000, 100, 300))
    assert "got 5000\n" in consume("old", "c", 5000).stdout
    assert "got 5000\n" in consume("old", "d", 5000, "none").stdout
    document = json.loads(run(["bedrock-query", "na+sm", "-f", GROUP_FILE]).stdout)[service.address]
    provider = next(p for p in document["providers"] if p["type"] == "mofka")
    assert provider["dependencies"]["metadata"] == "metadata"
    assert provider["dependencies"]["data"] == "data"


def test_providers_may_be_named(service):
    create("named", "--topic.dependencies.metadata", "master_database", "--topic.dependencies.data", "data")
    run(peer("produce", "named", 100, 10, 3000))
    assert "got 100\n" in consume("named", "c", 100).stdout


def test_a_consumer_waits_for_events_to_come(service, servers):
    create("live")
    consumer = servers.start(peer("consume", "live", "c", 3000, "all"))
    run(peer("produce", "live", 3000, 50, 100))
    wait_for_count(consumer, "got", 3000, 30 * SLOWNESS)


def test_what_was_acknowledged_survives_kill_9(service, servers):
    create("safe")
    run(peer("produce", "safe", 2000, 100, 200))
    producer = servers.start(peer("produce", "safe", 1000000, 100, 200))
    wait_for_count(producer, "stored", 1000, 30 * SLOWNESS)
    service.kill()
    acknowledged = 2000 + count_of(producer, "stored")
    servers.bedrock(configuration())
    assert f"got {acknowledged}\n" in consume("safe", "c", acknowledged).stdout


def test_the_mark_of_the_end_survives(service, servers):
    options = ["--driver", "mofka", "--driver.group_file", GROUP_FILE]
    create("ended")
    run(peer("produce", "ended", 100, 10, 10))
    for _ in range(2):
        run(["diaspora-ctl", "topic", "complete", "--name", "ended", *options])
        refused = run(["diaspora-ctl", "produce", "--topic", "ended", *options], stdin="1\n", check=False)
        assert refused.returncode == 1 and "the topic is complete" in refused.stderr
        service.kill()
        service = servers.bedrock(configuration())
    read = run(["diaspora-ctl", "consume", "--topic", "ended", "--follow", *options])
    assert len(read.stdout.splitlines()) == 100
