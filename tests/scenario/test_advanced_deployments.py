"""The chapter "Advanced deployments" of the user guide, from "Making the master database persistent" to "Full configuration":
what the reader is told to type, in the guide's order. Commands, paths and pieces of configuration stand here as they are
printed there; where the guide creates the same topic again, the reader has begun with a fresh service.

The guide's path is /tmp/mofka. It is a tmpfs in a mount namespace of this test's processes: nobody else sees it, and what
lies there on this machine is neither seen nor touched.
"""

import ctypes
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from launchers import daemons, mpirun, needs_mpi, wait_until_running
from mofka import FIRST_CONFIGURATION, FULL_CONFIGURATION
from support import BUILD, RUNNING, SLOWNESS, run, wait_until

pytestmark = pytest.mark.skipif(not (BUILD / "lib/libdango-yokan-rocksdb.so").exists(), reason="RocksDB was not built")

STORE = Path("/tmp/mofka")
START_S = 30 * SLOWNESS
CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x4000, 0x40000, 2

# ---- what is printed --------------------------------------------------------------------------------------------------

DATABASE = """"database" : {
    "type": "rocksdb",
    "config": {
        "create_if_missing": true,
        "path": "/tmp/mofka/master"
    }
}"""

START = "bedrock na+sm -c config.json -v trace"

EXPORT = 'export DIASPORA_CTL_DRIVER_OPTIONS="--driver mofka --driver.group_file /path/to/mofka.json"'

CREATE_IN_MEMORY = "diaspora-ctl topic create --name my_topic --topic.num_partitions 1"

CREATE_IN_MEMORY_IN_FULL = r"""diaspora-ctl topic create --name my_topic \
     --topic.num_partitions 1 \
     --topic.config.type memory \
     --topic.dependencies.pool __primary__"""

CREATE_STORED = r"""diaspora-ctl topic create --name my_topic \
     --topic.config.type default \
     --topic.num_partitions 1 \
     --topic.config.partition.path /tmp/mofka"""

CREATE_STORED_IN_FULL = r"""diaspora-ctl topic create --name my_topic \
     --topic.num_partitions 1 \
     --topic.config.type default \
     --topic.config.partition.path /tmp/mofka \
     --topic.dependencies.io_controller io_controller \
     --topic.dependencies.pool __primary__"""

CREATED_IN_FULL = """{
    "config": {
        "type": "default",
        "partition": {
            "path": "/tmp/mofka"
        }
    },
    "dependencies": {
        "io_controller": "io_controller",
        "pool": "__primary__"
    }
}"""

QUERY = "bedrock-query tcp -f mofka.json -p"

# The table: field, default.
TABLE = {
    "max_chunk_size": 67108864,
    "max_events_per_chunk": 1000000,
    "sync": True,
    "fd_cache_capacity": 64,
    "producers.metadata_buffer_pool.num_tiers": 1,
    "producers.metadata_buffer_pool.num_buffers": 0,
    "producers.metadata_buffer_pool.first_size": 65536,
    "producers.metadata_buffer_pool.size_multiple": 4.0,
    "producers.data_buffer_pool.num_tiers": 1,
    "producers.data_buffer_pool.num_buffers": 0,
    "producers.data_buffer_pool.first_size": 67108864,
    "producers.data_buffer_pool.size_multiple": 4.0,
    "consumers.metadata_buffer_pool.num_tiers": 1,
    "consumers.metadata_buffer_pool.num_buffers": 0,
    "consumers.metadata_buffer_pool.first_size": 65536,
    "consumers.metadata_buffer_pool.size_multiple": 4.0,
    "consumers.desc_buffer_pool.num_tiers": 1,
    "consumers.desc_buffer_pool.num_buffers": 0,
    "consumers.desc_buffer_pool.first_size": 4096,
    "consumers.desc_buffer_pool.size_multiple": 4.0,
}

# Where the guide has dots: other values than the defaults, and a path that the command line overwrites.
TOPIC_CONFIG = """{
    "fd_cache_capacity": 64,
    "max_chunk_size": 67108864,
    "max_events_per_chunk": 1000000,
    "consumers": {
        "desc_buffer_pool": { "num_tiers": 2 }
    },
    "path": "/tmp/elsewhere"
}"""

CREATE_FROM_FILE = r"""diaspora-ctl topic create --name my_topic \
     --topic.config.type default \
     --topic.num_partitions 1 \
     --topic.config.partition.path /tmp/mofka \
     --topic-config topic-config.json"""

THREADS = """"margo": {
    "use_progress_thread": true,
    "rpc_thread_count": 4
}"""

