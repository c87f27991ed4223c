"""A server that is killed and started again with the same command has its partitions back by itself.

The configuration is the user guide's with a persistent master database; everything under the test's own directory.
"""

import copy
import json
import os
import random
import re
import signal
import time

import pytest

from launchers import mpirun, needs_mpi, wait_until_running
from mofka import FIRST_CONFIGURATION, GROUP_FILE, peer
from several import Admin
from support import BUILD, PROTOCOL, SLOWNESS, run, wait_until

TYPES = [t for t in ("rocksdb", "lmdb", "leveldb") if (BUILD / "lib" / f"libdango-yokan-{t}.so").exists()]
pytestmark = pytest.mark.skipif(not TYPES, reason="no persistent database is built")

CONTROL = {"DIASPORA_CTL_DRIVER_OPTIONS": f"--driver mofka --driver.group_file {GROUP_FILE}"}


@pytest.fixture
def configuration(workdir):
    """As in the user guide: "Making the master database persistent"."""
    (workdir / "mofka").mkdir()
    config = json.loads(FIRST_CONFIGURATION)
    master = next(p for p in config["providers"] if p["name"] == "master_database")
    master["config"]["database"] = {"type": TYPES[0],
                                    "config": {"create_if_missing": True, "path": "mofka/master"}}
    return config


def ctl(*words, check=True):
    return run(["diaspora-ctl", *words], env=CONTROL, check=check)


def create(name, partitions, *words):
    return ctl("topic", "create", "--name", name, "--topic.num_partitions", partitions, *words)


STORED = ["--topic.config.type", "default", "--topic.config.partition.path", "mofka"]


def partitions_of(service):
    """{uuid: (topic, id, name)} as bedrock-query shows them."""
    document = json.loads(run(["bedrock-query", PROTOCOL, "-f", GROUP_FILE, "-p"]).stdout)[service.address]
    return {p["config"]["uuid"]: (p["config"]["topic"], p["provider_id"], p["name"])
            for p in document["providers"] if p["type"] == "mofka"}


def test_everything_is_back_after_kill_9(servers, workdir, configuration):
    service = servers.bedrock(configuration)
    create("my_topic", 1, *STORED)
    create("wide", 3, *STORED, "--topic.dependencies.io_controller", "io_controller",
           "--topic.dependencies.pool", "__primary__")
    run(peer("produce", "my_topic", 2000, 100, 300))
    run(peer("produce", "wide", 3000, 10, 0))
    assert "got 700\n" in run(peer("consume", "my_topic", "half", 700, "all")).stdout
    before = partitions_of(service)
    assert len(before) == 4
    for life in range(3):
        service.kill()
        group_file = workdir / GROUP_FILE
        group_file.unlink()
        service = servers.bedrock(configuration, wait=False)
        # Whoever sees the group file sees the partitions.
        service.wait_until_running()
        assert partitions_of(service) == before
        assert "got 2000\n" in run(peer("consume", "my_topic", f"all{life}", 2000, "all")).stdout
        assert "got 3000\n" in run(peer("consume", "wide", f"all{life}", 3000, "all")).stdout
    assert "4 partitions are back, 0 are not" in service.output()
    run(peer("produce", "my_topic", 500, 100, 300))
    assert "got 1800\n" in run(peer("consume", "my_topic", "half", 1800, "all")).stdout
    service.stop()


def restart(servers, service, configuration, **options):
    service.kill()
    return servers.bedrock(configuration, **options)


def directory_of(workdir, topic, uuid):
    return workdir / "mofka" / f"{topic}-{uuid}"


