"""Groups of the processes that mpirun starts: bootstrap mpi, conditions on the rank, clean stops, and what goes wrong."""

import json
import os
import re
import shutil
import signal

import launchers
from launchers import MPI_ENVIRONMENT, daemons, needs_mpi, wait_until_running
from support import BUILD, PROTOCOL, run, wait_until

pytestmark = needs_mpi


def group(bootstrap="mpi", kind="static", provider_id=1, **more):
    config = {"bootstrap": bootstrap, "group": {"type": kind, "config": {}}, "file": "group.flock", **more}
    return {"name": "group", "type": "flock", "provider_id": provider_id, "config": config}


def document(*providers, **more):
    libraries = ["libflock-bedrock-module.so", "libyokan-bedrock-module.so"]
    return {"libraries": libraries, "providers": list(providers), **more}


def mpirun(servers, count, config, *options, env=None):
    (servers.workdir / "config.json").write_text(json.dumps(config))
    return launchers.mpirun(servers, count, PROTOCOL, "config.json", *options, env=env)


def members(workdir, name="group.flock"):
    path = workdir / name
    return [m["address"] for m in json.loads(path.read_text())["members"]] if path.exists() else []


def wait_for_members(workdir, count):
    return wait_until(lambda: len(members(workdir)) == count and members(workdir), f"{count} members in the file")


def test_four_ranks_are_one_group(servers, workdir):
    master = {"__if__": "$MPI_COMM_WORLD.rank == 0", "name": "master", "type": "yokan", "provider_id": 2}
    master["config"] = {"database": {"type": "map"}}
    job = mpirun(servers, 4, document(group(), master))
    addresses = wait_for_members(workdir, 4)
    wait_until_running(job, 4)
    assert job.output().count("now running at") == 4 and len(set(addresses)) == 4
    worlds = json.loads(run(["bedrock-query", PROTOCOL, "-f", "group.flock", "-e", "$MPI_COMM_WORLD"]).stdout)
    assert sorted(w["rank"] for w in worlds.values()) == [0, 1, 2, 3] and {w["size"] for w in worlds.values()} == {4}
    names = json.loads(run(["bedrock-query", PROTOCOL, "-f", "group.flock"]).stdout)
    masters = [a for a, c in names.items() if any(p["name"] == "master" for p in c["providers"])]
    assert [worlds[a]["rank"] for a in masters] == [0]
    run(["bedrock-shutdown", PROTOCOL, "-f", "group.flock"])
    assert job.wait() == 0, job.output()


def test_a_group_that_one_rank_forms_beside_that_of_all(servers, workdir):
    """Whoever comes first forms it, the other waits for its file; and both are needed for the group of all."""
    other = group(["join", "self"], kind="centralized", provider_id=2, file="other.flock")
    other["name"] = "other"
    for providers in ([group(), other], [other, group()]):
        job = mpirun(servers, 2, document(*providers))
        wait_until_running(job, 2)
        wait_until(lambda: len(members(workdir, "other.flock")) == 2, "2 members in the other file")
        assert len(members(workdir)) == 2
        run(["bedrock-shutdown", PROTOCOL, "-f", "group.flock"])
        assert job.wait() == 0, job.output()
        (workdir / "group.flock").unlink()
        (workdir / "other.flock").unlink()


def test_the_group_file_appears_when_all_ranks_are_complete(servers, workdir):
    late = {"__if__": "$MPI_COMM_WORLD.rank > 0", "name": "late", "type": "thing", "provider_id": 3}
    config = document(group(), late)
    config["libraries"].append(str(BUILD / "tests" / "libtest-bedrock-module.so"))
    job = mpirun(servers, 4, config, env={"THING_SLOW_MS": "1000"})
    wait_until(lambda: (workdir / "group.flock").exists(), "the group file")
    found = json.loads(run(["bedrock-query", PROTOCOL, "-f", "group.flock"]).stdout)
    counts = sorted(sum(p["name"] == "late" for p in server["providers"]) for server in found.values())
    assert counts == [0, 1, 1, 1], found
    wait_until_running(job, 4)
    run(["bedrock-shutdown", PROTOCOL, "-f", "group.flock"])
    assert job.wait() == 0, job.output()