STREAMS = """"argobots": {
    "pools": [
        { "name": "__primary__", "kind": "fifo_wait", "access": "mpmc" },
        { "name": "io_pool",     "kind": "fifo_wait", "access": "mpmc" }
    ],
    "xstreams": [
        { "name": "__primary__",
          "scheduler": { "type": "basic_wait", "pools": ["__primary__"] } },
        { "name": "io_es_0",
          "scheduler": { "type": "basic_wait", "pools": ["io_pool"] } },
        { "name": "io_es_1",
          "scheduler": { "type": "basic_wait", "pools": ["io_pool"] } }
    ]
}"""

IO_CONTROLLER = """{
    "name": "io_controller",
    "type": "abt_io",
    "provider_id": 3,
    "config": {},
    "dependencies": { "pool": "io_pool" }
}"""

IO_URING_CONTROLLER = """{
    "name": "io_uring_controller",
    "type": "abt_io",
    "provider_id": 4,
    "config": {
        "num_urings": 1,
        "liburing_flags": ["IOSQE_ASYNC"]
    },
    "dependencies": { "pool": "__primary__" }
}"""

CREATE_FAST = r"""diaspora-ctl topic create --name fast_topic \
     --topic.config.type default \
     --topic.num_partitions 1 \
     --topic.config.partition.path /tmp/mofka \
     --topic.dependencies.io_controller io_uring_controller"""

# ---- the reader's changes to config.json ------------------------------------------------------------------------------


def with_database(text):
    changed, count = re.subn(r'"database" : \{\s*"type": "map"\s*\}', DATABASE, text)
    assert count == 1
    return changed


def with_member(text, member):
    """One more at the top."""
    return text.replace("{", "{\n" + member + ",", 1)


def with_io_controllers(text):
    pattern = r'\{\s*"name" : "io_controller".*?"pool": "__primary__"\s*\}\s*\}'
    changed, count = re.subn(pattern, IO_CONTROLLER + ",\n" + IO_URING_CONTROLLER, text, flags=re.DOTALL)
    assert count == 1
    return changed


PERSISTENT = with_database(FIRST_CONFIGURATION)
MULTITHREADED = with_member(PERSISTENT, THREADS)
FAST = with_io_controllers(with_member(PERSISTENT, '"margo": {' + STREAMS + "}"))

# ---- the reader's machine ---------------------------------------------------------------------------------------------


def call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


@pytest.fixture(scope="module")
def machine():
    made = not STORE.exists()
    STORE.mkdir(exist_ok=True)  # to mount on
    try:
        call("unshare", CLONE_NEWNS)
        call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        call("mount", b"tmpfs", bytes(STORE), b"tmpfs", 0, b"size=1g")
    except OSError as error:
        if made:
            STORE.rmdir()
        pytest.skip(f"a mount namespace of one's own is not permitted here: {error}")
    yield
    call("umount2", bytes(STORE), MNT_DETACH)
    if made:
        STORE.rmdir()


def empty_store():
    assert STORE.is_mount()  # ours
    for path in STORE.iterdir():
        shutil.rmtree(path)


class Reader:
    """Somebody with a shell in the directory of config.json."""

    def __init__(self, servers, workdir):
        self.servers, self.workdir = servers, workdir
        exported = re.fullmatch(r'export (\w+)="(.*)"', EXPORT)
        self.env = {"PATH": f"{BUILD / 'bin'}:{os.environ['PATH']}",
                    exported[1]: exported[2].replace("/path/to", str(workdir))}

    def shell(self, text, **options):
        return run(["sh", "-c", text], env=self.env, **options).stdout

    def start(self, text, command=START):
        (self.workdir / "config.json").write_text(text)
        self.server = self.servers.start(["sh", "-c", f"exec {command}"], f"bedrock-{len(self.servers.started)}", self.env)
        self.server.wait_for_output(RUNNING.pattern, START_S)

    def start_afresh(self, text, command=START):
        if getattr(self, "server", None):
            self.server.stop()
        empty_store()
        (self.workdir / "mofka.json").unlink(missing_ok=True)
        self.start(text, command)

    def query(self, command=QUERY.replace("tcp", "na+sm")):
        (config,) = json.loads(self.shell(command)).values()
        return config

    def partition(self):
        """The description of the only one, and the directory that it must have if it is in files."""
        (found,) = [p for p in self.query()["providers"] if p["type"] == "mofka"]
        return found, STORE / f"my_topic-{found['config']['uuid']}"

    def produce(self, topic, first, count):
        self.shell(f"diaspora-ctl produce --topic {topic}", stdin="".join(f"{i}\n" for i in range(first, first + count)))

    def consume(self, topic, name):
        lines = self.shell(f"diaspora-ctl consume --topic {topic} --name {name}").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def reader(machine, servers, workdir):
    reader = Reader(servers, workdir)
    yield reader
    servers.end_all()
    empty_store()


def field(config, path):
    for name in path.split("."):
        config = config[name]
    return config