@pytest.mark.parametrize("damage, text", [
    (lambda directory: directory.rename(directory.parent / "elsewhere"), "partition.json: cannot open: No such file"),
    (lambda directory: (directory / "partition.json").write_text("{"), "partition.json"),
    (lambda directory: (directory / "partition.json").write_text('{"format": 7}'), "partition.json"),
    (lambda directory: (directory / "chunk-000000.log").write_bytes(b"x" * 100), "chunk"),
])
def test_a_partition_that_cannot_be_opened_is_explained_and_the_others_live(servers, workdir, configuration, damage,
                                                                            text):
    service = servers.bedrock(configuration)
    for topic in ("whole", "hurt"):
        create(topic, 1, *STORED)
        run(peer("produce", topic, 100, 10, 0))
    hurt = next(uuid for uuid, (topic, _, _) in partitions_of(service).items() if topic == "hurt")
    service.kill()
    damage(directory_of(workdir, "hurt", hurt))
    service = servers.bedrock(configuration)
    assert "1 partitions are back, 1 are not" in service.output()
    assert re.search(rf'topic "hurt": partition {hurt} is not served: .*{text}', service.output())
    assert "got 100\n" in run(peer("consume", "whole", "c", 100, "all")).stdout
    # Nothing was made in place of what is missing, and clients hear why.
    assert not list(directory_of(workdir, "hurt", hurt).glob("chunk-000001*"))
    for words in (peer("produce", "hurt", 1, 1, 0), peer("consume", "hurt", "c", 1, "all")):
        result = run(words, check=False)
        assert result.returncode != 0
        assert "partition 0 is not served: " in result.stdout and text in result.stdout, result.stdout


def test_what_was_moved_away_and_put_back_is_served_again(servers, workdir, configuration):
    service = servers.bedrock(configuration)
    create("moved", 1, *STORED)
    run(peer("produce", "moved", 100, 10, 0))
    uuid, = partitions_of(service)
    service.kill()
    directory = directory_of(workdir, "moved", uuid)
    directory.rename(workdir / "elsewhere")
    service = servers.bedrock(configuration)
    assert not directory.exists()
    (workdir / "elsewhere").rename(directory)
    service = restart(servers, service, configuration)
    assert "got 100\n" in run(peer("consume", "moved", "c", 100, "all")).stdout


def test_a_topic_that_was_opened_before_is_looked_after_where_it_is_now(servers, configuration):
    service = servers.bedrock(configuration)
    create("t", 2, *STORED)
    run(peer("produce", "t", 200, 10, 10))
    admin = Admin(servers)
    assert admin.ask("keep t") == "done"

    def ask_after_restart(line):
        nonlocal service
        service.kill()
        service = servers.bedrock(configuration)
        answers = []
        # Where the master database is has perhaps been looked up just before, and is not looked up again at once.
        wait_until(lambda: answers.append(admin.ask(line)) or not answers[-1].startswith("error"), line)
        return answers[-1]

    assert [p["end"] for p in json.loads(ask_after_restart("positions"))] == [100, 100]
    assert ask_after_restart("reset reader 7") == "done"
    assert [p["positions"]["reader"]["position"] for p in json.loads(ask_after_restart("positions"))] == [7, 7]
    assert ask_after_restart("complete") == "done"
    assert all(p["complete"] for p in json.loads(ask_after_restart("positions")))
    service.kill()
    assert re.fullmatch(r"error .*partition 0: .* is gone .*", admin.ask("positions"))


def test_a_partition_in_memory_comes_back_empty(servers, configuration):
    service = servers.bedrock(configuration)
    create("volatile", 2)
    run(peer("produce", "volatile", 100, 10, 0))
    before = partitions_of(service)
    service = restart(servers, service, configuration)
    assert partitions_of(service) == before
    assert service.output().count("comes back empty: its events were in memory") == 2
    assert run(peer("extent", "volatile", "c")).stdout == "extent 0 0\n"
    run(peer("produce", "volatile", 50, 10, 0))
    assert "got 50\n" in run(peer("consume", "volatile", "c", 50, "all")).stdout


def test_an_id_that_is_taken_now_is_replaced(servers, configuration):
    service = servers.bedrock(configuration)
    create("topic", 1, *STORED)
    (uuid, (_, old_id, name)), = partitions_of(service).items()
    configuration["providers"].append({"name": "newcomer", "type": "yokan", "provider_id": old_id,
                                       "config": {"database": {"type": "map"}}})
    service = restart(servers, service, configuration)
    (same_uuid, (_, new_id, same_name)), = partitions_of(service).items()
    assert (same_uuid, same_name) == (uuid, name) and new_id != old_id
    run(peer("produce", "topic", 10, 10, 0))


def test_a_configuration_that_names_the_partition_is_no_conflict(servers, workdir, configuration):
    """What bedrock-query shows can be the next configuration: its partitions are there then, and entered."""
    service = servers.bedrock(configuration)
    create("topic", 2, *STORED)
    run(peer("produce", "topic", 100, 10, 0))
    before = partitions_of(service)
    saved = json.loads(run(["bedrock-query", PROTOCOL, "-f", GROUP_FILE]).stdout)[service.address]
    for provider in saved["providers"]:
        if provider["type"] == "mofka":
            provider["dependencies"]["master_database"] = "master_database@local"
    del saved["margo"]["mercury"]["address"]
    service = restart(servers, service, saved)
    assert partitions_of(service) == before
    assert "2 partitions are back, 0 are not" in service.output()
    assert "got 100\n" in run(peer("consume", "topic", "c", 100, "all")).stdout


