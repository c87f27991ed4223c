"""Producers and consumers that live as long as the test, while servers and some of them are killed, round after round.

What is checked at the end, from what each of them has said on its output:

* each producer's events stand in each partition in its order; those that it was told of are there, once; of the others at
  most those that it had under way when it was killed;
* each consumer has read, at each id, what is stored there now; from its beginning to the end, in order, nothing twice;
* a consumer that is started anew begins behind what it had acknowledged, and not behind what it had read.

DANGO_KILL_ROUNDS sets the number of rounds.
"""

import json
import os
import random
import signal
import time
from collections import defaultdict

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE, count_of, peer, wait_for_count
from support import BUILD, SLOWNESS, run, wait_until

TYPES = [t for t in ("rocksdb", "lmdb", "leveldb") if (BUILD / "lib" / f"libdango-yokan-{t}.so").exists()]
pytestmark = pytest.mark.skipif(not TYPES, reason="no persistent database is built")

ROUNDS = int(os.environ.get("DANGO_KILL_ROUNDS", "200" if os.environ.get("DANGO_NIGHTLY") else "20"))
CONTROL = {"DIASPORA_CTL_DRIVER_OPTIONS": f"--driver mofka --driver.group_file {GROUP_FILE}"}
PROGRESS_S = 60 * SLOWNESS
PARTITIONS = 2
GENERATION = 10**9  # the numbers of a producer begin at a multiple of it
# (events per batch, 0: adaptive; bytes of data; pause in µs)
PRODUCERS = [(1, 0, 2000), (16, 100, 10000), (128, 1000, 50000), (0, 10, 10000)]
READERS = [("with-data", "all"), ("without", "none"), ("-forgetful", "all")]


def create(name, kind, *words):
    run(["diaspora-ctl", "topic", "create", "--name", name, "--topic.num_partitions", PARTITIONS,
         "--topic.config.type", kind, *words], env=CONTROL)


class Producer:
    """One process. `ended`: it was killed, and what it had under way may be there or not."""

    def __init__(self, servers, number, shape, topic="stream", **env):
        self.number, self.shape = number, shape
        self.batch, data, pause_us = shape
        self.process = servers.start(
            peer("produce", topic, 0, self.batch, data, self.number * GENERATION), f"producer-{self.number}",
            {"PEER_RECONNECT_MS": "120000", "PEER_BATCHES": "4", "PEER_PAUSE_US": str(pause_us), **env})
        self.ended = False

    def stored(self):
        return count_of(self.process, "stored")

    @property
    def under_way(self):
        return 4 * (self.batch or 100) if self.ended else 0


class Consumer:
    """One process; those of the same name follow each other."""

    def __init__(self, servers, name, data, topic="stream"):
        self.name, self.data = name, data
        self.acknowledges = not name.startswith("-")
        self.process = servers.start(
            peer("follow", topic, name, data), f"consumer-{len(servers.started)}",
            {"PEER_RECONNECT_MS": "120000"})

    def lines(self, word):
        # The last line may be cut when the process was killed.
        for line in self.process.output().splitlines(keepends=True):
            if line.startswith(word + " ") and line.endswith("\n"):
                yield [int(n) for n in line.split()[1:]]

    def read(self):
        """{partition: (first id, numbers)}; asserts that ids are consecutive."""
        found = {}
        for partition, event_id, number, count in self.lines("run"):
            first, numbers = found.setdefault(partition, (event_id, []))
            assert event_id == first + len(numbers), f"{self.process.name}: partition {partition}: gap at {event_id}"
            numbers.extend(range(number, number + count * PARTITIONS, PARTITIONS))
        return found

    def acknowledged(self):
        """{partition: position}; asserts that positions only grow."""
        found = defaultdict(int)
        for partition, event_id in self.lines("acked"):
            assert event_id + 1 > found[partition]
            found[partition] = event_id + 1
        return found

    def ends(self):
        return {partition: first + len(numbers) for partition, (first, numbers) in self.read().items()}