def assert_contains(config, expected):
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_contains(config[name], value)
        else:
            assert config[name] == value


# ---- the chapter ------------------------------------------------------------------------------------------------------


def test_the_chapter(reader, workdir):
    # Making the master database persistent
    reader.start(PERSISTENT)
    assert (STORE / "master" / "CURRENT").is_file()

    # Creating persistent partitions
    reader.shell(CREATE_IN_MEMORY)
    assert reader.partition()[0]["config"]["type"] == "memory"
    reader.start_afresh(PERSISTENT)
    reader.shell(CREATE_IN_MEMORY_IN_FULL)
    found, _ = reader.partition()
    assert found["config"]["type"] == "memory" and found["dependencies"]["pool"] == "__primary__"
    reader.start_afresh(PERSISTENT)
    reader.shell(CREATE_STORED)
    assert reader.partition()[1].is_dir()
    reader.start_afresh(PERSISTENT)
    reader.shell(CREATE_STORED_IN_FULL)
    found, directory = reader.partition()
    assert directory.is_dir()
    assert_contains(found, json.loads(CREATED_IN_FULL))
    reader.produce("my_topic", 0, 1000)
    assert reader.consume("my_topic", "once") == list(range(1000))

    # More configuration
    reader.start_afresh(PERSISTENT, START.replace("na+sm", "tcp"))
    reader.shell(CREATE_STORED)
    (found,) = [p for p in reader.query(QUERY)["providers"] if p["type"] == "mofka"]
    partition = found["config"]["partition"]
    assert {name: field(partition, name) for name in TABLE} == TABLE and partition["path"] == "/tmp/mofka"
    reader.start_afresh(PERSISTENT)
    (workdir / "topic-config.json").write_text(TOPIC_CONFIG)
    reader.shell(CREATE_FROM_FILE)
    found, directory = reader.partition()
    assert directory.is_dir() and found["config"]["partition"]["path"] == "/tmp/mofka"
    assert field(found, "config.partition.consumers.desc_buffer_pool.num_tiers") == 2

    # Setting up multithreading: after a restart, with the same topic
    reader.produce("my_topic", 0, 1000)
    reader.server.stop()
    reader.start(MULTITHREADED)
    argobots = reader.query()["margo"]["argobots"]
    assert {"__primary__", "__rpc__", "__progress__"} <= {pool["name"] for pool in argobots["pools"]}
    assert {"__primary__", "__progress_0__", *(f"__rpc_{i}__" for i in range(4))} == {
        stream["name"] for stream in argobots["xstreams"]}
    assert reader.consume("my_topic", "once") == list(range(1000))

    # Improving I/O performance
    reader.server.stop()
    reader.start(FAST)
    reader.shell(CREATE_FAST)
    providers = {p["name"]: p for p in reader.query()["providers"]}
    fast = next(p for name, p in providers.items() if name.startswith("fast_topic"))
    assert fast["dependencies"]["io_controller"] == "io_uring_controller"
    assert providers["io_controller"]["dependencies"]["pool"] == "io_pool"
    assert providers["io_uring_controller"]["config"]["num_urings"] == 1
    for topic, there in (("my_topic", 1000), ("fast_topic", 0)):
        reader.produce(topic, there, 1000)
        assert reader.consume(topic, "once") == list(range(there, there + 1000))

    # The promise of it all
    reader.server.kill()
    reader.start(FAST)
    for topic, there in (("my_topic", 2000), ("fast_topic", 1000)):
        assert reader.consume(topic, "once") == []
        assert reader.consume(topic, "another") == list(range(there))
        reader.produce(topic, there, 10)
        assert reader.consume(topic, "once") == list(range(there, there + 10))


@pytest.mark.skipif(any(mark.args[0] for mark in needs_mpi), reason="no mpirun, or the MPI plug-in was not built")
def test_the_full_configuration(reader, workdir):
    """On two servers, killed and started again."""
    (workdir / "config.json").write_text(FULL_CONFIGURATION)
    for first in (0, 1000):
        job = mpirun(reader.servers, 2, "na+sm", "config.json")
        wait_until_running(job, 2)
        if first == 0:
            reader.shell(CREATE_FAST.replace("num_partitions 1", "num_partitions 2"))
            reader.shell(CREATE_STORED)
        for topic in ("my_topic", "fast_topic"):
            reader.produce(topic, first, 1000)
            assert sorted(reader.consume(topic, "once")) == list(range(first, first + 1000))
            assert sorted(reader.consume(topic, f"another-{first}")) == list(range(first + 1000))
        for pid in list(daemons(workdir)):
            os.kill(pid, 9)
        assert job.wait() != 0
        wait_until(lambda: not list(daemons(workdir)), "all daemons are gone")
    assert len(list(STORE.glob("fast_topic-*"))) == 2