def name_of(service):
    return run(["bedrock-query", PROTOCOL, "-a", service.address, "-e", "$__config__.bedrock.name"]).stdout


@pytest.mark.parametrize("arguments, env, name", [
    (["--name", "east-1"], {"DANGO_SERVER_NAME": "ignored"}, "east-1"),
    ([], {"DANGO_SERVER_NAME": "west.2", "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}, "west.2"),
    ([], {"PMI_RANK": "3", "PMI_SIZE": "4"}, "3"),
    ([], {}, "0"),
])
def test_partitions_belong_to_the_name_of_the_server(servers, configuration, arguments, env, name):
    service = servers.bedrock(configuration, arguments=arguments, env=env)
    assert f'"{name}"' in name_of(service)
    create("topic", 1, *STORED)
    before = partitions_of(service)
    service.kill()
    service = servers.bedrock(configuration, arguments=["--name", "somebody-else"])
    assert partitions_of(service) == {}
    service = restart(servers, service, configuration, arguments=arguments, env=env)
    assert partitions_of(service) == before


def test_a_name_that_is_none_is_refused(workdir, configuration):
    (workdir / "c.json").write_text(json.dumps(configuration))
    for words, env in ((["--name", "a b"], {}), ([], {"DANGO_SERVER_NAME": "x" * 129})):
        result = run(["bedrock", "na+sm", "-c", "c.json", *words], env=env, check=False)
        assert result.returncode == 1
        assert "cannot be the name of a server" in result.stderr


def mpi_only(test):
    for mark in needs_mpi:
        test = mark(test)
    return test


def start_ranks(servers, workdir, count, configuration, env=None):
    """As the user guide distributes the service: one group by MPI, the master database in rank 0."""
    config = copy.deepcopy(configuration)
    manager, master, *_ = config["providers"]
    manager["config"]["bootstrap"] = "mpi"
    master["__if__"] = "$MPI_COMM_WORLD.rank == 0"
    (workdir / GROUP_FILE).unlink(missing_ok=True)
    (workdir / "mpi.json").write_text(json.dumps(config))
    return mpirun(servers, count, "na+sm", "mpi.json", env=env)


def end_ranks(workdir, job):
    """kill -9 of every rank; mpirun ends by itself then."""
    for member in json.loads((workdir / GROUP_FILE).read_text())["members"]:
        os.kill(int(re.fullmatch(r"na\+sm://(\d+)-0", member["address"])[1]), signal.SIGKILL)
    job.wait()


@mpi_only
def test_each_of_several_servers_brings_its_own_back(servers, workdir, configuration):
    job = start_ranks(servers, workdir, 3, configuration)
    wait_until_running(job, 3)
    create("wide", 6, *STORED)
    run(peer("produce", "wide", 6000, 10, 100))

    def layout():
        documents = json.loads(run(["bedrock-query", "na+sm", "-f", GROUP_FILE]).stdout)
        return {d["bedrock"]["name"]: sorted((p["config"]["uuid"], p["provider_id"]) for p in d["providers"]
                                             if p["type"] == "mofka") for d in documents.values()}

    before = layout()
    assert sorted(before) == ["0", "1", "2"] and all(len(partitions) == 2 for partitions in before.values())
    for life in range(2):
        end_ranks(workdir, job)
        job = start_ranks(servers, workdir, 3, configuration)
        wait_until_running(job, 3)
        assert job.output().count("2 partitions are back, 0 are not") == 3
        assert layout() == before
        assert "got 6000\n" in run(peer("consume", "wide", f"all{life}", 6000, "all")).stdout
    run(["bedrock-shutdown", "na+sm", "-f", GROUP_FILE])
    assert job.wait() == 0, job.output()


@mpi_only
def test_two_servers_of_one_name_are_refused(servers, workdir, configuration):
    job = start_ranks(servers, workdir, 2, configuration, {"DANGO_SERVER_NAME": "same"})
    assert job.wait() != 0
    assert re.search(r'this server is called "same", as is the one at na\+sm://\d+-0: give each server a name',
                     job.output())


ROUNDS = int(os.environ.get("DANGO_KILL_ROUNDS", "8"))


def create_in_background(servers, name, partitions, round_):
    return servers.start(["diaspora-ctl", "topic", "create", "--name", name, "--topic.num_partitions", partitions,
                          *STORED], f"creator{round_}", env=CONTROL)


def assert_usable(name, partitions):
    listed = ctl("topic", "list", "-v").stdout
    described = json.loads(next(line for line in listed.splitlines() if line.startswith(f"{name} ")).split(" ", 1)[1])
    assert described["num_partitions"] == partitions
    run(peer("produce", name, 100, 10, 0))
    assert "got 100\n" in run(peer("consume", name, "c", 100, "all")).stdout


def test_a_creator_that_is_killed_is_no_obstacle(servers, configuration):
    """At any moment: either the topic is there, or creating it again works at once, and no provider is left over."""
    service = servers.bedrock(configuration)
    for round_ in range(ROUNDS):
        name = f"topic{round_}"
        creator = create_in_background(servers, name, 12, round_)
        time.sleep(random.uniform(0, 0.1) * SLOWNESS)
        creator.kill()
        again = ctl("topic", "create", "--name", name, "--topic.num_partitions", 3, *STORED, check=False)
        assert again.returncode == 0 or "exists already" in again.stderr, again.stderr
        partitions = 3 if again.returncode == 0 else 12
        assert_usable(name, partitions)
        here = [topic for topic, _, _ in partitions_of(service).values()]
        assert here.count(name) == partitions


def test_a_server_that_is_killed_during_a_creation_is_no_obstacle(servers, configuration):
    service = servers.bedrock(configuration)
    for round_ in range(ROUNDS):
        name = f"topic{round_}"
        creator = create_in_background(servers, name, 12, round_)
        time.sleep(random.uniform(0, 0.1) * SLOWNESS)
        service.kill()
        creator.wait()
        service = servers.bedrock(configuration)
        again = ctl("topic", "create", "--name", name, "--topic.num_partitions", 3, *STORED, check=False)
        assert again.returncode == 0 or "exists already" in again.stderr, again.stderr
        assert_usable(name, 3 if again.returncode == 0 else 12)


def test_a_server_that_is_killed_while_it_starts_comes_back_all_the_same(servers, configuration):
    service = servers.bedrock(configuration)
    create("wide", 8, *STORED)
    run(peer("produce", "wide", 800, 10, 0))
    before = partitions_of(service)
    service.kill()
    for round_ in range(ROUNDS):
        service = servers.bedrock(configuration, wait=False)
        time.sleep(random.uniform(0, 0.15) * SLOWNESS)
        service.kill()
    service = servers.bedrock(configuration)
    assert partitions_of(service) == before
    assert "got 800\n" in run(peer("consume", "wide", "c", 800, "all")).stdout


@mpi_only
def test_what_a_partition_uses_on_another_server_is_found_again(servers, workdir, configuration):
    """Both partitions of the topic keep their events in the stores of rank 1, whose address changes."""
    (workdir / "store").mkdir()
    only_there = {"__if__": "$MPI_COMM_WORLD.rank == 1"}
    configuration["providers"] += [
        {**only_there, "name": "metadata", "type": "yokan", "tags": ["mofka:metadata"], "provider_id": 5,
         "config": {"database": {"type": TYPES[0], "config": {"path": "store/meta", "create_if_missing": True}}}},
        {**only_there, "name": "data", "type": "warabi", "tags": ["mofka:data"], "provider_id": 6,
         "config": {"target": {"type": "abtio", "config": {"path": "store/data", "create_if_missing": True}}},
         "dependencies": {"abt_io": "io_controller"}},
    ]
    job = start_ranks(servers, workdir, 2, configuration)
    wait_until_running(job, 2)
    create("old", 2, "--topic.config.type", "legacy")
    run(peer("produce", "old", 1000, 10, 100))
    for life in range(2):
        end_ranks(workdir, job)
        job = start_ranks(servers, workdir, 2, configuration)
        wait_until_running(job, 2)
        wait_until(lambda: job.output().count("1 partitions are back, 0 are not") == 2, "both partitions")
        assert "got 1000\n" in run(peer("consume", "old", f"c{life}", 1000, "all")).stdout
