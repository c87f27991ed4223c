"""Servers of the streaming service come and go, in every way and in every kind of group, while clients use it.

Three servers; the first has the master database, in files. Topics have a partition on each.
"""

import json
import signal
import socket

import pytest

from mofka import GROUP_FILE, count_of, peer, wait_for_count
from several import GROUPS, TIMEOUT_S, Service, ctl, needs_database, numbers
from support import PROTOCOL, run

pytestmark = needs_database

PATIENT = {"PEER_RECONNECT_MS": "120000"}
dynamic = pytest.mark.parametrize("kind", GROUPS)

WAYS = {
    "SIGTERM": lambda server: server.signal(signal.SIGTERM),
    "shutdown": lambda server: run(["bedrock-shutdown", server.address.split(":")[0], "-a", server.address]),
    "SIGKILL": lambda server: server.kill(),
}


@pytest.fixture
def service(servers, kind):
    return Service(servers, kind).start_all(3)


def others(service, order, lost):
    """Indices of the partitions that are not on the server that is at `lost`."""
    return [i for i, address in enumerate(order) if address != lost.address]


def topics():
    return ctl("topic", "list").stdout.split()


@dynamic
@pytest.mark.parametrize("way", WAYS)
def test_a_server_goes_and_comes_back(service, servers, way):
    """Clients of its partition wait for it; everybody else goes on, and so do new topics, without it."""
    order = service.listed()
    service.create("t", 3)
    admin = service.admin()
    producer = servers.start(peer("produce", "t", 0, 10, 100), "producer", PATIENT)
    consumer = servers.start(peer("consume", "t", "reader", 0, "all"), "consumer", PATIENT)
    wait_for_count(producer, "stored", 1000, TIMEOUT_S)
    before = service.partitions()
    lost = service.lose(2, WAYS[way])
    service.wait_for_file()

    # What lives is usable: by name of partition, and for new topics, also by clients that were there before.
    left = others(service, order, lost)
    run(peer("produce", "t", 100, 10, 0, 10_000_000), env={"PEER_TARGETS": str(left)})
    found = numbers(ctl("consume", "--topic", "t", "--name", "left", "--targets", ",".join(map(str, left))).stdout)
    assert len([n for n in found if n >= 10_000_000]) == 100
    ctl("produce", "--topic", "t", "--targets", left[0], stdin='{"i":20000000}\n')
    only = ctl("consume", "--topic", "t", "--name", "left", "--targets", left[0]).stdout
    assert numbers(only) == [20_000_000]
    assert topics() == ["t"]
    service.create("new", 4)
    assert admin.ask('create newer {"num_partitions": 4}') == "done"
    assert {i for i, topic in service.partitions().values() if topic in ("new", "newer")} == {0, 1}
    for topic in ("new", "newer"):
        run(peer("produce", topic, 100, 10, 0))
        assert sorted(numbers(ctl("consume", "--topic", topic).stdout)) == list(range(100))
    # The partition itself is missing, and the message says where it was.
    gone = next(i for i, address in enumerate(order) if address == lost.address)
    for words in (peer("produce", "t", 1, 1, 0), peer("consume", "t", "c", 1, "none")):
        result = run(words, check=False)
        assert result.returncode == 1
        assert f"partition {gone}: " in result.stdout and lost.address in result.stdout, result.stdout

    service.start(2)
    service.wait_for_file()
    assert {uuid: where for uuid, where in service.partitions().items() if where[1] == "t"} == before
    wait_for_count(producer, "stored", count_of(producer, "stored") + 1000, TIMEOUT_S)
    producer.kill()
    stored = count_of(producer, "stored")
    found = [n for n in numbers(ctl("consume", "--topic", "t", "--name", "anew").stdout) if n < 10_000_000]
    assert len(found) == len(set(found)) and set(range(stored)) <= set(found)
    wait_for_count(consumer, "got", (len(found) + 101) // 1000 * 1000, TIMEOUT_S)
    assert "error" not in producer.output() + consumer.output()


@dynamic
def test_clients_follow_the_master_database(service, servers):
    """Its server is killed. What runs without it goes on; what needs it says so, and works again when it is back."""
    order = service.listed()
    service.create("t", 3)
    master = service.members[0]
    elsewhere = str(others(service, order, master))
    admin = service.admin()
    producer = servers.start(peer("produce", "t", 0, 10, 100), "producer", {"PEER_TARGETS": elsewhere})
    consumer = servers.start(peer("consume", "t", "reader", 0, "all"), "consumer", {"PEER_TARGETS": elsewhere})
    wait_for_count(consumer, "got", 1000, TIMEOUT_S)
    service.lose(0, WAYS["SIGKILL"])

    # At once, while the group file still names it, and later.
    for change in (lambda: None, service.wait_for_file):
        change()
        for line in ("open t", 'create more {"num_partitions": 1}', "delete t"):
            answer = admin.ask(line)
            assert answer.startswith("error") and "master database" in answer and master.address in answer, answer
        for words in (["topic", "list"], ["topic", "create", "--name", "more"], ["consume", "--topic", "t"]):
            result = ctl(*words, check=False)
            assert result.returncode == 1
            assert "master database" in result.stderr, result.stderr
    wait_for_count(producer, "stored", count_of(producer, "stored") + 2000, TIMEOUT_S)
    wait_for_count(consumer, "got", count_of(consumer, "got") + 2000, TIMEOUT_S)

    service.start(0)
    service.wait_for_file()
    assert topics() == ["t"]
    for line in ("open t", 'create more {"num_partitions": 3}', "open more", "delete more"):
        assert admin.ask(line) == "done"
    wait_for_count(producer, "stored", count_of(producer, "stored") + 1000, TIMEOUT_S)
    wait_for_count(consumer, "got", count_of(consumer, "got") + 1000, TIMEOUT_S)
    run(peer("produce", "t", 30, 10, 0))
    assert "error" not in producer.output() + consumer.output() and "lost" not in producer.output() + consumer.output()


@dynamic
def test_a_copy_of_the_group_file_gets_old(service, workdir):
    """It names one server, which does not have the master database; later nobody who lives. Others know the group."""
    service.create("t", 3)
    file = json.loads((workdir / GROUP_FILE).read_text())
    file["members"] = [m for m in file["members"] if m["address"] == service.members[1].address]
    (workdir / "copy.json").write_text(json.dumps(file))
    admin = service.admin(group_file="copy.json")
    assert admin.ask("open t") == "done"
    for lost in (1, 0):
        service.lose(lost, WAYS["SIGKILL"])
    service.wait_for_file()
    service.start(0)
    service.wait_for_file()
    assert admin.ask("open t") == "done"


SLOW = {"group": {"type": "centralized", "config": {"ping_timeout_ms": 60_000, "ping_interval_ms": 60_000}}}


def test_creation_names_the_dead_server_and_leaves_nothing(servers):
    """In a group that has not noticed yet."""
    service = Service(servers, "centralized", SLOW).start_all(3)
    order = service.listed()
    # Not the one with the master; preferably not the first to get a partition.
    number = max((1, 2), key=lambda i: order.index(service.members[i].address))
    address = service.members[number].address
    service.lose(number, WAYS["SIGKILL"])
    assert service.listed() == order
    result = service.create("t", 3, check=False)
    assert result.returncode == 1
    assert f"server {order.index(address) + 1} of 3, which would get a partition: " in result.stderr, result.stderr
    assert address in result.stderr
    assert topics() == [] and service.partitions() == {}
    assert not list((servers.workdir / "mofka").glob("t-*"))
    # Where it is not needed, it is not missed.
    service.create("small", order.index(address))
    run(peer("produce", "small", 10, 1, 0))


@dynamic
def test_servers_without_names_do_not_get_in_each_others_way(servers, kind):
    """They are called after their places, which shift when somebody joins in front."""
    service = Service(servers, kind)
    service.arguments = lambda i: []
    for i in range(5):
        service.start(i)
    service.wait_for_file()
    answers = json.loads(run(["bedrock-query", PROTOCOL.split(":")[0], "-f", GROUP_FILE, "-e",
                              "$__config__.bedrock.name"]).stdout)
    assert sorted(answers.values()) == [str(i) for i in range(5)]
    service.create("t", 5)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def test_a_static_group_keeps_the_place_of_a_server(servers):
    """Members stay in the file when they are dead, and come back at the same port."""
    places = [f"tcp://127.0.0.1:{port}" for port in free_ports(3)]
    view = {"members": [{"address": place, "provider_id": 1} for place in places], "metadata": {}}
    service = Service(servers, "static", {"bootstrap": "view", "view": view})
    for i, place in enumerate(places):
        service.start(i, place, wait=False)
    for server in service.members.values():
        server.wait_until_running(TIMEOUT_S)
    service.create("t", 3)
    before = service.partitions()
    producer = servers.start(peer("produce", "t", 0, 10, 100), "producer", PATIENT)
    wait_for_count(producer, "stored", 1000, TIMEOUT_S)
    lost = service.lose(1, WAYS["SIGKILL"])
    assert sorted(service.listed()) == sorted(places)
    result = service.create("new", 3, check=False)
    assert result.returncode == 1 and lost.address in result.stderr
    assert topics() == ["t"]
    # Somebody else's port is no member: the configuration is refused.
    stranger = service.start(1, "tcp://127.0.0.1", wait=False)
    assert stranger.wait(TIMEOUT_S) == 1
    assert "view" in stranger.output() or "member" in stranger.output(), stranger.output()
    service.start(1, places[1])
    assert service.partitions() == before
    service.create("new", 3)
    wait_for_count(producer, "stored", count_of(producer, "stored") + 1000, TIMEOUT_S)
    assert "error" not in producer.output()
