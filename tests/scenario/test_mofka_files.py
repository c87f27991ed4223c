"""Partitions of type "default": the command lines of the user guide, restart, and kill -9 in the middle of a stream.

The server is killed 20 times, 200 times in nightly runs (DANGO_NIGHTLY), or DANGO_KILL_ROUNDS times.
"""

import json
import os
import random
import re
import time

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE, count_of, list_runs, peer, wait_for_count
from support import BUILD, PROTOCOL, SLOWNESS, run

ROUNDS = int(os.environ.get("DANGO_KILL_ROUNDS", "200" if "DANGO_NIGHTLY" in os.environ else "20"))
START_S = 20 * SLOWNESS

DAMAGED = r"events (\d+) to (\d+) are damaged and cannot be read"

CREATE = ["diaspora-ctl", "topic", "create", "--driver", "mofka", "--driver.group_file", GROUP_FILE]


def create(name, *words, check=True):
    return run([*CREATE, "--name", name, "--topic.num_partitions", 1, "--topic.config.type", "default", *words],
               check=check)


def provider_of(service):
    document = json.loads(run(["bedrock-query", PROTOCOL, "-f", GROUP_FILE]).stdout)[service.address]
    return next(p for p in document["providers"] if p["type"] == "mofka")


def produce(topic, count, batch=128, data=0):
    return run(peer("produce", topic, count, batch, data))


def consume(topic, name, count, data="all"):
    return run(peer("consume", topic, name, count, data))


@pytest.fixture
def service(servers):
    return servers.bedrock(FIRST_CONFIGURATION)


def test_the_short_command_line(service, workdir):
    create("my_topic", "--topic.config.partition.path", "files/mofka")
    provider = provider_of(service)
    uuid = provider["config"]["uuid"]
    assert (workdir / "files" / "mofka" / f"my_topic-{uuid}" / "chunk-000000.log").is_file()
    assert provider["dependencies"]["io_controller"] == "io_controller"
    assert provider["config"]["partition"] == {
        "path": "files/mofka",
        "max_chunk_size": 67108864,
        "max_events_per_chunk": 1000000,
        "sync": True,
        "fd_cache_capacity": 64,
        "producers": {
            "metadata_buffer_pool": {"num_tiers": 1, "num_buffers": 0, "first_size": 65536, "size_multiple": 4.0},
            "data_buffer_pool": {"num_tiers": 1, "num_buffers": 0, "first_size": 67108864, "size_multiple": 4.0},
        },
        "consumers": {
            "metadata_buffer_pool": {"num_tiers": 1, "num_buffers": 0, "first_size": 65536, "size_multiple": 4.0},
            "desc_buffer_pool": {"num_tiers": 1, "num_buffers": 0, "first_size": 4096, "size_multiple": 4.0},
        },
        "ack_early": {"enabled": False, "max_pending_batches": 8},
        "write_cache": {"enabled": True, "max_batches": 16, "max_memory_bytes": 67108864},
        "bulk_cache": {"enabled": True, "initial_buffer_size": 0},
        "retention": {"max_age_s": 0, "max_bytes": 0},
    }


def test_fields_may_stand_flat_in_a_file_and_the_command_line_wins(service, workdir):
    (workdir / "topic-config.json").write_text(json.dumps({
        "fd_cache_capacity": 7,
        "max_chunk_size": 1_000_000,
        "consumers": {"desc_buffer_pool": {"num_tiers": 2}},
        "producers": {"data_buffer_pool": {"num_buffers": 1, "first_size": 100_000}},
    }))
    create("flat", "--topic-config", "topic-config.json", "--topic.config.partition.path", "files",
           "--topic.config.partition.max_chunk_size", 2_000_000, "--topic.config.partition.sync", "false")
    partition = provider_of(service)["config"]["partition"]
    assert partition["fd_cache_capacity"] == 7
    assert partition["max_chunk_size"] == 2_000_000
    assert partition["sync"] is False
    assert partition["consumers"]["desc_buffer_pool"]["num_tiers"] == 2
    assert partition["producers"]["data_buffer_pool"]["first_size"] == 100_000
    produce("flat", 1000, 10, 3000)
    assert "got 1000\n" in consume("flat", "c", 1000).stdout


