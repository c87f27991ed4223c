"""Servers whose files fail: an interposed library (tests/fault/fault.c) lets one call on a file go wrong in a bedrock with a
partition of type "default"; a checker knows what was acknowledged.

Whatever goes wrong: producers and consumers are told with the file, the cause and what to do; the same works when it is tried
again (or the partition says that it is read-only); after a restart without faults every acknowledged batch is there, whole
and in order, and nothing that nobody has pushed.

A run without faults first tells which calls there are. Here every kind of call (by name and kind of file) goes wrong once;
in nightly runs (DANGO_NIGHTLY) every call goes wrong in every way.
"""

import os
import re
from pathlib import PurePath

import pytest

from mofka import CREATE_STORED, FIRST_CONFIGURATION, list_numbers, peer
from support import BUILD, PROTOCOL, SLOWNESS, Servers, run

NIGHTLY = "DANGO_NIGHTLY" in os.environ
BATCH, BATCHES, DATA = 10, 6, 100
WAYS = ("EIO", "ENOSPC", "short", "kill", "kill-after", "kill-short")


def preloaded(library, **environment):
    """For a server: the sanitizers accept that something else is loaded before them."""
    return {
        **environment,
        "LD_PRELOAD": str(BUILD / "tests" / f"libdango-test-{library}.so"),
        "ASAN_OPTIONS": ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"])),
    }


def fault_environment(workdir, plan):
    return preloaded("fault", DANGO_FAULT=f"dir={workdir}/files,{plan}")


class Life:
    """A small life of a partition in a server with failing files, and what was promised in it."""

    def __init__(self, servers, workdir, plan):
        self.servers = servers
        self.failures = []      # what producers and consumers were told
        self.acknowledged = []  # batches, by their first number, in order
        self.pushed = set()
        self.saved = 0          # acknowledged position of the consumer
        self.server = servers.bedrock(FIRST_CONFIGURATION, env=fault_environment(workdir, plan))

    def attempt(self, words):
        """Output of a command, or None when it failed; then it must have said why and what to do."""
        result = run(words, check=False)
        if result.returncode != 0:
            assert result.returncode == 1, result.stdout + result.stderr
            self.failures.append(result.stdout + result.stderr)
        return result.stdout if result.returncode == 0 else None

    def create(self):
        """Makes the topic, if need be at the second attempt."""
        return self.attempt(CREATE_STORED) is not None or (self.alive() and self.attempt(CREATE_STORED) is not None)

    def alive(self):
        return self.server.running()

    def produce(self):
        """One producer per batch, as a program that tries again would, until the partition has become read-only."""
        for first in range(0, BATCHES * BATCH, BATCH):
            self.pushed.add(first)
            for _ in range(2):
                if self.attempt(peer("produce", "t", BATCH, BATCH, DATA, first)) is not None:
                    self.acknowledged.append(first)
                    break
                if not self.alive():
                    return
            else:
                assert "the partition is read-only" in self.failures[-1], self.failures
                assert "restart the server" in self.failures[-1], self.failures
                return

    def consume(self):
        """Reads and acknowledges what is there; what fails works when it is tried again."""
        count = len(self.acknowledged) * BATCH
        for name in ("reader", "other"):
            words = peer("consume", "t", name, count, "all")
            output = self.attempt(words)
            if output is None and self.alive():
                output = self.attempt(peer("list", "t", name + "2"))
            if output is None:
                return
            if name == "reader" and f"got {count}" in output:
                self.saved = count

    def work(self):
        if self.create():
            self.produce()
        if self.alive() and self.acknowledged:
            self.consume()  # also what has become read-only
        self.died = not self.alive()
        if not self.died:
            self.server.stop()
        return self


def verify(life, servers):
    """The restart without faults."""
    servers.bedrock(FIRST_CONFIGURATION)
    run(CREATE_STORED)
    numbers = list_numbers("t", "checker")
    batches = [numbers[i:i + BATCH] for i in range(0, len(numbers), BATCH)]
    for batch in batches:
        assert batch == list(range(batch[0], batch[0] + BATCH)) and batch[0] in life.pushed, numbers
    there = iter(batch[0] for batch in batches)
    assert all(first in there for first in life.acknowledged), (life.acknowledged, numbers)
    extent = run(peer("extent", "t", "reader")).stdout
    assert int(extent.split()[1]) >= life.saved, extent
    # And it works again.
    run(peer("produce", "t", BATCH, BATCH, DATA, 1000))
    assert list_numbers("t", "last") == numbers + list(range(1000, 1000 + BATCH))


def live(workdir, plan):
    """A life in an empty directory, and afterwards, with a plan that lets calls go wrong, the verification."""
    workdir.mkdir()
    os.chdir(workdir)
    servers = Servers(workdir)
    try:
        life = Life(servers, workdir, plan).work()
        if "do=" in plan:
            verify(life, servers)
        return life
    except AssertionError:
        print(plan, servers.report(), sep="\n")
        raise
    finally:
        servers.end_all()


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """The calls of a run without faults: [(call, kind of file)], a kind being a name without its digits."""
    workdir = tmp_path_factory.mktemp("counting")
    assert not live(workdir / "life", f"trace={workdir}/trace").failures
    lines = [line.split(" ") for line in (workdir / "trace").read_text().splitlines()]
    assert len(lines) > 40
    return [(call, re.sub(r"\d", "", PurePath(path).name)) for _, call, path in lines]


def choose(calls, way):
    """Numbers of the calls that go wrong in this way."""
    numbers = [n for n, (call, _) in enumerate(calls, 1) if call == "write" or "short" not in way]
    if NIGHTLY:
        return numbers
    kinds = sorted(set(calls))
    turn = WAYS.index(way)
    chosen = {calls.index(kind) + 1 for kind in kinds if way == "EIO" or (kinds.index(kind) + turn) % len(WAYS) == 0}
    return sorted(chosen & set(numbers))[:: 1 if SLOWNESS == 1 else 3]


TOLD = re.compile(r"files/?.*: (Input/output error; .*dmesg|No space left on device; make room)")


@pytest.mark.parametrize("way", WAYS)
def test_every_call_may_go_wrong(way, calls, workdir):
    for n in choose(calls, way):
        life = live(workdir / f"call-{n}", f"n={n},do={way}")
        # Clients of a server that died see only that; others are told the file, the cause and what to do.
        if not life.died:
            assert all(TOLD.search(failure) for failure in life.failures), (calls[n - 1], life.failures)


@pytest.mark.skipif(PROTOCOL != "na+sm", reason="the library damages transfers of na+sm")
@pytest.mark.parametrize("faults", [1, 2, 3])
def test_transfers_that_damage_what_they_carry(servers, faults):
    """What came damaged is fetched again; damaged again it is reported, as damage of the medium is, and what follows comes.
    The next consumer meets what is left of the faults."""
    server = servers.bedrock(FIRST_CONFIGURATION, env=preloaded("transfer", DANGO_TRANSFER_FAULTS=str(faults)))
    run([*CREATE_STORED, "--topic.config.partition.max_chunk_size", 1 << 30])
    run(peer("produce", "t", 100, 10, 100_000))
    first = run(peer("consume", "t", "reader", 100 if faults == 1 else 90, "all"))
    second = run(peer("consume", "t", "other", 100, "all"))
    assert first.stdout.count("events 0 to 9 are damaged and cannot be read") == (faults > 1)
    assert first.stderr.count("events 0 to 9 came damaged from") == 1
    assert "damaged" not in second.stdout
    assert second.stderr.count("events 0 to 9 came damaged from") == (faults > 2)
    assert "damaged" not in server.output()
