"""Partitions on media that are full, read-only or damaged: clear messages, nothing acknowledged is lost, and it goes on when
the medium does.

The file systems are real ones (tmpfs, ext4 in a file), mounted in a mount namespace of the test process; skipped where that
is not permitted.
"""

import ctypes
import json
import os
import re
import shutil
import subprocess

import pytest

from mofka import CREATE_STORED, FIRST_CONFIGURATION, PARTITION, count_of, list_numbers, peer
from support import SLOWNESS, run

CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
SIZE_MIB = 8
BATCH, DATA = 20, 5000


@pytest.fixture(scope="session")
def mounts():
    """This process and its children have mounts of their own from here on, which end with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        pytest.skip(f"mounting is not permitted here: {os.strerror(ctypes.get_errno())}")


def mount(*words):
    result = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
    if result.returncode != 0:
        pytest.skip(f"mount {' '.join(map(str, words))}: {result.stderr}")


@pytest.fixture(params=["tmpfs", "ext4"])
def small(request, mounts, workdir, servers):
    """A small file system at files/. Servers end before it is unmounted."""
    files = workdir / "files"
    files.mkdir()
    if request.param == "tmpfs":
        mount("-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", files)
    else:
        if not shutil.which("mkfs.ext4"):
            pytest.skip("no mkfs.ext4")
        run(["truncate", "-s", f"{SIZE_MIB}M", workdir / "image"])
        run(["mkfs.ext4", "-q", "-O", "^has_journal", workdir / "image"])
        mount("-o", "loop", workdir / "image", files)
    yield files
    servers.end_all()
    subprocess.run(["umount", str(files)], check=True)


def numbers_there(name):
    return list_numbers("t", name)


def fill(servers, name, first):
    """Produces until the medium is full; how many events were acknowledged."""
    producer = servers.start(peer("produce", "t", 0, BATCH, DATA, first), name)
    assert producer.wait(60 * SLOWNESS) == 1
    error = producer.output().splitlines()[-1]
    assert re.search(r"files/t-.*No space left on device; make room on its file system and try again", error), error
    return count_of(producer, "stored")


@pytest.mark.parametrize("controller", ["io_controller", "ring_controller"])
def test_a_full_medium(servers, small, controller):
    ballast = small / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    config = json.loads(FIRST_CONFIGURATION)
    config["providers"].append({"name": "ring_controller", "type": "abt_io", "provider_id": 4,
                                "config": {"num_urings": 1}, "dependencies": {"pool": "__primary__"}})
    server = servers.bedrock(config)
    create = [*CREATE_STORED, "--topic.config.partition.max_chunk_size", 1_000_000,
              "--topic.dependencies.io_controller", controller]
    run(create)
    stored = fill(servers, "first", 0)
    assert stored > 500
    # What is acknowledged can be read; nothing else is there, or only whole batches behind it.
    assert numbers_there("a") == list(range(stored))
    more = fill(servers, "second", stored)
    stored += more
    while (count := fill(servers, f"small{stored}", stored)) > 0:  # a smaller rest may have fitted
        stored += count

    # Positions cannot be saved, or fit into what is left of a block; consumers are told which.
    result = run(peer("consume", "t", "reader", stored, "all"), check=False)
    assert result.returncode == 0 or "cannot save the positions of consumers: No space left" in result.stdout

    ballast.unlink()
    run(peer("produce", "t", 2 * BATCH, BATCH, DATA, stored))
    stored += 2 * BATCH
    run(peer("consume", "t", "other", stored, "all"))
    assert numbers_there("b") == list(range(stored))
    server.kill()

    servers.bedrock(config)
    run(create)
    assert numbers_there("c") == list(range(stored))
    assert run(peer("extent", "t", "other")).stdout == f"extent {stored} {stored}\n"


def test_a_medium_without_any_room(servers, small):
    servers.bedrock(FIRST_CONFIGURATION)
    try:
        (small / "ballast").write_bytes(bytes(2 * SIZE_MIB << 20))
    except OSError:
        pass
    result = run(CREATE_STORED, check=False)
    if result.returncode != 0:  # ext4 keeps some for root
        assert re.search("files.*No space left on device; make room", result.stderr), result.stderr
        (small / "ballast").unlink()
        run(CREATE_STORED)
    run(peer("produce", "t", BATCH, BATCH, 10))
    assert numbers_there("a") == list(range(BATCH))


def test_a_read_only_medium(servers, small):
    server = servers.bedrock(FIRST_CONFIGURATION)
    run(CREATE_STORED)
    run(peer("produce", "t", BATCH, BATCH, 10))
    server.stop()
    mount("-o", "remount,ro", small)
    servers.bedrock(FIRST_CONFIGURATION)
    for words in (CREATE_STORED, [word if word != "files" else "files/deeper" for word in CREATE_STORED]):
        result = run(words, check=False)
        assert result.returncode != 0
        assert re.search("files/.*Read-only file system; .*mount it for writing, or choose another path",
                         result.stderr), result.stderr
    mount("-o", "remount,rw", small)
    run(CREATE_STORED)
    assert numbers_there("a") == list(range(BATCH))


@pytest.fixture
def closed(servers, workdir):
    """A partition of several chunks that nobody has open; and a server."""
    server = servers.bedrock(FIRST_CONFIGURATION)
    run(CREATE_STORED)
    run(peer("produce", "t", 200, BATCH, 100))
    assert "got 150\n" in run(peer("consume", "t", "reader", 150, "all")).stdout
    server.stop()
    servers.bedrock(FIRST_CONFIGURATION)
    return workdir / PARTITION


def test_indices_are_made_again(servers, closed):
    indices = sorted(closed.glob("*.idx"))
    assert len(indices) >= 3
    indices[0].unlink()
    indices[1].write_bytes(b"garbage")
    indices[2].write_bytes(indices[2].read_bytes()[:-1])
    run(CREATE_STORED)
    assert numbers_there("a") == list(range(200))
    assert servers.started[-1].output().count("its index is missing or damaged: made again") >= 3
    assert indices[0].stat().st_size >= 64


DAMAGES = [
    (lambda d: (d / "partition.json").write_text("\x00\x01"), 'put the file back: {"format": 1, "topic": "t", "uuid": "'),
    (lambda d: (d / "partition.json").unlink(), "partition.json is missing, but there are chunks; .*put the file back"),
    (lambda d: (d / "chunk-000001.log").unlink(), "chunk-000001.log is missing: put it back, or move"),
    (lambda d: [path.unlink() for path in d.glob("chunk-*")], "all chunks are missing: put them back, or move"),
    (lambda d: [path.unlink() for path in d.glob("c[hu]*")], "all chunks are missing: put them back, or move"),
    (lambda d: (d / "chunk-000000.log").write_bytes(b"foreign" * 100), "not a chunk of a partition: put it back"),
    (lambda d: os.truncate(d / "chunk-000000.log", 10), "shorter than its header: put it back"),
    (lambda d: (d / "cursors").write_bytes(b"garbage"), "cursors: shorter than its header; move it away to start all"),
    (lambda d: (d / "cursors").write_bytes(b"garbage" * 100), "cursors: damaged, .*; move it away to start all"),
]


@pytest.mark.parametrize("damage, text", DAMAGES)
def test_damaged_directories_are_refused_untouched(closed, damage, text):
    damage(closed)
    before = {path.name: path.read_bytes() for path in closed.iterdir()}
    for _ in range(2):
        result = run(CREATE_STORED, check=False)
        assert result.returncode != 0
        assert re.search(rf"config.partition.path: .*{PARTITION}.*{text}", result.stderr), result.stderr
    assert {path.name: path.read_bytes() for path in closed.iterdir()} == before
