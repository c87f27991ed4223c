"""The user guide's full configuration on four servers that mpirun starts over tcp (or what network DANGO_TEST_PROTOCOL
names): one topic with a partition on each, events through all of them, and everything killed while clients stream.

The configuration is used word for word, except that its directory is the test's own.
"""

import json
import os
import random
import re
import signal
import time

import pytest

from launchers import daemons, mpirun, needs_mpi, wait_until_running
from mofka import FULL_CONFIGURATION, GROUP_FILE, count_of, peer, wait_for_count
from support import BUILD, PROTOCOL, ROOT, SLOWNESS, run, wait_until

pytestmark = [
    *needs_mpi,
    pytest.mark.skipif(not (BUILD / "lib/libdango-yokan-rocksdb.so").exists(), reason="RocksDB was not built"),
]

CONTROL = {"DIASPORA_CTL_DRIVER_OPTIONS": f"--driver mofka --driver.group_file {GROUP_FILE}"}
NETWORK = "tcp" if PROTOCOL == "na+sm" else PROTOCOL
SERVERS = 4
ROUNDS = 10 if os.environ.get("DANGO_NIGHTLY") else 2
START_S = 60 * SLOWNESS
PATIENT = {"PEER_RECONNECT_MS": "120000"}


class Service:
    """The command of the user guide, given as often as one likes."""

    def __init__(self, servers, workdir):
        self.servers, self.workdir = servers, workdir
        (workdir / "mofka").mkdir()
        (workdir / "config.json").write_text(FULL_CONFIGURATION.replace("/tmp/mofka", f"{workdir}/mofka"))

    def start(self):
        self.job = mpirun(self.servers, SERVERS, NETWORK, "config.json")
        wait_until_running(self.job, SERVERS)
        return self

    def kill_all(self):
        for pid in list(daemons(self.workdir)):
            os.kill(pid, signal.SIGKILL)
        assert self.job.wait() != 0
        wait_until(lambda: not list(daemons(self.workdir)), "all daemons are gone")

    def members(self):
        return [m["address"] for m in json.loads((self.workdir / GROUP_FILE).read_text())["members"]]


@pytest.fixture
def service(servers, workdir):
    return Service(servers, workdir).start()


def ctl(*words, check=True):
    return run(["diaspora-ctl", *words], env=CONTROL, check=check)


def create(service, *words):
    ctl("topic", "create", "--name", "t", "--topic.num_partitions", SERVERS, "--topic.config.type", "default",
        "--topic.config.partition.path", service.workdir / "mofka", *words)


def query():
    """As in the user guide; {address: providers}."""
    document = json.loads(run(["bedrock-query", NETWORK, "-f", GROUP_FILE, "-p"]).stdout)
    return {address: config["providers"] for address, config in document.items()}


def partitions():
    """{uuid: provider name}, one for each server."""
    per_server = [[p for p in providers if p["type"] == "mofka"] for providers in query().values()]
    assert [len(found) for found in per_server] == [1] * SERVERS
    return {found[0]["config"]["uuid"]: found[0]["name"] for found in per_server}


def numbers(name):
    """Of all events in all partitions that this consumer has not seen."""
    output = ctl("consume", "--topic", "t", "--name", name).stdout
    return [int(number) for number in re.findall(r'^\{"i":(\d+)\}$', output, re.MULTILINE)]


def test_four_servers_share_a_topic(service):
    assert len(set(service.members())) == SERVERS
    assert all(address.startswith(f"{NETWORK.split(':')[0]}://") for address in service.members())
    masters = [a for a, providers in query().items() if any(p["name"] == "master" for p in providers)]
    assert len(masters) == 1
    create(service, "--topic.dependencies.io_controller", "io_controller", "--topic.dependencies.pool", "__primary__")
    assert set(query()) == set(service.members()) and len(partitions()) == SERVERS
    run(peer("produce", "t", 4000, 100, 300))
    # Events go to the partitions in turn.
    listed = json.loads(ctl("topic", "positions", "--name", "t", "--json").stdout)
    assert [partition["end"] for partition in listed] == [4000 // SERVERS] * SERVERS
    assert "got 4000\n" in run(peer("consume", "t", "reader", 4000, "all")).stdout
    assert sorted(numbers("another")) == list(range(4000))
    run(["bedrock-shutdown", NETWORK, "-f", GROUP_FILE])
    assert service.job.wait() == 0, service.job.output()


def test_everything_is_back_after_kill_9_of_all(service):
    """What a producer was told is stored is there afterwards, once; new clients and running ones go on."""
    create(service)
    before = partitions()
    producer = service.servers.start(peer("produce", "t", 0, 64, 200), "producer", PATIENT)
    consumer = service.servers.start(peer("consume", "t", "reader", 0, "all"), "consumer", PATIENT)
    for _ in range(ROUNDS):
        wait_for_count(producer, "stored", count_of(producer, "stored") + 1000, START_S)
        time.sleep(random.uniform(0, 0.1))  # somewhere in the middle, never at the same place
        service.kill_all()
        service.start()
        assert partitions() == before
    wait_for_count(producer, "stored", count_of(producer, "stored") + 1000, START_S)
    wait_for_count(consumer, "got", count_of(consumer, "got") + 1000, START_S)
    producer.kill()
    stored = count_of(producer, "stored")
    found = numbers("anew")
    assert len(set(found)) == len(found), "events came twice"
    assert set(range(stored)) <= set(found), "acknowledged events are gone"
    wait_for_count(consumer, "got", len(found) // 1000 * 1000, START_S)
    consumer.wait_for_output("back after ", START_S)  # a partition may be missing still: the count is rounded
    for process in (producer, consumer):
        assert "back after " in process.output() and "error" not in process.output(), process.output()


def test_the_tour_of_the_readme(servers, workdir):
    """Section "Several servers", typed in."""
    section = (ROOT / "README.md").read_text().split("## Several servers")[1].split("\n## ")[0]
    script = section.split("```sh\n")[1].split("```")[0]
    (workdir / "examples").symlink_to(ROOT / "examples")
    shell = servers.start(["bash", "-ec", f"PATH={BUILD}/bin:$PATH\n{script}\nwait"], "tour")
    assert shell.wait() == 0, shell.output()
    assert re.search(r"^1000$", shell.output(), re.MULTILINE), shell.output()
    assert shell.output().count("now running at") == SERVERS
