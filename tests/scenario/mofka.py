"""What the scenarios of the streaming service share: the first and the full configuration of the user guide, and peers.

Peers are tests/mofka/peer.c: processes over the public API that say what they do on standard output.
"""

import json
import os
import re
from pathlib import Path

from support import run, wait_until

# As in the user guide, word for word: all five libraries, flock, yokan, abt_io.
FIRST_CONFIGURATION = """
{
    "libraries": [
        "libflock-bedrock-module.so",
        "libyokan-bedrock-module.so",
        "libwarabi-bedrock-module.so",
        "libabt-io-bedrock-module.so",
        "libmofka-bedrock-module.so"
    ],
    "providers": [
        {
            "name" : "group_manager",
            "type" : "flock",
            "provider_id" : 1,
            "config": {
                "bootstrap": "self",
                "file": "mofka.json",
                "group": {
                    "type": "static"
                }
            }
        },
        {
            "name": "master_database",
            "provider_id": 2,
            "type": "yokan",
            "tags" : [ "mofka:master" ],
            "config" : {
                "database" : {
                    "type": "map"
                }
            }
        },
        {
            "name" : "io_controller",
            "type" : "abt_io",
            "provider_id" : 3,
            "config" : {},
            "dependencies": {
                "pool": "__primary__"
            }
        }
    ]
}
"""

# As in the user guide, word for word, "Full configuration": several processes, a persistent master database on rank 0.
FULL_CONFIGURATION = """
{
    "libraries": [
        "libflock-bedrock-module.so",
        "libyokan-bedrock-module.so",
        "libabt-io-bedrock-module.so",
        "libmofka-bedrock-module.so"
    ],
    "margo": {
        "use_progress_thread": true,
        "rpc_thread_count": 4,
        "argobots": {
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
        }
    },
    "providers": [
        {
            "name" : "group_manager",
            "type" : "flock",
            "provider_id" : 1,
            "config": {
                "bootstrap": "mpi",
                "file": "mofka.json",
                "group": {
                    "type": "static"
                }
            }
        },
        {
            "__if__": "$MPI_COMM_WORLD.rank == 0",
            "name": "master",
            "provider_id": 2,
            "type": "yokan",
            "tags" : [ "mofka:master" ],
            "config" : {
                "database" : {
                    "type": "rocksdb",
                    "config": {
                        "create_if_missing": true,
                        "path": "/tmp/mofka/master"
                    }
                }
            }
        },
        {
            "name" : "io_controller",
            "type" : "abt_io",
            "provider_id" : 3,
            "config" : {},
            "dependencies": {
                "pool": "io_pool"
            }
        },
        {
            "name" : "io_uring_controller",
            "type" : "abt_io",
            "provider_id" : 4,
            "config" : {
                "num_urings": 1,
                "liburing_flags": ["IOSQE_ASYNC"]
            },
            "dependencies": {
                "pool": "__primary__"
            }
        }
    ]
}
"""

GROUP_FILE = "mofka.json"

# Makes topic "t" with one partition in files/, or takes up the one that is there.
UUID = "01234567-89ab-cdef-0123-456789abcdef"
PARTITION = f"files/t-{UUID}"
CREATE_STORED = ["diaspora-ctl", "topic", "create", "--driver", "mofka", "--driver.group_file", GROUP_FILE, "--name", "t",
                 "--topic.num_partitions", 1, "--topic.config.type", "default", "--topic.config.uuid", UUID,
                 "--topic.config.partition.path", "files", "--topic.config.partition.max_chunk_size", 3500]


def persistent():
    """The first configuration with a master database that survives its server."""
    config = json.loads(FIRST_CONFIGURATION)
    master = next(p for p in config["providers"] if p["name"] == "master_database")
    master["config"] = {"database": {"type": "rocksdb", "config": {"path": "master", "create_if_missing": True}}}
    return config


def write_group_file(workdir, *servers):
    members = [{"address": server.address, "provider_id": 1} for server in servers]
    (workdir / GROUP_FILE).write_text(json.dumps({"members": members, "metadata": {}}))


def two_servers(servers, workdir):
    """The first has the master database; both are in the group file that clients use."""
    config = persistent()
    other = json.loads(FIRST_CONFIGURATION)
    other["providers"] = [p for p in other["providers"] if p["name"] != "master_database"]
    for document, file in ((config, "a.json"), (other, "b.json")):
        next(p for p in document["providers"] if p["type"] == "flock")["config"]["file"] = file
    first = servers.bedrock(config, arguments=("--name", "a"))
    second = servers.bedrock(other, arguments=("--name", "b"))
    write_group_file(workdir, first, second)
    return first, second


def peer(*words):
    return ["mofka-peer", words[0], GROUP_FILE, *words[1:]]


def count_of(process, word):
    """The last number after `word` ("stored", "got") in a peer's output; 0 before the first."""
    found = re.findall(rf"^{word} (\d+)$", process.output(), re.MULTILINE)
    return int(found[-1]) if found else 0


def list_runs(topic, name, **options):
    """[(number, count)]: the producers' numbers of the events behind the position of this consumer, in order; the peer has
    compared their content and ids."""
    listed = run(peer("list", topic, name), **options).stdout
    return [(int(number), int(count)) for number, count in re.findall(r"^run (\d+) (\d+)$", listed, re.MULTILINE)]


def list_numbers(topic, name):
    return [number for first, count in list_runs(topic, name) for number in range(first, first + count)]


def wait_for_count(process, word, count, timeout_s):
    def reached():
        assert process.running() or count_of(process, word) >= count, process.output()
        return count_of(process, word) >= count

    wait_until(reached, f"{process.name}: {word} {count}", timeout_s)


def traces(pid):
    """What a dead process could have left on the machine: files and sockets whose name carries its number."""
    ours = re.compile(rf"dango.*\b{pid}\b")
    with open("/proc/net/unix", encoding="ascii", errors="replace") as table:
        names = [line.split()[-1] for line in table]
    names += [str(path) for folder in ("/dev/shm", "/tmp") for path in Path(folder).glob("dango*")]
    return [name for name in names if ours.search(name)]


def assert_gone(process):
    process.wait()
    wait_until(lambda: not traces(process.pid), f"traces of {process.name}: {traces(process.pid)}")
    assert not os.path.exists(f"/proc/{process.pid}")
