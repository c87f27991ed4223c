"""Sixteen idle SWIM daemons with default options on a machine whose processors are busy: nobody is taken for dead.

DANGO_FLOCK_IDLE_S seconds (default 10; 1800 in nightly runs, DANGO_NIGHTLY). Twice as many busy processes as there are
cores run beside them at the same priority. What must never happen: a member missing in the group file, or in the view of any
member (each is asked in turn), or one that reads in the messages of the others that it is dead.
"""

import os
import time

from support import SLOWNESS
from test_flock_groups import Group, discovery, document, flock  # noqa: F401 (a fixture)

IDLE_S = float(os.environ.get("DANGO_FLOCK_IDLE_S", "1800" if os.environ.get("DANGO_NIGHTLY") else "10"))
MEMBERS = 16


def default_options():
    provider = flock("swim")
    provider["config"]["group"] = {"type": "swim"}
    return document(provider)


def test_nobody_is_taken_for_dead(servers, discovery):  # noqa: F811
    group = Group(servers, discovery, "swim")
    group.daemons = [servers.bedrock(default_options(), wait=False) for _ in range(MEMBERS)]
    for daemon in group.daemons:
        daemon.wait_until_running(40 * SLOWNESS)
    group.wait_until_all_see(group.daemons)
    expected = sorted(d.address for d in group.daemons)

    for _ in range(2 * os.cpu_count()):
        servers.start(["sh", "-c", "while :; do :; done"], name=f"busy-{len(servers.started)}")
    start, before, looks = time.monotonic(), sum(d.cpu_time_s() for d in group.daemons), 0
    while (elapsed_s := time.monotonic() - start) < IDLE_S:
        assert group.file_members() == expected, f"after {elapsed_s:.0f} s"
        daemon = group.daemons[looks % MEMBERS]
        assert group.view(daemon) == expected, f"{daemon.name} after {elapsed_s:.0f} s"
        assert not [d.name for d in group.daemons if "declared dead" in d.output()]
        looks += 1
        time.sleep(1)  # between two looks
    used = (sum(d.cpu_time_s() for d in group.daemons) - before) / elapsed_s / MEMBERS
    print(f"{looks} looks in {elapsed_s:.0f} s, {100 * used:.2f} % of a core for each member")
    assert all(d.running() for d in group.daemons)
