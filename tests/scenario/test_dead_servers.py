"""The group file names a server that is dead: clients work with the others, and are told which one is missing. A server
that hangs is named soon, and waited for."""

import re
import signal

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE, two_servers, write_group_file
from support import PROTOCOL, SLOWNESS, run

TOLD_S = 10 * SLOWNESS
DRIVER = ["--driver", "mofka", "--driver.group_file", GROUP_FILE]


def ctl(*words, check=True, **options):
    return run(["diaspora-ctl", *words, *DRIVER], check=check, **options)


def create(name, partitions, **options):
    return ctl("topic", "create", "--name", name, "--topic.num_partitions", partitions, "--topic.config.type", "default",
               "--topic.config.partition.path", "files", **options)


@pytest.fixture
def half(servers, workdir):
    """(living, dead): topic "one" has its partition in the living one, "both" has one in each."""
    first, second = two_servers(servers, workdir)
    create("one", 1)
    create("both", 2)
    ctl("produce", "--topic", "both", stdin="1\n2\n")
    second.kill()
    return first, second


@pytest.mark.parametrize("dead_first", [False, True])
def test_what_the_others_have_works(half, workdir, dead_first):
    living, dead = half
    write_group_file(workdir, *((dead, living) if dead_first else half))
    result = ctl("topic", "list")
    assert sorted(result.stdout.split()) == ["both", "one"]
    # Those behind the master database are not asked.
    assert (dead.address in result.stderr) == dead_first
    assert ("; looking on without it" in result.stderr) == dead_first
    ctl("produce", "--topic", "one", stdin="1\n2\n3\n")
    assert ctl("consume", "--topic", "one").stdout.split() == ["1", "2", "3"]
    refused = ctl("produce", "--topic", "both", stdin="1\n", check=False)
    assert refused.returncode == 1 and dead.address in refused.stderr


def test_topics_are_created_where_the_dead_one_has_no_partition(half, workdir):
    living, dead = half
    assert 'topic "first" created' in create("first", 1).stderr
    refused = create("three", 3, check=False)
    assert refused.returncode == 1
    assert f"server 2 of 2, which would get a partition: no reply from {dead.address}" in refused.stderr
    assert "three" not in ctl("topic", "list").stdout
    # Nothing of it is in the way later.
    write_group_file(workdir, living)
    create("three", 3)


def test_a_topic_with_a_dead_server_is_deleted(half, workdir):
    result = ctl("topic", "delete", "--name", "both")
    assert "its files, if any, stay in files/both-" in result.stderr
    assert ctl("topic", "list").stdout.split() == ["one"]
    assert len([path for path in (workdir / "files").iterdir() if path.name.startswith("both-")]) == 1


def test_without_the_master_database_nothing_works(half):
    living, dead = half
    living.kill()
    refused = ctl("topic", "list", check=False)
    assert refused.returncode == 1
    assert living.address in refused.stderr and GROUP_FILE in refused.stderr


def named_while_it_hangs(servers, server, commands):
    """Starts commands while a server hangs; when all of them have told so, it goes on. All must succeed then."""
    server.signal(signal.SIGSTOP)
    processes = [servers.start(command) for command in commands]
    for process in processes:
        process.wait_for_output(f"no answer from {re.escape(server.address)} .*it hangs, is stopped, or is busy", TOLD_S)
    server.signal(signal.SIGCONT)
    for process in processes:
        assert process.wait() == 0, process.output()


def test_the_only_server_hangs_for_a_while(servers, workdir):
    server = servers.bedrock(FIRST_CONFIGURATION)
    create("t", 1)
    named_while_it_hangs(servers, server, [
        ["diaspora-ctl", "topic", "list", *DRIVER],
        ["bedrock-query", PROTOCOL, "-f", GROUP_FILE],
    ])
    named_while_it_hangs(servers, server, [["bedrock-shutdown", PROTOCOL, "-f", GROUP_FILE, "--timeout", "60"]])
    assert server.wait() == 0


@pytest.mark.parametrize("action", ["positions", "complete", "delete"])
def test_a_server_with_a_partition_hangs_for_a_while(servers, workdir, action):
    _, second = two_servers(servers, workdir)
    create("t", 2)
    named_while_it_hangs(servers, second, [
        ["bedrock-query", PROTOCOL, "-f", GROUP_FILE],
        ["diaspora-ctl", "topic", action, "--name", "t", *DRIVER],
    ])
