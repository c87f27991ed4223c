"""Answers before events are stored: both sides ask for it, a flush still says what is stored, and what is lost is told.

The partition syncs once in a second (`sync`: 1000), so that a batch stays answered and not stored for about as long.
"""

import re

import pytest

from mofka import CREATE_STORED, FIRST_CONFIGURATION, count_of, list_runs, peer, wait_for_count
from support import SLOWNESS, run, wait_until
from test_mofka_faults import fault_environment

EARLY = {"PEER_EARLY": "1"}
CREATE = [*CREATE_STORED, "--topic.config.partition.ack_early.enabled", "true"]
SLOW = ["--topic.config.partition.sync", 1000]


def test_events_arrive_as_always(servers):
    """As the tests of the original use it: 100 events with data, flushed, are consumed with ids 0 to 99."""
    servers.bedrock(FIRST_CONFIGURATION)
    run([*CREATE, "--topic.config.partition.ack_early.max_pending_batches", 2,
         "--topic.config.partition.write_cache.enabled", "true", "--topic.config.partition.write_cache.max_batches", 4])
    assert "stored 100\n" in run(peer("produce", "t", 100, 5, 1000), env={**EARLY, "PEER_BATCHES": "20"}).stdout
    assert "got 100\n" in run(peer("consume", "t", "c", 100, "all"), env={"PEER_EXACT": "1"}).stdout


def test_a_flush_waits_until_events_are_stored(servers, workdir):
    """The server that is killed right after a flush has everything; one that is stopped stores what it has answered."""
    service = servers.bedrock(FIRST_CONFIGURATION)
    run([*CREATE, *SLOW])
    for first in (0, 30):
        assert "stored 30\n" in run(peer("produce", "t", 30, 10, 100, first), env={**EARLY, "PEER_BATCHES": "3"}).stdout
        service.kill()
        service = servers.bedrock(FIRST_CONFIGURATION)
        run([*CREATE, *SLOW])
    assert list_runs("t", "checker") == [(0, 60)]


def test_what_a_crash_took_is_told_and_the_producer_goes_on(servers):
    config = FIRST_CONFIGURATION
    service = servers.bedrock(config)
    run([*CREATE, *SLOW])
    producer = servers.start(peer("produce", "t", 0, 10, 100), env={**EARLY, "PEER_RECONNECT_MS": "60000"})
    wait_for_count(producer, "stored", 20, 20 * SLOWNESS)  # and the next batch waits for its sync
    service.kill()
    stored = count_of(producer, "stored")
    servers.bedrock(config)
    run([*CREATE, *SLOW])
    wait_until(lambda: "were answered early (ack_early), are not stored" in producer.output(), producer.output(),
               60 * SLOWNESS)
    wait_until(lambda: count_of(producer, "stored") >= stored + 20, producer.output(), 60 * SLOWNESS)
    producer.kill()
    runs = list_runs("t", "checker")
    assert len(runs) == 2 and runs[0][0] == 0 and runs[0][1] >= stored  # one hole: what was lost
    assert runs[1][0] % 10 == 0


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_medium_that_fails_after_the_answer_ends_all_writing(servers, workdir, call):
    service = servers.bedrock(FIRST_CONFIGURATION,
                              env=fault_environment(workdir, f"call={call},file=.log,n=2,do=EIO"))
    run(CREATE)
    output = run(peer("produce", "t", 40, 10, 100), env=EARLY).stdout
    assert "stored 10\n" in output and "stored 20\n" not in output
    errors = re.findall("^error .*$", output, re.MULTILINE)
    assert len(errors) == 3  # each flush from then on
    assert all("events that were answered early (ack_early) are not stored" in e and f"cannot {call}" in e for e in errors)
    service.stop()
    servers.bedrock(FIRST_CONFIGURATION)
    run(CREATE)
    run(peer("produce", "t", 10, 10, 100, 40), env=EARLY)
    runs = list_runs("t", "checker")
    assert runs[0][0] == 0 and sum(count for _, count in runs) in (20, 30)  # what was not synced may be there