def test_providers_of_other_ranks(servers, workdir):
    """Each rank depends on a provider of another one, and none of them names MPI otherwise."""
    library = str(BUILD / "tests" / "libtest-bedrock-module.so")
    here = {"name": "here", "type": "thing", "provider_id": 4}
    users = [
        {"__if__": f"$MPI_COMM_WORLD.rank == {rank}", "name": "user", "type": "thing"}
        | {"dependencies": {"friend": f"{reference}@{other}"}}
        for rank, reference, other in [(0, "here", 1), (1, "thing:4", 0)]
    ]
    job = mpirun(servers, 2, {"libraries": [library], "providers": [here, *users]})
    wait_until_running(job, 2)
    addresses = re.findall(r"now running at (\S+)", job.output())
    everybody = [word for address in addresses for word in ("-a", address)]
    worlds = json.loads(run(["bedrock-query", PROTOCOL, *everybody, "-e", "$MPI_COMM_WORLD"]).stdout)
    by_rank = worlds[addresses[0]]["addresses"]
    assert sorted(by_rank) == sorted(addresses) and all(by_rank[w["rank"]] == a for a, w in worlds.items())
    configs = json.loads(run(["bedrock-query", PROTOCOL, *everybody]).stdout)
    for rank, other in [(0, 1), (1, 0)]:
        assert configs[by_rank[rank]]["providers"][1]["dependencies"] == {"friend": f"thing:4@{by_rank[other]}"}


def test_a_reference_to_a_rank_out_of_range(servers, workdir):
    library = str(BUILD / "tests" / "libtest-bedrock-module.so")
    user = {"name": "user", "type": "thing", "dependencies": {"friend": "here@2"}}
    job = mpirun(servers, 2, {"libraries": [library], "providers": [user]})
    assert job.wait() != 0
    assert '"here@2": there is no rank 2, the launch has fewer processes' in job.output()


def test_every_rank_stopped_by_sigterm_is_a_clean_stop(servers, workdir):
    job = mpirun(servers, 3, document(group()))
    wait_for_members(workdir, 3)
    wait_until_running(job, 3)
    for pid in list(daemons(workdir)):
        os.kill(pid, signal.SIGTERM)
    assert job.wait() == 0, job.output()


def test_some_ranks_only(servers, workdir):
    """Ranks 1 and 3 form the group; the others have another provider, and take no part."""
    listed = {"__if__": "in_array($MPI_COMM_WORLD.rank, [1, 3])", **group(mpi_ranks=[1, 3])}
    job = mpirun(servers, 4, document(listed))
    wait_until_running(job, 4)
    addresses = wait_for_members(workdir, 2)
    ranks = [
        json.loads(run(["bedrock-query", PROTOCOL, "-a", a, "-e", "$MPI_COMM_WORLD.rank"]).stdout)[a] for a in addresses
    ]
    assert sorted(ranks) == [1, 3]


def test_a_rank_that_is_not_listed_fails_cleanly(servers, workdir):
    job = mpirun(servers, 2, document(group(mpi_ranks=[0])))
    assert job.wait() != 0
    assert "this process is rank 1, which is not in mpi_ranks" in job.output()


def test_a_rank_out_of_range_fails_cleanly(servers):
    job = mpirun(servers, 2, document(group(mpi_ranks=[0, 2])))
    assert job.wait() != 0
    assert "config.mpi_ranks: entry 1: expected a rank between 0 and 1, found 2" in job.output()


