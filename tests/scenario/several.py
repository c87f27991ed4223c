"""Several servers of the streaming service, started by hand one after the other, as members of one group.

Server 0 has the master database, in files. Every server has a name ("s0", "s1", …), so that it has its partitions back
under another address. Times of the dynamic groups are short, but not so short that a busy machine looks dead.
"""

import copy
import json
import os
import re

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE
from support import BUILD, PROTOCOL, SLOWNESS, program, run, wait_until

DATABASES = [t for t in ("rocksdb", "lmdb", "leveldb") if (BUILD / "lib" / f"libdango-yokan-{t}.so").exists()]
needs_database = pytest.mark.skipif(not DATABASES, reason="no persistent database is built")

CONTROL = {"DIASPORA_CTL_DRIVER_OPTIONS": f"--driver mofka --driver.group_file {GROUP_FILE}"}
GROUPS = {
    "centralized": {"ping_timeout_ms": 300, "ping_interval_ms": 100, "ping_max_num_timeouts": 3},
    "swim": {"protocol_period_ms": 150, "ping_timeout_ms": 100, "ping_req_timeout_ms": 150, "suspicion_timeout_ms": 900},
}
TIMEOUT_S = 40 * SLOWNESS


def ctl(*words, check=True, stdin=None):
    return run(["diaspora-ctl", *words], env=CONTROL, check=check, stdin=stdin)


def numbers(output):
    """Of the events that mofka-peer has made, in the output of diaspora-ctl consume."""
    return [int(number) for number in re.findall(r'^\{"i":(\d+)\}$', output, re.MULTILINE)]


class Service:
    def __init__(self, servers, kind, flock=None):
        """flock: more fields of the group manager's configuration."""
        self.servers, self.kind, self.flock = servers, kind, flock or {}
        self.members = {}
        (servers.workdir / "mofka").mkdir()

    def configuration(self, i):
        document = json.loads(FIRST_CONFIGURATION)
        manager, master, _ = document["providers"]
        group = {"type": self.kind, "config": GROUPS.get(self.kind, {})}
        manager["config"] = {"bootstrap": ["join", "self"], "file": GROUP_FILE, "group": group, **copy.deepcopy(self.flock)}
        path = f"{self.servers.workdir}/mofka/master"
        master["config"]["database"] = {"type": DATABASES[0], "config": {"create_if_missing": True, "path": path}}
        if i != 0:
            document["providers"].remove(master)
        return document

    def arguments(self, i):
        return ["--name", f"s{i}"]

    def start(self, i, protocol=PROTOCOL, wait=True, **options):
        server = self.servers.bedrock(self.configuration(i), protocol, self.arguments(i), wait=False, **options)
        self.members[i] = server
        return server.wait_until_running(TIMEOUT_S) if wait else server

    def start_all(self, count, protocol=PROTOCOL):
        for i in range(count):
            self.start(i, protocol)
        self.wait_for_file()
        return self

    def lose(self, i, how):
        """how(server) ends it."""
        server = self.members.pop(i)
        how(server)
        server.wait(TIMEOUT_S)
        return server

    def listed(self):
        return [m["address"] for m in json.loads((self.servers.workdir / GROUP_FILE).read_text())["members"]]

    def wait_for_file(self):
        """The group file names the servers that run, and no others."""
        expected = sorted(server.address for server in self.members.values())
        wait_until(lambda: sorted(self.listed()) == expected, f"the {len(expected)} members in the file", TIMEOUT_S)

    def create(self, topic, partitions, *words, check=True):
        return ctl("topic", "create", "--name", topic, "--topic.num_partitions", partitions, "--topic.config.type",
                   "default", "--topic.config.partition.path", self.servers.workdir / "mofka", *words, check=check)

    def partitions(self):
        """{uuid: (number of the server, topic)}, asked from the servers that run."""
        found = {}
        for i, server in self.members.items():
            text = run(["bedrock-query", server.address.split(":")[0], "-a", server.address, "-p"]).stdout
            for provider in json.loads(text)[server.address]["providers"]:
                if provider["type"] == "mofka":
                    found[provider["config"]["uuid"]] = (i, provider["config"]["topic"])
        return found

    def admin(self, env=None, group_file=GROUP_FILE):
        return Admin(self.servers, env, group_file)


class Admin:
    """A client that keeps its driver open, from before whatever happens to the servers."""

    def __init__(self, servers, env=None, group_file=GROUP_FILE):
        os.mkfifo(servers.workdir / "admin.in")
        self.peer = servers.start(["sh", "-c", f"exec {program('mofka-peer')} admin {group_file} <admin.in"], "admin", env)
        self.input = open(servers.workdir / "admin.in", "w", encoding="ascii", buffering=1)
        self.peer.wait_for_output("ready\n", TIMEOUT_S)
        self.done = 1

    def ask(self, line):
        """"done", or the error."""
        self.input.write(line + "\n")
        self.done += 1
        wait_until(lambda: self.peer.output().count("\n") >= self.done, f"an answer to {line}", TIMEOUT_S)
        return self.peer.output().splitlines()[self.done - 1]
