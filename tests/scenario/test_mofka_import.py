"""Topics taken up from the directories of their partitions, after the (volatile) master database has forgotten them."""

import json
import shutil

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE, peer
from support import run

CONTROL = {"DIASPORA_CTL_DRIVER_OPTIONS": f"--driver mofka --driver.group_file {GROUP_FILE}"}
STORED = ["--topic.config.type", "default", "--topic.config.partition.path", "files"]


def ctl(*words, check=True):
    return run(["diaspora-ctl", *words], env=CONTROL, check=check)


def create(name, partitions, *words, check=True):
    return ctl("topic", "create", "--name", name, "--topic.num_partitions", partitions, *STORED, *words, check=check)


def import_topic(name, check=True):
    return ctl("topic", "import", name, *STORED, check=check)


def refused(result, *texts):
    assert result.returncode != 0
    for text in texts:
        assert text in result.stderr, result.stderr


def partitions_of(service):
    document = json.loads(run(["bedrock-query", "na+sm", "-f", GROUP_FILE]).stdout)[service.address]
    return {p["config"]["uuid"]: p for p in document["providers"] if p["type"] == "mofka"}


@pytest.fixture
def service(servers):
    return servers.bedrock(FIRST_CONFIGURATION)


@pytest.fixture
def forgotten(servers, service):
    """A topic with three partitions of different sizes, of which a new server knows nothing."""
    create("topic", 3)
    for _ in range(3):
        run(peer("produce", "topic", 2000, 100, 50))
    run(peer("produce", "topic", 250, 100, 50))
    assert "got 1000\n" in run(peer("consume", "topic", "half", 1000, "all")).stdout
    before = set(partitions_of(service))
    described = ctl("topic", "list", "-v").stdout
    service.kill()
    return before, described, servers.bedrock(FIRST_CONFIGURATION)


def test_a_forgotten_topic_is_imported(forgotten):
    before, described, service = forgotten
    assert ctl("topic", "list").stdout == ""
    # Whoever begins it anew is told.
    refused(create("topic", 3, check=False), "files: holds 3 partitions of topic \"topic\" with events already",
            "diaspora-ctl topic import --name topic --topic.config.type default --topic.config.partition.path files")
    assert ctl("topic", "list").stdout == "" and partitions_of(service) == {}
    import_topic("topic")
    assert set(partitions_of(service)) == before
    assert ctl("topic", "list", "-v").stdout == described
    assert "got 6250\n" in run(peer("consume", "topic", "all", 6250, "all")).stdout
    assert "got 5250\n" in run(peer("consume", "topic", "half", 5250, "all")).stdout
    run(peer("produce", "topic", 100, 10, 0))
    refused(import_topic("topic", check=False), 'topic "topic" exists already')


def test_the_order_of_partitions_is_kept(servers, service):
    create("ordered", 4)
    before = [p["uuid"] for p in described_partitions("ordered")]
    service.kill()
    servers.bedrock(FIRST_CONFIGURATION)
    import_topic("ordered")
    assert [p["uuid"] for p in described_partitions("ordered")] == before


def described_partitions(topic):
    """In the order of the topic."""
    return [json.loads(line) for line in run(peer("partitions", topic)).stdout.splitlines()]


def directory_of(workdir, uuid):
    return workdir / "files" / f"topic-{uuid}"


def indexed(workdir, before):
    """The directories of the topic by index."""
    origins = {json.loads((directory_of(workdir, u) / "partition.json").read_text())["origin"]["index"]: u
               for u in before}
    return [directory_of(workdir, origins[i]) for i in range(len(before))]


@pytest.mark.parametrize("which, text", [(1, "partition 1 of topic"), (2, "2 of the 3 partitions of topic")])
def test_a_missing_partition_is_named(workdir, forgotten, which, text):
    before, _, service = forgotten
    indexed(workdir, before)[which].rename(workdir / "away")
    refused(import_topic("topic", check=False), 'topic "topic" was not imported', text)
    assert partitions_of(service) == {} and ctl("topic", "list").stdout == ""


@pytest.mark.parametrize("damage, text", [
    (lambda d: (d / "partition.json").write_text("{"), "partition.json"),
    (lambda d: (d / "partition.json").write_text('{"format": 9, "topic": "topic", "uuid": "%s"}' % str(d)[-36:]),
     "newer than this program"),
    (lambda d: (d / "chunk-000000.log").write_bytes(b"x" * 200), "chunk-000000.log"),
])
def test_damage_and_foreign_formats_are_refused(workdir, forgotten, damage, text):
    before, _, service = forgotten
    directory = indexed(workdir, before)[1]
    damage(directory)
    refused(import_topic("topic", check=False), str(directory.name), text)
    assert partitions_of(service) == {}


def test_what_another_server_has_open_is_refused(servers, forgotten):
    import_topic("topic")
    servers.bedrock(FIRST_CONFIGURATION.replace(GROUP_FILE, "second.json"))
    result = run(["diaspora-ctl", "topic", "import", "topic", "--driver", "mofka", "--driver.group_file", "second.json",
                  *STORED], check=False)
    refused(result, "has this partition open")


def test_two_partitions_of_one_index_are_refused(workdir, forgotten):
    before, _, _ = forgotten
    directory = indexed(workdir, before)[0]
    other = "00000000-1111-2222-3333-444444444444"
    copy = directory_of(workdir, other)
    shutil.copytree(directory, copy)
    (copy / "partition.json").write_text((directory / "partition.json").read_text().replace(directory.name[-36:], other))
    refused(import_topic("topic", check=False), other)
    shutil.rmtree(copy)
    import_topic("topic")


def test_what_a_failed_creation_has_left_is_passed_over(workdir, forgotten):
    before, _, service = forgotten
    directory = indexed(workdir, before)[2]
    other = "00000000-1111-2222-3333-444444444444"
    copy = directory_of(workdir, other)
    copy.mkdir()
    (copy / "partition.json").write_text((directory / "partition.json").read_text().replace(directory.name[-36:], other))
    import_topic("topic")
    assert set(partitions_of(service)) == before


def test_directories_of_older_servers_have_no_index(workdir, forgotten):
    before, _, service = forgotten
    for directory in indexed(workdir, before):
        identity = json.loads((directory / "partition.json").read_text())
        del identity["origin"]
        (directory / "partition.json").write_text(json.dumps(identity))
    import_topic("topic")
    assert set(partitions_of(service)) == before
    assert "got 6250\n" in run(peer("consume", "topic", "all", 6250, "all")).stdout


def test_what_cannot_be_imported(service):
    refused(import_topic("nothing", check=False), 'no server sees a partition of topic "nothing"')
    refused(ctl("topic", "import", "--name", "a", "b", *STORED, check=False), "2 names are given")
    refused(ctl("topic", "import", *STORED, check=False), "which topic?")
    refused(ctl("topic", "import", "a", "--topic.config.type", "memory", check=False), "no directory")
    refused(ctl("topic", "import", "a", "--topic.config.type", "default", check=False), "path")
    result = run(["diaspora-ctl", "topic", "import", "a", "--driver", "files", "--driver.root_path", "x"], check=False)
    assert result.returncode != 0
