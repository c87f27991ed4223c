"""A service from the user guide's first configuration: topics are created, events go through and come back."""

import json
import time

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE, peer
from support import PROTOCOL, SLOWNESS, run, wait_until


@pytest.fixture
def service(servers):
    return servers.bedrock(FIRST_CONFIGURATION)


def create(topic, options="{}", check=True):
    return run(peer("create", topic, options), check=check)


def produce(topic, count, batch=128, data=0):
    return run(peer("produce", topic, count, batch, data))


def consume(topic, name, count, data="none"):
    return run(peer("consume", topic, name, count, data))


def configuration(service):
    return json.loads(run(["bedrock-query", PROTOCOL, "-f", GROUP_FILE]).stdout)[service.address]


def partitions(service):
    return [p for p in configuration(service)["providers"] if p["type"] == "mofka"]


@pytest.mark.parametrize("batch", [0, 1, 7, 1024])
@pytest.mark.parametrize("data", [0, 10, 5000])
def test_events_come_back_as_they_were(service, batch, data):
    create("events")
    count = 3000
    produce("events", count, batch, data)
    assert f"got {count}\n" in consume("events", "reader", count, "all" if data else "none").stdout


def test_large_data_come_back_as_they_were(service):
    create("large")
    produce("large", 20, 3, 3_000_000)
    assert "got 20\n" in consume("large", "reader", 20, "all").stdout


# Without direct access to the memory of another process a server fetches large messages piece by piece.
@pytest.mark.parametrize("copying", [False, True])
@pytest.mark.parametrize("pieces", [100, 2000])
def test_data_in_many_pieces_keep_their_place(servers, monkeypatch, pieces, copying):
    if copying:
        monkeypatch.setenv("DANGO_SM_NO_DIRECT", "1")
    servers.bedrock(FIRST_CONFIGURATION)
    create("scattered")
    run(peer("scatter", "scattered", 500, pieces))
    assert "got 500\n" in consume("scattered", "reader", 500, "all").stdout


def test_partitions_show_their_configuration(service):
    create("shown", '{"num_partitions": 3, "dependencies": {"pool": "__primary__"}}')
    found = partitions(service)
    assert len(found) == 3
    assert len({p["provider_id"] for p in found}) == 3
    for provider in found:
        uuid = provider["config"]["uuid"]
        assert provider["name"] == f"shown_partition_{uuid[:8]}"
        assert provider["tags"] == ["mofka:partition"]
        assert provider["config"] == {"topic": "shown", "type": "memory", "uuid": uuid, "partition": {}}
        assert provider["dependencies"] == {
            "master_database": f"yokan:2@{service.address}",
            "pool": "__primary__",
        }


def test_a_consumer_goes_on_where_it_was(service):
    create("positions")
    produce("positions", 5000)
    consume("positions", "one", 2000)  # acknowledges the last
    produce("positions", 1000, 10)
    assert "got 4000\n" in consume("positions", "one", 4000).stdout
    assert "got 6000\n" in consume("positions", "another", 6000).stdout


def test_a_topic_exists_once(service):
    create("twice")
    result = create("twice", check=False)
    assert result.returncode == 1
    assert 'topic "twice" exists already' in result.stdout
    assert len(partitions(service)) == 1


@pytest.mark.parametrize(
    "options, text",
    [
        ('{"num_partitions": 0}', "topic.num_partitions"),
        ('{"num_partitons": 1}', 'did you mean "num_partitions"'),
        ('{"config": {"type": "legacy"}}', 'has no provider of type yokan with the tag "mofka:metadata"'),
        ('{"config": {"type": "memori"}}', 'did you mean "memory"'),
        ('{"config": {"type": "default"}}', "topic.config.partition.path: this field is required"),
        ('{"config": {"partition": {"path": "/tmp"}}}', "path"),
        ('{"dependencies": {"pool": "no_such_pool"}}', "no_such_pool"),
        ('{"dependencies": {"pol": "__primary__"}}', 'did you mean "pool"'),
    ],
)
def test_a_topic_that_cannot_be_is_not_created_in_part(service, options, text):
    result = create("wrong", options, check=False)
    assert result.returncode == 1
    assert text in result.stdout
    assert partitions(service) == []
    create("wrong")  # nothing is in the way
    assert len(partitions(service)) == 1


