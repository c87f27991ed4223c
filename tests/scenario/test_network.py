"""A network that breaks between two servers: each in a network namespace of its own, with a cable in between.

                 namespace a                     |              namespace b
    server 0 (master database), all clients   ---|---   server 1

Skipped where namespaces are not permitted. Nothing is said on any other network. What is expected of times is what
docs/operating.md says: a host that is silent is noticed within 20 s.
"""

import json
import os
import shutil
import subprocess
import time

import pytest

from mofka import GROUP_FILE, count_of, peer, wait_for_count
from several import CONTROL, TIMEOUT_S, Service, needs_database, numbers
from support import SLOWNESS, program, run, wait_until

pytestmark = [needs_database, pytest.mark.skipif(not shutil.which("ip"), reason="ip is not installed (iproute2)")]

SILENCE_S = 20 * SLOWNESS + 10
PATIENT = {"PEER_RECONNECT_MS": "120000"}


def ip(*words):
    result = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    if result.returncode != 0:
        pytest.skip(f"namespaces are not permitted here: ip {' '.join(words)}: {result.stderr.strip()}")


class Cable:
    def __init__(self):
        self.names = [f"dango-{os.getpid()}-{side}" for side in "ab"]
        self.addresses = ["10.213.7.1", "10.213.7.2"]

    def lay(self):
        a, b = self.names
        for name in self.names:
            ip("netns", "add", name)
        ip("-n", a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", b)
        for name, address in zip(self.names, self.addresses):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "cable", "up")

    def cut(self):
        """At the far end: this side sees nothing but silence."""
        ip("-n", self.names[1], "link", "set", "cable", "down")

    def mend(self):
        ip("-n", self.names[1], "link", "set", "cable", "up")

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=30, check=False)

    def inside(self, side):
        return ["ip", "netns", "exec", self.names[side]]


@pytest.fixture
def cable(servers):
    cable = Cable()
    try:
        cable.lay()
        yield cable
    finally:
        servers.end_all()
        cable.remove()


def members(path):
    return sorted(m["address"] for m in json.loads(path.read_text())["members"])


def test_both_sides_go_on_and_come_together_again(servers, workdir, cable):
    def ctl(*words, check=True):
        return run([*cable.inside(0), program("diaspora-ctl"), *words], env=CONTROL, check=check)

    def start_near(words, name, env):
        return servers.start([*cable.inside(0), program(words[0]), *words[1:]], name, env)

    # Each side has a group file of its own, as hosts without a common file system would.
    service = Service(servers, "swim")
    service.start(0, f"tcp://{cable.addresses[0]}", prefix=cable.inside(0))
    shutil.copy(GROUP_FILE, "far.json")
    service.flock = {"file": "far.json"}
    service.start(1, f"tcp://{cable.addresses[1]}", prefix=cable.inside(1))
    service.wait_for_file()
    both, order = service.listed(), service.listed()
    far = order.index(service.members[1].address)
    ctl("topic", "create", "--name", "t", "--topic.num_partitions", 2, "--topic.config.type", "default",
        "--topic.config.partition.path", workdir / "mofka")

    patient = start_near(peer("produce", "t", 0, 10, 100), "patient", PATIENT)
    reader = start_near(peer("consume", "t", "reader", 0, "all"), "reader", PATIENT)
    local = start_near(peer("produce", "t", 0, 10, 0, 10_000_000), "local", {"PEER_TARGETS": str([1 - far])})
    hasty = start_near(peer("produce", "t", 0, 10, 0, 20_000_000), "hasty", {"PEER_TARGETS": str([far])})
    for process in (patient, local, hasty):
        wait_for_count(process, "stored", 100, TIMEOUT_S)

    cable.cut()
    start = time.monotonic()
    assert hasty.wait(SILENCE_S) == 1
    assert time.monotonic() - start < SILENCE_S and f"partition {far}: " in hasty.output()
    patient.wait_for_output("lost: ", SILENCE_S)
    wait_until(lambda: members(workdir / GROUP_FILE) == [order[1 - far]], "the near side is alone", TIMEOUT_S)
    wait_until(lambda: members(workdir / "far.json") == [order[far]], "the far side is alone", TIMEOUT_S)
    wait_for_count(local, "stored", count_of(local, "stored") + 500, TIMEOUT_S)
    ctl("topic", "create", "--name", "meanwhile")
    refused = ctl("produce", "--topic", "t", "--targets", far, check=False)
    assert refused.returncode == 1 and order[far] in refused.stderr, refused.stderr

    cable.mend()
    for path in (GROUP_FILE, "far.json"):
        wait_until(lambda p=path: members(workdir / p) == sorted(both), f"both are in {path} again", TIMEOUT_S)
    wait_for_count(patient, "stored", count_of(patient, "stored") + 500, TIMEOUT_S)
    for process in (patient, local):
        process.kill()
    found = numbers(ctl("consume", "--topic", "t", "--name", "anew").stdout)
    assert len(found) == len(set(found))
    for process, first in ((patient, 0), (local, 10_000_000), (hasty, 20_000_000)):
        assert set(range(first, first + count_of(process, "stored"))) <= set(found)
    wait_for_count(reader, "got", len(found) // 1000 * 1000, TIMEOUT_S)
    assert "error" not in patient.output() + reader.output() + local.output()
