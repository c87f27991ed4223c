"""mofka-log beside a running server, and on partitions that were damaged."""

import json
import re

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE, peer, wait_for_count
from support import SLOWNESS, run

START_S = 20 * SLOWNESS


def mofka_log(*words, status=0):
    result = run(["mofka-log", *words], check=False)
    assert result.returncode == status, f"{words}: {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


def create(name):
    run(["diaspora-ctl", "topic", "create", "--driver", "mofka", "--driver.group_file", GROUP_FILE, "--name", name,
         "--topic.num_partitions", 1, "--topic.config.type", "default", "--topic.config.partition.path", "files",
         "--topic.config.partition.max_chunk_size", 50_000])


def directory_of(workdir, name):
    (directory,) = (workdir / "files").glob(f"{name}-*")
    return directory


@pytest.fixture
def service(servers):
    return servers.bedrock(FIRST_CONFIGURATION)


@pytest.fixture
def partition(service, workdir):
    """1000 events with 100 bytes of data in batches of 10; no server any more."""
    create("shots")
    run(peer("produce", "shots", 1000, 10, 100))
    run(peer("consume", "shots", "viewer", 250, "none"))
    service.stop()
    return directory_of(workdir, "shots")


def test_beside_a_server_that_writes(service, servers, workdir):
    create("busy")
    directory = directory_of(workdir, "busy")
    producer = servers.start(peer("produce", "busy", 0, 16, 200), "producer")
    wait_for_count(producer, "stored", 100, START_S)
    seen = 0
    for _ in range(10):
        output = mofka_log("verify", directory).stdout
        assert "damage" not in output and output.endswith("sound\n")
        document = json.loads(mofka_log("stat", directory, "--json").stdout)
        assert document["open_by"] == service.pid
        assert document["events"] >= seen
        seen = document["events"]
    assert seen > 0
    last = json.loads(mofka_log("dump", "--json", "--from", seen - 1, "--count", 1, directory).stdout)
    assert last["id"] == seen - 1
    producer.kill()
    assert service.running()
    service.stop()


def test_what_stat_tells(partition):
    document = json.loads(mofka_log("stat", "--json", partition.parent).stdout)
    assert document["topic"] == "shots"
    assert partition.name == f"shots-{document['uuid']}"
    assert document["format"] == 1 and document["open_by"] is None
    assert document["chunks"] > 1 and document["frames"] == 100
    assert document["events"] == 1000 and document["data_bytes"] == 100_000
    assert document["log_bytes"] == sum(chunk.stat().st_size for chunk in partition.glob("chunk-*.log"))
    assert document["overhead_bytes"] == document["log_bytes"] - document["data_bytes"] - document["metadata_bytes"]
    assert document["first"]["id"] == 0 and document["last"]["id"] == 999
    assert document["first"]["time"] < document["last"]["time"]
    assert document["positions"] == [{"consumer": "viewer", "next_id": 250}]
    text = mofka_log("stat", partition).stdout
    assert "  events     1000\n" in text and "viewer: next is event 250\n" in text


def test_what_dump_shows(partition):
    lines = mofka_log("dump", partition).stdout.splitlines()
    assert len(lines) == 1000
    fields = lines[123].split("\t")
    assert fields[0] == "123" and fields[3] == "100"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", fields[1])
    lines = mofka_log("dump", partition, "--from", 995, "--data").stdout.splitlines()
    assert len(lines) == 5 * (1 + 7)
    documents = [json.loads(line) for line in
                 mofka_log("dump", partition, "--from=500", "--count=7", "--json", "--data").stdout.splitlines()]
    assert [document["id"] for document in documents] == list(range(500, 507))
    assert all(len(bytes.fromhex(document["data_hex"])) == 100 for document in documents)
    assert all("metadata" in document for document in documents)


def test_damage_is_placed_and_changes_nothing(partition):
    chunk = partition / "chunk-000001.log"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    before = {path.name: path.read_bytes() for path in partition.iterdir()}

    output = mofka_log("verify", partition, status=1).stdout
    found = re.search(rf"damage: {partition}/chunk-000001.log: offset (\d+), \d+ bytes: events (\d+) to (\d+): ", output)
    assert found and int(found[3]) - int(found[2]) == 9, output
    assert "damaged in 1 places" in output
    lines = mofka_log("dump", partition, status=1).stdout.splitlines()
    assert len(lines) == 991
    (damage,) = [i for i, line in enumerate(lines) if line.startswith("# damage: ")]
    assert lines[damage - 1].split("\t")[0] == str(int(found[2]) - 1)
    assert lines[damage + 1].split("\t")[0] == str(int(found[3]) + 1)
    (finding,) = [document["finding"] for document in
                  map(json.loads, mofka_log("dump", partition, "--json", status=1).stdout.splitlines())
                  if "finding" in document]
    assert (finding["offset"], finding["events"]) == (int(found[1]), 10)
    assert before == {path.name: path.read_bytes() for path in partition.iterdir()}


def test_a_log_that_was_cut_off(partition):
    chunk = max(partition.glob("chunk-*.log"))
    content = chunk.read_bytes()
    for size in range(0, len(content), 97):
        chunk.write_bytes(content[:size])
        status = run(["mofka-log", "verify", partition], check=False).returncode
        assert status in (0, 1)
    chunk.unlink()
    assert "sound" in mofka_log("verify", partition).stdout  # the viewer's position is before its first event


@pytest.mark.parametrize("words, text", [
    (["verify"], "DIR... is required"),
    (["verfy", "x"], 'did you mean "verify"?'),
    (["verify", "x", "--jason"], "unknown option --jason"),
    (["stat", "nowhere"], "nowhere: cannot open"),
    (["stat", "."], "neither a partition"),
    (["verify", "file"], "file: cannot open"),
    (["dump", ".", "--count", "0"], "--count: expected a number from 1 on"),
])
def test_wrong_usage(workdir, words, text):
    (workdir / "file").write_text("text")
    assert text in mofka_log(*words, status=2).stderr


def test_foreign_and_newer_directories(partition):
    identity = partition / "partition.json"
    good = json.loads(identity.read_text())
    identity.write_text(json.dumps({**good, "format": 2}))
    assert "newer than this program's" in mofka_log("verify", partition, status=2).stderr
    identity.write_text("nonsense")
    output = mofka_log("verify", partition, status=1).stdout
    assert f'the directory needs {{"format":1,"topic":"shots","uuid":"{good["uuid"]}"}}' in output
    identity.write_text(json.dumps({**good, "uuid": "00000000-0000-0000-0000-000000000001"}))
    assert "belongs to another partition" in mofka_log("verify", partition, status=1).stdout
    assert "--from: expected the id" in mofka_log("dump", partition, "--from", "x", status=2).stderr
    identity.write_text(json.dumps(good))
    assert "the log ends before event 1000" in mofka_log("dump", partition, "--from", "5000", status=2).stderr


def test_help():
    assert "verify" in mofka_log("--help").stdout
    for command in ("verify", "dump", "stat"):
        assert "--help" in mofka_log(command, "--help").stdout