def test_dedicated_streams_for_files(servers):
    """As the guide improves I/O: the controller in a pool of its own; and one on io_uring, named by the topic."""
    config = json.loads(FIRST_CONFIGURATION)
    config["margo"] = {"argobots": {
        "pools": [{"name": "__primary__", "kind": "fifo_wait", "access": "mpmc"},
                  {"name": "io_pool", "kind": "fifo_wait", "access": "mpmc"}],
        "xstreams": [{"name": "__primary__", "scheduler": {"type": "basic_wait", "pools": ["__primary__"]}},
                     {"name": "io_es", "scheduler": {"type": "basic_wait", "pools": ["io_pool"]}}],
    }}
    controller = next(p for p in config["providers"] if p["type"] == "abt_io")
    controller["dependencies"]["pool"] = "io_pool"
    config["providers"].append({**controller, "name": "io_uring_controller", "provider_id": 4,
                                "config": {"num_urings": 1, "liburing_flags": ["IOSQE_ASYNC"]}})
    servers.bedrock(config)
    for controller, name in (("io_controller", "slow"), ("io_uring_controller", "fast")):
        create(name, "--topic.config.partition.path", "files", "--topic.dependencies.io_controller", controller,
               "--topic.dependencies.pool", "io_pool")
        produce(name, 2000, 50, 2000)
        assert "got 2000\n" in consume(name, "c", 2000).stdout


def test_a_partition_is_taken_up_again(servers, workdir):
    """Stopped in an orderly way and started again with an empty registry: events and positions are there."""
    service = servers.bedrock(FIRST_CONFIGURATION)
    create("kept", "--topic.config.partition.path", "files", "--topic.config.partition.max_chunk_size", 100_000,
           "--topic.dependencies.io_controller", "io_controller", "--topic.dependencies.pool", "__primary__")
    uuid = provider_of(service)["config"]["uuid"]
    produce("kept", 3000, 100, 300)
    assert "got 1000\n" in consume("kept", "half", 1000).stdout
    service.stop()
    assert len(list((workdir / "files" / f"kept-{uuid}").glob("chunk-*.log"))) > 5

    service = servers.bedrock(FIRST_CONFIGURATION)
    create("kept", "--topic.config.partition.path", "files", "--topic.config.uuid", uuid)
    assert "got 3000\n" in consume("kept", "all", 3000).stdout
    produce("kept", 500, 100, 300)
    assert "got 2500\n" in consume("kept", "half", 2500).stdout
    service.stop()


def persistent_configuration(workdir):
    """With a master database that survives the server, if one is built: partitions then come back by themselves."""
    config = json.loads(FIRST_CONFIGURATION)
    types = [t for t in ("rocksdb", "lmdb", "leveldb") if (BUILD / "lib" / f"libdango-yokan-{t}.so").exists()]
    if not types:
        pytest.skip("no persistent database is built")
    (workdir / "mofka").mkdir()
    master = next(p for p in config["providers"] if p["name"] == "master_database")
    master["config"]["database"] = {"type": types[0], "config": {"create_if_missing": True, "path": "mofka/master"}}
    return config


def test_a_killed_server_has_lost_nothing_that_it_acknowledged(servers, workdir):
    """Each round has a producer that numbers its events from where the last one's could have ended, and a consumer. What is new
    is compared after each kill, everything at the end."""
    shapes = [(1, 0), (64, 1000), (4, 100_000), (0, 10)]
    config = persistent_configuration(workdir)
    service = servers.bedrock(config, name="server")
    create("stream", "--topic.config.partition.path", "files", "--topic.config.partition.max_chunk_size", 5_000_000)
    there, acknowledged = [], 0
    for round_ in range(ROUNDS):
        first, (batch, data) = round_ * 10**9, shapes[round_ % len(shapes)]
        producer = servers.start(peer("produce", "stream", 0, batch, data, first), f"producer{round_}")
        consumer = servers.start(peer("consume", "stream", "reader", 0, "all"), f"consumer{round_}")
        wait_for_count(producer, "stored", max(1, batch), START_S)
        time.sleep(random.uniform(0, 0.2))
        service.kill()
        assert producer.wait(START_S) == 1, producer.output()
        assert consumer.wait(START_S) == 1, consumer.output()
        service = servers.bedrock(config, name="server")
        new = list_runs("stream", "checker")
        assert len(new) == 1 and new[0][0] == first and new[0][1] >= count_of(producer, "stored"), new
        there += new
        acknowledged += count_of(consumer, "got")
    assert list_runs("stream", "last", timeout_s=900 * SLOWNESS) == there
    # The reader goes on where it was: everything behind its position is there, nothing before it comes again.
    extent = run(peer("extent", "stream", "reader")).stdout
    position, end = map(int, re.fullmatch(r"extent (\d+) (\d+)\n", extent).groups())
    assert acknowledged <= position <= end == sum(count for _, count in there)


def damaged(output):
    """The stretch of events that is told of, in pieces that follow one another: first one, and the one behind the last."""
    pieces = [(int(first), int(last) + 1) for first, last in re.findall(DAMAGED, output)]
    assert pieces and all(end == first for (_, end), (first, _) in zip(pieces, pieces[1:])), output
    return pieces[0][0], pieces[-1][1]


def first_id(chunk):
    return int.from_bytes(chunk.read_bytes()[32:40], "little")