class Service:
    def __init__(self, servers, configuration):
        self.servers, self.configuration = servers, configuration
        self.server = None
        self.producers, self.consumers = [], []
        self.start()
        create("stream", "default", "--topic.config.partition.path", "mofka",
               "--topic.config.partition.max_chunk_size", 5_000_000)
        for shape in PRODUCERS:
            self.add_producer(shape)
        for reader in READERS:
            self.add_consumer(*reader)

    def add_producer(self, shape):
        self.producers.append(Producer(self.servers, len(self.producers) + 1, shape))

    def add_consumer(self, name, data):
        self.consumers.append(Consumer(self.servers, name, data))

    def start(self, wait=True):
        self.server = self.servers.bedrock(self.configuration, wait=wait)

    def living(self, users):
        return [user for user in users if user.process.running()]

    def expect_progress(self):
        """Every producer hears of something new that is stored, every consumer reads something new."""
        before = [(p, p.stored()) for p in self.living(self.producers)]
        assert len(before) == len(PRODUCERS), [p.process.output()[-300:] for p in self.producers]
        for producer, stored in before:
            wait_for_count(producer.process, "stored", stored + 1, PROGRESS_S)
        living = self.living(self.consumers)
        assert len(living) == len(READERS), [c.process.output()[-300:] for c in self.consumers]
        sizes = [(c, len(c.process.output())) for c in living]
        for consumer, size in sizes:
            wait_until(lambda c=consumer, s=size: len(c.process.output()) > s, f"{consumer.process.name} reads on",
                       PROGRESS_S)

    # ---- rounds ----

    def kill_server(self):
        self.server.kill()
        self.start()

    def kill_during_start(self):
        self.server.kill()
        self.start(wait=False)
        time.sleep(random.uniform(0, 0.15) * SLOWNESS)
        self.server.kill()
        self.start()

    def kill_twice(self):
        self.kill_server()
        self.kill_server()

    def stop_for_a_while(self, longest_s=3):
        self.server.signal(signal.SIGSTOP)
        time.sleep(random.uniform(0.1, longest_s))
        self.server.signal(signal.SIGCONT)

    def stop_until_noticed(self):
        self.stop_for_a_while(14)

    def kill_producer(self):
        producer = random.choice(self.living(self.producers))
        producer.process.kill()
        producer.ended = True
        self.add_producer(producer.shape)

    def kill_consumer(self):
        consumer = random.choice(self.living(self.consumers))
        consumer.process.kill()
        self.add_consumer(consumer.name, consumer.data)

    def kill_consumer_and_server(self):
        self.server.kill()
        consumer = random.choice(self.living(self.consumers))
        consumer.process.kill()
        self.start()
        self.add_consumer(consumer.name, consumer.data)

    # ---- the end ----

    def stored_events(self):
        """{partition: numbers}, as a new consumer reads them."""
        reader = Consumer(self.servers, "-anew", "all")
        reader.process.wait_for_output(r"ready\n")
        extents = {partition: end for partition, _, end in reader.lines("from")}
        wait_until(lambda: reader.ends() == extents, f"the reader reads to {extents}: {reader.ends()}", PROGRESS_S)
        assert all(first == 0 for first, _ in reader.read().values())
        return {partition: numbers for partition, (_, numbers) in reader.read().items()}

    def finish(self):
        for producer in self.living(self.producers):
            producer.process.kill()
            producer.ended = True
        stored = self.stored_events()
        self.check_producers(stored)
        ends = {partition: len(numbers) for partition, numbers in stored.items()}
        for consumer in self.living(self.consumers):
            wait_until(lambda c=consumer: c.ends() == ends, f"{consumer.process.name} reads to {ends}: {consumer.ends()}",
                       PROGRESS_S)
            assert consumer.process.running(), consumer.process.output()[-1000:]
        for consumer in self.consumers:
            consumer.process.kill()
        self.check_consumers(stored)

    def check_producers(self, stored):
        numbers_of = defaultdict(list)
        for numbers in stored.values():
            last = defaultdict(lambda: -1)
            for number in numbers:
                producer, i = divmod(number, GENERATION)
                assert i > last[producer], f"producer {producer}: {i} stands behind {last[producer]}"
                last[producer] = i
                numbers_of[producer].append(i)
        assert set(numbers_of) <= {p.number for p in self.producers}, "invented"
        for producer in self.producers:
            there, told = set(numbers_of[producer.number]), producer.stored()
            assert len(there) == len(numbers_of[producer.number]), f"{producer.process.name}: stored twice"
            missing = set(range(told)) - there
            assert not missing, f"{producer.process.name}: lost {sorted(missing)[:10]}"
            assert max(there, default=0) < told + producer.under_way, f"{producer.process.name}: invented"
            assert "error" not in producer.process.output()

    def check_consumers(self, stored):
        positions = defaultdict(lambda: defaultdict(int))  # name → partition → acknowledged
        read_ends = defaultdict(lambda: defaultdict(int))
        for consumer in self.consumers:
            for partition, (first, numbers) in consumer.read().items():
                assert stored[partition][first:first + len(numbers)] == numbers, f"{consumer.process.name} read others"
                if not consumer.acknowledges:
                    assert first == 0
                else:
                    assert positions[consumer.name][partition] <= first <= read_ends[consumer.name][partition]
                    read_ends[consumer.name][partition] = first + len(numbers)
            if consumer.acknowledges:
                positions[consumer.name].update(consumer.acknowledged())


