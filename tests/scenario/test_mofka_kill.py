"""kill -9 in the middle of a stream: the others notice within a second and go on or fail cleanly; nothing is left.

Each case is repeated: 3 times, 100 times in nightly runs (DANGO_NIGHTLY), or DANGO_KILL_ROUNDS times.
"""

import os
import random
import time

import pytest

from mofka import FIRST_CONFIGURATION, assert_gone, count_of, peer, wait_for_count
from support import SLOWNESS, run

ROUNDS = int(os.environ.get("DANGO_KILL_ROUNDS", "100" if os.environ.get("DANGO_NIGHTLY") else "3"))
NOTICE_S = 1.0 * SLOWNESS
START_S = 20 * SLOWNESS

# (events per batch, bytes of data, what the consumer wants)
STREAMS = [("1", 0, "none"), ("64", 1000, "all"), ("4", 300_000, "all")]


class Stream:
    """A server, a producer and a consumer in the middle of their work."""

    def __init__(self, servers, batch, data, wanted):
        self.servers = servers
        self.server = servers.bedrock(FIRST_CONFIGURATION)
        run(peer("create", "stream", "{}"))
        self.wanted = wanted
        self.batch, self.data = batch, data
        self.producer = self.start_producer("producer")
        self.consumer = servers.start(peer("consume", "stream", "c", 0, wanted), "consumer")
        wait_for_count(self.producer, "stored", int(batch), START_S)
        self.consumer.wait_for_output(r"ready\n")
        time.sleep(random.uniform(0, 0.2))  # somewhere in the middle, never at the same place

    def start_producer(self, name):
        return self.servers.start(peer("produce", "stream", 0, self.batch, self.data), name)

    def expect_progress(self, process, word):
        wait_for_count(process, word, count_of(process, word) + 1, START_S)

    def expect_end(self, process):
        """The process notices by itself that the server is gone, and says so."""
        start = time.monotonic()
        assert process.wait(START_S) == 1, process.output()
        assert time.monotonic() - start < NOTICE_S, f"{process.name} took {time.monotonic() - start} s"
        assert "error" in process.output()


@pytest.fixture(params=[(round_, *stream) for stream in STREAMS for round_ in range(ROUNDS)], ids=str)
def stream(request, servers):
    return Stream(servers, *request.param[1:])


def test_the_server_dies(stream):
    stream.server.kill()
    stream.expect_end(stream.producer)
    stream.expect_end(stream.consumer)
    for process in (stream.server, stream.producer, stream.consumer):
        assert_gone(process)


def test_a_producer_dies(stream):
    stream.producer.kill()
    again = stream.start_producer("again")
    stream.expect_progress(again, "stored")
    reader = run(peer("consume", "stream", "late", int(stream.batch), stream.wanted))
    assert f"got {stream.batch}\n" in reader.stdout
    assert stream.consumer.running(), stream.consumer.output()
    assert_gone(stream.producer)
    again.kill()
    stream.consumer.kill()
    stream.server.stop()


def test_a_consumer_dies(stream):
    stream.consumer.kill()
    stream.expect_progress(stream.producer, "stored")
    reader = run(peer("consume", "stream", "c", int(stream.batch), stream.wanted))
    assert f"got {stream.batch}\n" in reader.stdout
    assert_gone(stream.consumer)
    stream.producer.kill()
    stream.server.stop()
