"""Dynamic groups of real daemons, for both dynamic backends: started by hand in any order and at the same instant, members
killed, stopped and continued in every role, files that are stale, taken or wrong, and the discovery example.

Protocol times are short, but not so short that a busy machine looks dead; where one does, members find their way back, so
that every test waits for what must come about in the end.
"""

import json
import os
import re
import signal
import threading
import time

import pytest

from support import BUILD, PROTOCOL, ROOT, SLOWNESS, run, wait_until

KINDS = {
    "centralized": {"ping_timeout_ms": 300, "ping_interval_ms": 100, "ping_max_num_timeouts": 3},
    "swim": {
        "protocol_period_ms": 150,
        "ping_timeout_ms": 100,
        "ping_req_timeout_ms": 150,
        "suspicion_timeout_ms": 900,
    },
}
both = pytest.mark.parametrize("kind", KINDS)
TIMEOUT_S = 40 * SLOWNESS


def flock(kind, bootstrap=("join", "self"), file="group.flock", provider_id=1, config=None, **more):
    group = {"type": kind, "config": {**KINDS.get(kind, {}), **(config or {})}}
    config = {"bootstrap": list(bootstrap), "group": group, "file": file, **more}
    return {"name": f"group{provider_id}", "type": "flock", "provider_id": provider_id, "config": config}


def document(*providers):
    return {"libraries": ["libflock-bedrock-module.so"], "providers": list(providers)}


@pytest.fixture(scope="session")
def discovery(tmp_path_factory):
    """The example, compiled against the build tree."""
    program = tmp_path_factory.mktemp("example") / "discovery"
    flags = os.environ.get("DANGO_SANITIZE_FLAGS", "").split()
    run(
        ["cc", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "include", "-isystem", "/usr/include/json-c", *flags]
        + [ROOT / "examples/discovery.c", "-L", BUILD / "lib", "-ldango", f"-Wl,-rpath,{BUILD / 'lib'}", "-o", program]
    )
    return program


class Group:
    """Daemons of one group, and what each of them says the members are."""

    def __init__(self, servers, discovery, kind):
        self.servers, self.discovery, self.kind = servers, discovery, kind
        self.daemons = []

    def start(self, count, wait=True, **options):
        started = [self.servers.bedrock(document(flock(self.kind, **options)), wait=False) for _ in range(count)]
        self.daemons += started
        for daemon in started if wait else []:
            daemon.wait_until_running(TIMEOUT_S)
        return started

    def view(self, daemon):
        result = run([self.discovery, daemon.address, "1"], check=False, timeout_s=TIMEOUT_S)
        return sorted(re.findall(r"Address: (\S+)", result.stdout))

    def file(self):
        return json.loads((self.servers.workdir / "group.flock").read_text())

    def file_members(self):
        return sorted(m["address"] for m in self.file()["members"])

    def writer(self):
        """Who writes the file: the primary, or the first member."""
        if self.kind == "centralized":
            address = json.loads(self.file()["metadata"]["__config__"])["primary_address"]
        else:
            address = self.file()["members"][0]["address"]
        return next(d for d in self.daemons if d.address == address)

    def others(self, daemon):
        return [d for d in self.daemons if d is not daemon]

    def wait_until_all_see(self, daemons):
        expected = sorted(d.address for d in daemons)
        for daemon in daemons:
            wait_until(
                lambda d=daemon: self.view(d) == expected,
                f"{daemon.name} sees {len(expected)} members",
                TIMEOUT_S,
            )
        wait_until(lambda: self.file_members() == expected, f"{len(expected)} members in the file", TIMEOUT_S)

    def stop(self):
        for daemon in self.daemons:
            if daemon.running():
                daemon.stop(TIMEOUT_S)