@pytest.fixture
def configuration(workdir):
    (workdir / "mofka").mkdir()
    config = json.loads(FIRST_CONFIGURATION)
    master = next(p for p in config["providers"] if p["name"] == "master_database")
    master["config"]["database"] = {"type": TYPES[0], "config": {"create_if_missing": True, "path": "mofka/master"}}
    return config


def plan(rounds):
    """Each kind in turn, in an order of chance; the slow one rarely."""
    kinds = ["kill_server"] * 4 + ["kill_during_start"] * 3 + ["kill_twice"] * 2 + ["stop_for_a_while"] + \
            ["kill_producer"] * 3 + ["kill_consumer"] * 3 + ["kill_consumer_and_server"] * 2 + ["kill_server"]
    chosen = [kinds[i % len(kinds)] if i % 20 != 19 else "stop_until_noticed" for i in range(rounds)]
    random.shuffle(chosen)
    return chosen


def test_all_go_on(servers, configuration):
    seed = int(os.environ.get("DANGO_SEED", random.randrange(2**32)))
    random.seed(seed)
    service = Service(servers, configuration)
    kinds = plan(ROUNDS)
    done = 0
    try:
        for kind in kinds:
            service.expect_progress()
            time.sleep(random.uniform(0, 0.2))  # somewhere in the middle, never at the same place
            getattr(service, kind)()
            done += 1
        service.expect_progress()
        service.finish()
    finally:
        print(f"DANGO_SEED={seed}: {done} of {ROUNDS} rounds: {' '.join(kinds[:done + 1])}")


def test_a_topic_in_memory_begins_anew(servers, configuration):
    """Its producer is told what is unknown and goes on; its consumer ends instead of reading what does not fit."""
    server = servers.bedrock(configuration)
    create("volatile", "memory")
    producer = Producer(servers, 1, (16, 10, 20000), "volatile", PEER_GO_ON="1")
    last = -1
    for _ in range(max(2, ROUNDS // 5)):
        consumer = Consumer(servers, "-reader", "all", "volatile")
        consumer.process.wait_for_output(r"run 1 ")
        wait_for_count(producer.process, "stored", producer.stored() + 1, PROGRESS_S)
        server.kill()
        server = servers.bedrock(configuration)
        assert consumer.process.wait() == 1
        assert "began anew with its server" in consumer.process.output()
        for first, numbers in consumer.read().values():
            assert first == 0 and numbers[0] > last and all(a < b for a, b in zip(numbers, numbers[1:]))
        last = min(numbers[-1] for _, numbers in consumer.read().values())
    wait_for_count(producer.process, "stored", producer.stored() + 1, PROGRESS_S)
    assert "of which it said that it was stored" in producer.process.output(), producer.process.output()