def test_damage_is_reported_and_the_rest_delivered(servers, workdir):
    service = servers.bedrock(FIRST_CONFIGURATION)
    create("hurt", "--topic.config.partition.path", "files", "--topic.config.partition.max_chunk_size", 20_000)
    uuid = provider_of(service)["config"]["uuid"]
    produce("hurt", 1000, 10, 100)
    service.stop()
    chunk = workdir / "files" / f"hurt-{uuid}" / "chunk-000001.log"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)

    servers.bedrock(FIRST_CONFIGURATION)
    create("hurt", "--topic.config.partition.path", "files", "--topic.config.uuid", uuid)
    for data in ("all", "none"):
        output = consume("hurt", data, 990, data).stdout
        first, end = damaged(output)
        assert end - first == 10 and first % 10 == 0, output
        assert "got 990\n" in output


@pytest.mark.parametrize("batch, data", [(10, 100), (20, 30_000)])
def test_a_file_that_becomes_shorter_does_not_end_the_server(servers, workdir, batch, data):
    """What a medium that fails under a mapped chunk looks like, too."""
    count = 20 * batch
    service = servers.bedrock(FIRST_CONFIGURATION)
    create("hurt", "--topic.config.partition.path", "files", "--topic.config.partition.max_chunk_size", 5 * batch * data)
    create("whole", "--topic.config.partition.path", "files")
    uuid = provider_of(service)["config"]["uuid"]
    produce("hurt", count, batch, data)
    produce("whole", 10, 10, 10)
    assert f"got {count}\n" in consume("hurt", "before", count, "all").stdout  # the chunks are mapped from here on
    chunk = workdir / "files" / f"hurt-{uuid}" / "chunk-000001.log"
    os.truncate(chunk, chunk.stat().st_size // 2)

    first = damaged(run(peer("list", "hurt", "finds"), check=False).stdout)[0]
    end = first_id(chunk.with_name("chunk-000002.log"))
    lost = end - first
    assert 0 < lost < 6 * batch and lost % batch == 0 and first % batch == 0, (first, end)
    for data in ("all", "none"):
        output = consume("hurt", data, count - lost, data).stdout
        assert damaged(output) == (first, end) and f"got {count - lost}\n" in output
    assert "got 10\n" in consume("whole", "reader", 10, "all").stdout
    run(peer("produce", "hurt", batch, batch, data, count))
    assert f"got {count + batch - lost}\n" in consume("hurt", "later", count + batch - lost).stdout
    assert service.running()
    assert "a part of the file cannot be read" in service.output()


def refused(words, *texts):
    result = run(words, check=False)
    assert result.returncode != 0
    for text in texts:
        assert text in result.stderr, result.stderr


@pytest.fixture
def topic(servers):
    """The uuid of a partition in files/ and a running server that has not opened it."""
    service = servers.bedrock(FIRST_CONFIGURATION)
    create("topic", "--topic.config.partition.path", "files")
    uuid = provider_of(service)["config"]["uuid"]
    service.stop()
    servers.bedrock(FIRST_CONFIGURATION)
    return uuid


def attach(uuid, path="files", group_file=GROUP_FILE):
    words = [word if word != GROUP_FILE else group_file for word in CREATE]
    return [*words, "--name", "topic", "--topic.config.type", "default", "--topic.config.partition.path", path,
            "--topic.config.uuid", uuid]


def test_one_server_at_a_time(servers, topic):
    run(attach(topic))
    servers.bedrock(FIRST_CONFIGURATION.replace(GROUP_FILE, "second.json"))
    refused(attach(topic, group_file="second.json"), "config.partition.path: files/topic-",
            "another process has this partition open")


@pytest.mark.parametrize("change, text", [
    ({"topic": "other"}, 'of topic "other", not the one asked for'),
    ({"format": 2}, "newer than this program's"),
    ({"uuid": "x"}, "is not a UUID"),
])
def test_a_foreign_directory_is_refused(workdir, topic, change, text):
    identity = workdir / "files" / f"topic-{topic}" / "partition.json"
    identity.write_text(json.dumps({"format": 1, "topic": "topic", "uuid": topic, **change}))
    refused(attach(topic), "config.partition.path: files/topic-", text)


def test_an_impossible_path_is_refused(topic):
    refused(attach(topic, path="/proc/nowhere"), "config.partition.path: /proc/nowhere: cannot create the directory")


def test_a_missing_io_controller_is_explained(servers):
    config = json.loads(FIRST_CONFIGURATION)
    config["providers"] = [p for p in config["providers"] if p["type"] != "abt_io"]
    servers.bedrock(config)
    refused([*CREATE, "--name", "topic", "--topic.config.type", "default", "--topic.config.partition.path", "files"],
            "has no provider of type abt_io")
