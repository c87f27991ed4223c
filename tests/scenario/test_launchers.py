"""The ways to start the servers of a group: mpirun, by hand one after the other or all at the same instant, and what srun
puts into the environment (Slurm itself is not needed).
"""

import json
import os
import re

import pytest

from launchers import mpirun, needs_mpi, wait_until_running
from support import PROTOCOL, SLOWNESS, run, wait_until
from test_flock_groups import discovery  # noqa: F401 (a fixture)

TIMEOUT_S = 40 * SLOWNESS
ROUNDS = 20 if os.environ.get("DANGO_NIGHTLY") else 4

# As in the guide to groups, word for word: "Configuration file (same for all processes)".
DISTRIBUTED = """
{
"margo": {
"argobots": {
"pools": [
{
"name": "rpc_pool",
"kind": "fifo_wait",
"access": "mpmc"
}
]
},
"rpc_pool": "rpc_pool"
},
"libraries": [
"libflock-bedrock-module.so",
"libyokan-bedrock-module.so"
],
"providers": [
{
"name": "service_group",
"type": "flock",
"provider_id": 1,
"dependencies": {
"pool": "__primary__"
},
"config": {
"bootstrap": ["join", "mpi"],
"group": {
"type": "centralized",
"config": {}
},
"file": "distributed_service.flock"
}
},
{
"name": "kv_store",
"type": "yokan",
"provider_id": 42,
"dependencies": {
"pool": "__primary__"
},
"config": {
"database": {
"type": "map"
}
}
}
]
}
"""
GROUP_FILE = "distributed_service.flock"


def members(workdir):
    path = workdir / GROUP_FILE
    return sorted(m["address"] for m in json.loads(path.read_text())["members"]) if path.exists() else []


def views(discovery, addresses):  # noqa: F811
    """What each member says who the members are."""
    return [sorted(re.findall(r"Address: (\S+)", run([discovery, address, "1"]).stdout)) for address in addresses]


def expect_one_group(workdir, discovery, addresses):  # noqa: F811
    expected = sorted(addresses)
    assert len(set(expected)) == len(addresses)
    wait_until(lambda: members(workdir) == expected, "all in the group file", TIMEOUT_S)
    wait_until(lambda: views(discovery, expected) == [expected] * len(expected), "all see all", TIMEOUT_S)


def start(servers, count, env=lambda i: None, config=DISTRIBUTED):
    started = [servers.bedrock(config, PROTOCOL, wait=False, env=env(i)) for i in range(count)]
    return [server.wait_until_running(TIMEOUT_S) for server in started]


def test_by_hand_in_the_order_of_the_guide(servers, workdir, discovery):  # noqa: F811
    started = [start(servers, 1)[0] for _ in range(4)]
    assert 'bootstrap method "join" failed, trying the next' in started[0].output()
    expect_one_group(workdir, discovery, [server.address for server in started])
    for server in started:
        server.stop()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_by_hand_at_the_same_instant(servers, workdir, discovery, round_):  # noqa: F811
    started = start(servers, 4)
    expect_one_group(workdir, discovery, [server.address for server in started])
    alone = [server for server in started if "failed, trying the next" in server.output()]
    assert len(alone) == 1, "exactly one forms the group"


@pytest.mark.skipif(any(mark.args[0] for mark in needs_mpi), reason="MPI is not there")
def test_by_mpirun(servers, workdir, discovery):  # noqa: F811
    (workdir / "distributed-config.json").write_text(DISTRIBUTED)
    job = mpirun(servers, 4, PROTOCOL, "distributed-config.json")
    wait_until_running(job, 4)
    expect_one_group(workdir, discovery, re.findall(r"now running at (\S+)", job.output()))
    run(["bedrock-shutdown", PROTOCOL, "-f", GROUP_FILE])
    assert job.wait() == 0, job.output()


# ---- Slurm ----


def srun(rank):
    """The environment of a task of `srun -n 4`."""
    return {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank),
            "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}


def test_tasks_of_srun_join_each_other(servers, workdir, discovery):  # noqa: F811
    """Conditions and names go by the rank; MPI is not needed."""
    document = json.loads(DISTRIBUTED)
    document["providers"][0]["config"]["bootstrap"] = ["join", "self"]
    document["providers"][1]["__if__"] = "$MPI_COMM_WORLD.rank == 0"
    started = start(servers, 4, srun, json.dumps(document))
    expect_one_group(workdir, discovery, [server.address for server in started])
    worlds = json.loads(run(["bedrock-query", PROTOCOL, "-f", GROUP_FILE, "-e", "$MPI_COMM_WORLD"]).stdout)
    assert [(worlds[s.address]["rank"], worlds[s.address]["size"]) for s in started] == [(i, 4) for i in range(4)]
    configurations = json.loads(run(["bedrock-query", PROTOCOL, "-f", GROUP_FILE]).stdout)
    with_store = [i for i, server in enumerate(started)
                  if any(p["name"] == "kv_store" for p in configurations[server.address]["providers"])]
    assert with_store == [0]


@pytest.mark.skipif(any(mark.args[0] for mark in needs_mpi), reason="MPI is not there")
def test_bootstrap_mpi_needs_a_launcher_that_mpi_understands(servers):
    """srun without PMIx: each task would be an MPI world of its own. It fails, and says what to do."""
    document = json.loads(DISTRIBUTED)
    document["providers"][0]["config"]["bootstrap"] = "mpi"
    started = [servers.bedrock(json.dumps(document), PROTOCOL, wait=False, env=srun(i)) for i in range(4)]
    for i, server in enumerate(started):
        assert server.wait(TIMEOUT_S) == 1
        assert f"the launcher says rank {i} of 4, MPI says 0 of 1" in server.output()
        assert "srun was started without --mpi=pmix" in server.output() and '["join", "self"]' in server.output(), server.output()