def test_one_failing_rank_fails_all(servers, workdir):
    """The file is none of ours: the first rank finds out, and the others do not wait for it."""
    (workdir / "group.flock").write_text("precious")
    job = mpirun(servers, 3, document(group()))
    assert job.wait() != 0
    assert "rank 0: exists and is not a group file" in job.output()
    assert (workdir / "group.flock").read_text() == "precious"


def test_two_groups_do_not_share_a_file(servers, workdir):
    first = mpirun(servers, 2, document(group()))
    addresses = wait_for_members(workdir, 2)
    second = mpirun(servers, 2, document(group()))
    assert second.wait() != 0 and "belongs to a group that is running" in second.output()
    assert members(workdir) == addresses and first.running()


def test_mpirun_without_the_plugin_names_the_package(servers, workdir):
    """An installation without the plug-in: the library and the module at another place."""
    place = workdir / "prefix"
    (place / "bin").mkdir(parents=True)
    (place / "lib").mkdir()
    shutil.copy(BUILD / "bin/bedrock", place / "bin")
    for name in os.listdir(BUILD / "lib"):
        if name.startswith("libdango.so") or name.endswith("bedrock-module.so"):
            shutil.copy(BUILD / "lib" / name, place / "lib", follow_symlinks=False)
    (workdir / "config.json").write_text(json.dumps(document(group())))
    command = ["mpirun", "--oversubscribe", "-n", "2", place / "bin/bedrock", "na+sm", "-c", "config.json"]
    job = servers.start([str(word) for word in command], env=MPI_ENVIRONMENT)
    assert job.wait() != 0
    assert "the MPI plug-in is not installed" in job.output() and "openmpi-bin" in job.output()
    # Without a launcher it is a group of one, and needs nothing.
    alone = servers.start([str(place / "bin/bedrock"), "na+sm", "-c", "config.json"])
    wait_for_members(workdir, 1)
    alone.stop()


def test_a_batch_script_is_no_launcher(servers, workdir):
    """Slurm sets the task count of the job in batch scripts, too; only steps are launched together."""
    server = servers.bedrock(document(group()), env={"SLURM_PROCID": "0", "SLURM_NTASKS": "4"})
    assert members(workdir) == [server.address]
    server.stop()


def test_join_or_mpi(servers, workdir):
    """The distributed example of the documentation: by mpirun, joined by hand, and again over the file of the dead."""
    yokan = {"name": "kv_store", "type": "yokan", "provider_id": 42, "dependencies": {"pool": "__primary__"}}
    yokan["config"] = {"database": {"type": "map"}}
    quick = {"ping_interval_ms": 100, "ping_timeout_ms": 300}
    member = group(["join", "mpi"], group={"type": "centralized", "config": quick})
    config = document(
        {**member, "dependencies": {"pool": "__primary__"}},
        yokan,
        margo={
            "argobots": {"pools": [{"name": "rpc_pool", "kind": "fifo_wait", "access": "mpmc"}]},
            "rpc_pool": "rpc_pool",
        },
    )
    job = mpirun(servers, 4, config)
    launched = wait_for_members(workdir, 4)
    wait_until_running(job, 4)
    alone = servers.bedrock(config)
    assert alone.address in wait_for_members(workdir, 5)
    for pid in list(daemons(workdir)):
        os.kill(pid, signal.SIGKILL)
    job.wait()
    alone.wait()
    # Nobody is left who could be joined: all ranks agree to form a new group.
    again = mpirun(servers, 3, config)
    wait_until(lambda: len(members(workdir)) == 3 and not set(launched) & set(members(workdir)), "a new group")
    wait_until_running(again, 3)
    run(["bedrock-shutdown", PROTOCOL, "-f", "group.flock"])
    assert again.wait() == 0, again.output()


def test_views_of_communicators(servers):
    job = servers.start(["mpirun", "--oversubscribe", "-n", "5", str(BUILD / "tests/flock-mpi-view")], env=MPI_ENVIRONMENT)
    assert job.wait() == 0, job.output()
    assert job.output().count("good") == 5