class FileWatch(threading.Thread):
    """Looks at the file all the time: of one group it only becomes newer, and a group that is over does not come back."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.over = path, threading.Event()
        self.versions, self.complaints = {}, []

    def look(self):
        try:
            file = json.loads(self.path.read_text())
        except FileNotFoundError:
            return
        group, version = file["group_id"], file["version"]
        number, last = (version["term"], version["change"]), self.versions.get(group)
        if last and number < last:
            self.complaints.append(f"{version} after {last} in group {group}")
        if last and group != list(self.versions)[-1]:
            self.complaints.append(f"{group} is back after {list(self.versions)[-1]}")
        self.versions[group] = number

    def run(self):
        while not self.over.wait(0.002):
            self.look()


@pytest.fixture
def group(servers, discovery, kind):
    watch = FileWatch(servers.workdir / "group.flock")
    watch.start()
    yield Group(servers, discovery, kind)
    watch.over.set()
    watch.join()
    assert not watch.complaints


@both
def test_by_hand_one_after_the_other(group):
    for _ in range(4):
        group.start(1)
    group.wait_until_all_see(group.daemons)
    last = group.daemons.pop()
    last.stop()
    group.wait_until_all_see(group.daemons)
    group.stop()


@both
@pytest.mark.parametrize("fallback", ["self", "mpi"])
def test_all_at_the_same_instant(group, fallback):
    """Whoever is first forms the group; there is only one."""
    group.start(16, bootstrap=("join", fallback))
    group.wait_until_all_see(group.daemons)
    assert not (group.servers.workdir / "group.flock.lock").exists()


@both
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_writer_of_the_file_goes(group, number):
    group.start(4)
    group.wait_until_all_see(group.daemons)
    writer = group.writer()
    writer.signal(number)
    writer.wait(TIMEOUT_S)
    group.daemons.remove(writer)
    group.wait_until_all_see(group.daemons)
    group.start(1)
    group.wait_until_all_see(group.daemons)


@both
def test_writer_and_successor_are_killed_together(group):
    group.start(5)
    group.wait_until_all_see(group.daemons)
    writer = group.writer()
    successor = min(group.others(writer), key=lambda d: d.address)
    for victim in (writer, successor):
        victim.kill()
        group.daemons.remove(victim)
    group.wait_until_all_see(group.daemons)


@both
def test_another_member_is_killed(group):
    group.start(4)
    group.wait_until_all_see(group.daemons)
    victim = group.others(group.writer())[0]
    victim.kill()
    group.daemons.remove(victim)
    group.wait_until_all_see(group.daemons)
    group.stop()


@both
@pytest.mark.parametrize("role", ["writer", "other"])
def test_a_stopped_member_comes_back(group, role):
    group.start(4)
    group.wait_until_all_see(group.daemons)
    writer = group.writer()
    victim = writer if role == "writer" else group.others(writer)[0]
    victim.signal(signal.SIGSTOP)
    remaining = group.others(victim)
    group.wait_until_all_see(remaining)
    victim.signal(signal.SIGCONT)
    group.wait_until_all_see(group.daemons)
    group.stop()


@both
def test_a_dead_group_is_replaced(group):
    """Everybody is killed, the file stays; new daemons start at the same instant and form exactly one group."""
    for daemon in group.start(3):
        daemon.kill()
    group.daemons.clear()
    group.start(4)
    group.wait_until_all_see(group.daemons)


@both
def test_a_stale_file_alone_is_an_error(group):
    for daemon in group.start(2):
        daemon.kill()
    (late,) = group.start(1, wait=False, bootstrap=("join",))
    assert late.wait(TIMEOUT_S) == 1
    assert "no member of the group answers" in late.output()


def test_hung_members_are_asked_at_once(servers, discovery):
    """A new group in the place of an old one waits 5 s, however many members do not answer."""
    group = Group(servers, discovery, "swim")
    group.start(4)
    group.wait_until_all_see(group.daemons)
    for daemon in group.daemons:
        daemon.signal(signal.SIGSTOP)
    start = time.monotonic()
    (new,) = group.start(1, bootstrap=("self",))
    assert time.monotonic() - start < 9 * SLOWNESS
    wait_until(lambda: group.file_members() == [new.address], "the file is the new group's")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_primary_is_replaced_by_one(servers, discovery, number):
    """Also when those hang that would come first: the others ask each other, and only the first of them acts."""
    group = Group(servers, discovery, "centralized")
    group.start(12)
    group.wait_until_all_see(group.daemons)
    primary = group.writer()
    others = sorted(group.others(primary), key=lambda d: d.address)
    hanging, left = others[:3], others[3:]
    for daemon in hanging:
        daemon.signal(signal.SIGSTOP)
    primary.signal(number)
    expected = [d.address for d in left]
    wait_until(lambda: group.file_members() == expected, "those who are left are in the file", TIMEOUT_S)
    assert [d.name for d in left if "takes over" in d.output()] == [left[0].name]
    for daemon in [*hanging, *([primary] if number == signal.SIGSTOP else [])]:
        daemon.signal(signal.SIGCONT)
    group.daemons = left + hanging + ([primary] if number == signal.SIGSTOP else [])
    group.wait_until_all_see(group.daemons)


@both
def test_two_groups_do_not_share_a_file(group):
    group.start(1)
    (second,) = group.start(1, wait=False, bootstrap=("self",))
    assert second.wait(TIMEOUT_S) == 1
    assert "belongs to a group that is running" in second.output()
    assert group.file_members() == [group.daemons[0].address]


@both
def test_two_groups_of_a_process_do_not_share_a_file(group, servers):
    server = servers.bedrock(document(*(flock(group.kind, bootstrap=("self",), provider_id=i) for i in (1, 2))), wait=False)
    assert server.wait(TIMEOUT_S / 2) == 1
    assert "group.flock is the file of provider 1 of this process already" in server.output()


@both
def test_several_members_in_each_process(group, servers, discovery):
    """64 members in 4 processes. They find each other through the file that the first member writes."""
    first = document(flock(group.kind, bootstrap=("self",), provider_id=1))
    group.daemons.append(servers.bedrock(first))
    rest = document(*(flock(group.kind, bootstrap=("join",), provider_id=i) for i in range(2, 23)))
    group.daemons += [servers.bedrock(rest, wait=False) for _ in range(3)]
    for daemon in group.daemons[1:]:
        daemon.wait_until_running(TIMEOUT_S)
    wait_until(lambda: len(group.file_members()) == 64, "64 members in the file", TIMEOUT_S)
    wait_until(lambda: len(group.view(group.daemons[0])) == 64, "64 members in a view", TIMEOUT_S)
    victim = group.daemons.pop()
    victim.kill()
    wait_until(lambda: len(group.file_members()) == 43, "43 members in the file", TIMEOUT_S)
    assert all(address != victim.address for address in group.file_members())


@both
def test_the_file_is_never_half_written(group):
    """Read all the time while members come and go."""
    group.start(2)
    path = group.servers.workdir / "group.flock"
    for _ in range(3):
        (daemon,) = group.start(1, wait=False)
        for _ in range(200):
            assert json.loads(path.read_text())["members"]
        daemon.wait_until_running(TIMEOUT_S)
        daemon.kill()
        group.daemons.remove(daemon)
    group.wait_until_all_see(group.daemons)


def test_swim_members_use_no_processor_time_when_idle(servers, discovery):
    group = Group(servers, discovery, "swim")
    group.start(3, config={"protocol_period_ms": 1000, "suspicion_timeout_ms": 5000})
    group.wait_until_all_see(group.daemons)
    before = sum(d.cpu_time_s() for d in group.daemons)
    rounds = run(["sleep", "2"]) and 2  # what is measured: two periods without anything else
    used = (sum(d.cpu_time_s() for d in group.daemons) - before) / len(group.daemons)
    assert used / rounds < 0.02 * SLOWNESS


# ---- what goes wrong ----


def failed(servers, config, expected):
    server = servers.bedrock(config, wait=False)
    assert server.wait(TIMEOUT_S) == 1
    assert expected in server.output(), server.output()


def test_a_static_group_cannot_be_joined(servers):
    servers.bedrock(document(flock("static", bootstrap=("self",))))
    failed(servers, document(flock("static", bootstrap=("join",))), 'a group of type "static" cannot be joined')


def test_the_type_of_the_group_must_be_that_of_the_file(servers):
    servers.bedrock(document(flock("swim")))
    expected = 'is the file of a group of type "swim", this configuration is for type "centralized"'
    failed(servers, document(flock("centralized", bootstrap=("join",))), expected)


def test_a_file_that_is_not_there_or_no_group_file(servers, workdir):
    failed(servers, document(flock("swim", bootstrap=("join",))), "group.flock")
    (workdir / "group.flock").write_text("{")
    failed(servers, document(flock("swim", bootstrap=("join",))), "group.flock")
    failed(servers, document(flock("swim")), "exists and is not a group file")
    assert (workdir / "group.flock").read_text() == "{"


def test_a_file_without_this_process(servers):
    servers.bedrock(document(flock("swim")))
    failed(servers, document(flock("swim", bootstrap=("file",))), "does not list this process")


def test_unreachable_members(servers, workdir):
    network = "tcp" if PROTOCOL == "na+sm" else PROTOCOL.split(":")[0]
    members = [{"address": address, "provider_id": 1} for address in ("na+sm://999999-0", f"{network}://192.0.2.1:1")]
    (workdir / "group.flock").write_text(json.dumps({"members": members, "metadata": {}}))
    failed(servers, document(flock("swim", bootstrap=("join",))), "no member of the group answers")


@pytest.mark.skipif(PROTOCOL != "na+sm", reason="between na+sm and tcp")
def test_another_protocol_does_not_take_the_file_of_a_group(servers, workdir):
    """Neither a process that wants to join nor one that would form a group of its own; clients are told, too."""
    server = servers.bedrock(document(flock("swim", file="group.flock")), protocol="tcp://127.0.0.1")
    before = (workdir / "group.flock").read_text()
    for bootstrap, expected in (
        (("join",), f'speaks another protocol ({server.address}) than this process (na+sm): start it with "tcp"'),
        (("self",), "belongs to a group that is running"),
        (("join", "self"), "belongs to a group that is running"),
    ):
        failed(servers, document(flock("swim", bootstrap=bootstrap)), expected)
        assert (workdir / "group.flock").read_text() == before
    for program in ("bedrock-query", "bedrock-shutdown"):
        result = run([program, "na+sm", "-f", "group.flock"], check=False)
        assert result.returncode != 0 and 'start it with "tcp"' in result.stderr
    # A group that has ended is no obstacle, whatever it spoke.
    server.kill()
    successor = servers.bedrock(document(flock("swim")), protocol="na+sm")
    assert successor.address in (workdir / "group.flock").read_text()


def test_discovery_of_nothing(discovery):
    result = run([discovery, "na+sm://999999-0", "1"], check=False)
    assert result.returncode == 1 and "Flock error: Mercury error" in result.stderr
