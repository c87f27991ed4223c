"""Sixteen daemons of one group of which, at random, some are killed, leave, are stopped for a while, or come anew; and what
all of them say about the members is watched.

* Everybody who has been running and not stopped for long enough is in the group file and in everybody's view: nobody living
  is missing for longer than BOUND_S.
* When the disturbances end, all who live see the same members: those who live.

DANGO_CHURN_S is how long it lasts (default 12 s, 600 s with DANGO_NIGHTLY), DANGO_CHURN_SEED repeats the choices.
"""

import os
import random
import signal
import time

import pytest

from support import SLOWNESS
from test_flock_groups import Group, both, discovery  # noqa: F401 (a fixture)

MEMBERS = 16
SECONDS = float(os.environ.get("DANGO_CHURN_S", "600" if os.environ.get("DANGO_NIGHTLY") else "12"))
SEED = int(os.environ.get("DANGO_CHURN_SEED", time.time_ns() % 1_000_000))
# docs/flock.md: within 4.2 s of these protocol times a death is known to all 16; a busy machine takes longer.
BOUND_S = 20 * SLOWNESS
# Between two disturbances. Whoever starts finds the group through the members in the file: some of them must be alive still
# when it has taken the group a second or two to find out that the writer hangs, and another member has written.
PACE_S = 0.2
QUIET_EVERY_S = 60


class Churn:
    def __init__(self, group):
        self.group = group
        self.choice = random.Random(SEED)
        self.since = {}  # daemon: when it began to run (again)
        self.stopped = {}  # daemon: when it is to go on
        self.missing = {}  # (who says so, daemon): since when

    def begin(self, count=1):
        for daemon in self.group.start(count):
            self.since[daemon] = time.monotonic()

    def gone(self, daemon):
        self.group.daemons.remove(daemon)
        del self.since[daemon]

    # ---- disturbances ----

    def kill(self):
        victim = self.choice.choice(self.running())
        victim.kill()
        self.gone(victim)

    def leave(self):
        victim = self.choice.choice(self.running())
        victim.signal(signal.SIGTERM)
        self.gone(victim)

    def stop(self):
        victim = self.choice.choice(self.running())
        victim.signal(signal.SIGSTOP)
        self.stopped[victim] = time.monotonic() + self.choice.uniform(0.2, 4)

    def disturb(self):
        few = len(self.running()) < MEMBERS * 3 // 4
        (self.begin if few else self.choice.choice([self.kill, self.leave, self.stop, self.begin]))()
        if len(self.group.daemons) > MEMBERS + 4:
            self.kill()

    def go_on(self, now):
        """Those whose time has come; their age counts anew."""
        for daemon in [d for d, until in self.stopped.items() if until <= now]:
            del self.stopped[daemon]
            daemon.signal(signal.SIGCONT)
            self.since[daemon] = time.monotonic()

    # ---- what is watched ----

    def running(self):
        return [d for d in self.group.daemons if d not in self.stopped]

    def note(self, witness, view):
        now = time.monotonic()
        for daemon in self.running():
            key = (witness, daemon)
            if daemon.address in view:
                self.missing.pop(key, None)
                continue
            began = max(self.missing.setdefault(key, now), self.since[daemon], self.since.get(witness, 0))
            assert now - began < BOUND_S, f"{daemon.name} has been missing for {now - began:.1f} s at {witness}"

    def watch(self):
        self.note("the file", self.group.file_members())
        witness = self.choice.choice(self.running())
        self.note(witness, self.group.view(witness))

    def settle(self):
        self.go_on(float("inf"))
        self.group.wait_until_all_see(self.group.daemons)
        self.missing.clear()


@both
def test_views_agree_after_all_that(servers, discovery, kind):  # noqa: F811
    print(f"seed {SEED}")
    churn = Churn(Group(servers, discovery, kind))
    churn.begin(MEMBERS)
    churn.settle()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        quiet = min(end, time.monotonic() + QUIET_EVERY_S)
        while time.monotonic() < quiet:
            churn.disturb()
            churn.go_on(time.monotonic())
            churn.watch()
            time.sleep(PACE_S)
        churn.settle()
    print(f"{len(servers.started)} daemons in all")