@pytest.mark.parametrize("name", ["my-topic.1", "2nd", "Größe", "with space", "x" * 256])
def test_names_need_not_be_identifiers(service, name):
    create(name)
    assert len(partitions(service)) == 1


@pytest.mark.parametrize("name", ["", "a:b", "../up", ".hidden", "new\nline", "x" * 257])
def test_bad_names_are_refused(service, name):
    result = create(name, check=False)
    assert result.returncode == 1 and "name" in result.stdout
    assert partitions(service) == []


def test_an_unknown_topic_is_not_found(service):
    result = run(peer("produce", "nothing", 1, 1, 0), check=False)
    assert result.returncode == 1 and 'there is no topic "nothing"' in result.stdout


def test_group_files_that_are_wrong_are_explained(service, workdir):
    path = workdir / GROUP_FILE
    path.write_text("{")
    assert GROUP_FILE in create("t", check=False).stdout
    path.write_text('{"members": [], "metadata": {}}')
    assert GROUP_FILE in create("t", check=False).stdout
    path.unlink()
    result = create("t", check=False)
    assert "No such file" in result.stdout and GROUP_FILE in result.stdout


def test_a_stale_group_file_is_reported_at_once(service):
    service.kill()
    start = time.monotonic()
    result = create("t", check=False)
    assert result.returncode == 1 and "start it again, or give another file" in result.stdout
    assert time.monotonic() - start < 5 * SLOWNESS


def test_a_server_without_master_database_is_reported(servers):
    config = json.loads(FIRST_CONFIGURATION)
    config["providers"][1]["tags"] = []
    servers.bedrock(config)
    assert 'no server of 1 has a master database' in create("t", check=False).stdout


def test_a_server_with_its_own_threads_serves_the_same(servers):
    config = json.loads(FIRST_CONFIGURATION)
    config["margo"] = {"use_progress_thread": True, "rpc_thread_count": 2}
    servers.bedrock(config)
    create("threads", '{"num_partitions": 2}')
    produce("threads", 5000, 64, 2000)
    assert "got 5000\n" in consume("threads", "reader", 5000, "all").stdout


def test_consumers_that_wait_are_fed(service, servers):
    create("live")
    readers = [servers.start(peer("consume", "live", f"r{i}", 3000, "all"), f"reader{i}") for i in range(3)]
    for reader in readers:
        reader.wait_for_output(r"ready\n")
    produce("live", 3000, 10, 100)
    for reader in readers:
        assert reader.wait() == 0, reader.output()


def test_waiting_costs_nothing(service, servers):
    create("idle")
    reader = servers.start(peer("consume", "idle", "r", 1, "none"))
    reader.wait_for_output(r"ready\n")
    before = reader.cpu_time_s(), service.cpu_time_s()
    time.sleep(2)  # what is measured: two seconds in which nothing happens
    assert reader.cpu_time_s() - before[0] < 0.1
    assert service.cpu_time_s() - before[1] < 0.1


def test_the_server_stops_in_order_while_clients_wait(service, servers):
    create("stop")
    reader = servers.start(peer("consume", "stop", "r", 0, "none"))
    reader.wait_for_output(r"ready\n")
    writer = servers.start(peer("produce", "stop", 0, 16, 100))
    wait_until(lambda: "stored" in writer.output(), "events are stored")
    service.stop(timeout_s=10 * SLOWNESS)
    assert writer.wait(10 * SLOWNESS) == 1, writer.output()
    assert reader.wait(10 * SLOWNESS) == 1, reader.output()
