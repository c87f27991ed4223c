"""A server is killed and started again, or hangs, while a producer and a consumer that were there before go on.

Event i of the only producer must have the id i at the end, and the consumer must have seen each id once: nothing is lost,
nothing is stored twice, nothing is delivered twice. DANGO_KILL_ROUNDS sets how often servers are killed.
"""

import json
import os
import random
import re
import signal
import time

import pytest

from mofka import FIRST_CONFIGURATION, GROUP_FILE, count_of, peer, wait_for_count
from support import BUILD, SLOWNESS, program, run, wait_until

TYPES = [t for t in ("rocksdb", "lmdb", "leveldb") if (BUILD / "lib" / f"libdango-yokan-{t}.so").exists()]
pytestmark = pytest.mark.skipif(not TYPES, reason="no persistent database is built")

ROUNDS = int(os.environ.get("DANGO_KILL_ROUNDS", "200" if os.environ.get("DANGO_NIGHTLY") else "4"))
START_S = 30 * SLOWNESS
PATIENT = {"PEER_RECONNECT_MS": "60000", "PEER_EXACT": "1", "PEER_BATCHES": "8"}
CONTROL = {"DIASPORA_CTL_DRIVER_OPTIONS": f"--driver mofka --driver.group_file {GROUP_FILE}"}
# (events per batch, bytes of data)
SHAPES = [(1, 0), (64, 1000), (4, 300_000), (0, 10)]


@pytest.fixture
def configuration(workdir):
    (workdir / "mofka").mkdir()
    config = json.loads(FIRST_CONFIGURATION)
    master = next(p for p in config["providers"] if p["name"] == "master_database")
    master["config"]["database"] = {"type": TYPES[0], "config": {"create_if_missing": True, "path": "mofka/master"}}
    return config


def create(*words):
    run(["diaspora-ctl", "topic", "create", "--name", "stream", "--topic.num_partitions", 1, "--topic.config.type",
         "default", "--topic.config.partition.path", "mofka", "--topic.config.partition.max_chunk_size", 5_000_000,
         *words], env=CONTROL)


def start_peers(servers, batch, data):
    producer = servers.start(peer("produce", "stream", 0, batch, data), "producer", PATIENT)
    consumer = servers.start(peer("consume", "stream", "reader", 0, "all"), "consumer", PATIENT)
    return producer, consumer


def start_control(servers, workdir, *options):
    """diaspora-ctl: a producer that reads a pipe (its output goes to produced.log) and a consumer, with one event sent."""
    consumer = servers.start(["diaspora-ctl", "consume", "--topic", "stream", "--follow", *options], "consumer", CONTROL)
    os.mkfifo(workdir / "lines")
    producer = servers.start(["sh", "-c", 'exec "$@" <lines', "sh", program("diaspora-ctl"), "produce", "--topic", "stream",
                              *options], "producer", CONTROL)
    lines = open(workdir / "lines", "w", encoding="ascii", buffering=1)
    lines.write('{"i":1}\n')
    consumer.wait_for_output(r'{"i":1}')
    return producer, consumer, lines


def expect_progress(producer, consumer):
    """Both have done something that they had not done before."""
    stored = count_of(producer, "stored")
    wait_for_count(producer, "stored", stored + 1, START_S)
    got = count_of(consumer, "got")
    wait_for_count(consumer, "got", got + 1, START_S)


def expect_exact(producer, consumer):
    """Ends the producer; everything that it was told is stored, is there, once and in its place."""
    producer.kill()
    stored = count_of(producer, "stored")
    extent = run(peer("extent", "stream", "anew")).stdout
    end = int(re.fullmatch(r"extent 0 (\d+)\n", extent).group(1))
    assert stored <= end
    output = run(peer("consume", "stream", "anew", end, "all"), env=PATIENT).stdout
    assert f"got {end}\n" in output
    wait_for_count(consumer, "got", end // 1000 * 1000, START_S)
    assert consumer.running(), consumer.output()
    consumer.kill()


@pytest.mark.parametrize("batch, data", SHAPES)
def test_both_go_on_after_kill_9(servers, configuration, batch, data):
    service = servers.bedrock(configuration)
    create()
    producer, consumer = start_peers(servers, batch, data)
    for _ in range(max(1, ROUNDS // len(SHAPES))):
        expect_progress(producer, consumer)
        time.sleep(random.uniform(0, 0.2))  # somewhere in the middle, never at the same place
        service.kill()
        service = servers.bedrock(configuration)
    expect_progress(producer, consumer)
    # Where a death is noticed late, a server that is back before has not been lost.
    losses = [process.output().count("lost: ") for process in (producer, consumer)]
    service.kill()
    for process, before in zip((producer, consumer), losses):
        wait_until(lambda p=process, n=before: p.output().count("lost: ") > n, f"{process.name} notices", START_S)
    servers.bedrock(configuration)
    expect_progress(producer, consumer)
    expect_exact(producer, consumer)
    for process in (producer, consumer):
        assert process.output().count("back after ") == process.output().count("lost: ") > 0
        assert "error" not in process.output()


@pytest.mark.parametrize("synced", [1, 2, 7])
def test_a_lost_answer_is_not_a_second_batch(servers, workdir, configuration, synced):
    """The server dies right after a batch is safe on the medium, before it can say so."""
    service = servers.bedrock(configuration)
    create()
    service.stop()
    fault = {"LD_PRELOAD": str(BUILD / "tests" / "libdango-test-fault.so"),
             "ASAN_OPTIONS": ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"])),
             "DANGO_FAULT": f"dir={workdir}/mofka,call=sync,file=chunk-,n={synced},do=kill-after"}
    service = servers.bedrock(configuration, env=fault)
    producer = servers.start(peer("produce", "stream", 5000, 10, 50), "producer", PATIENT)
    assert service.wait() == -signal.SIGKILL
    servers.bedrock(configuration)
    assert producer.wait() == 0, producer.output()
    assert "stored 5000\n" in producer.output()
    assert run(peer("extent", "stream", "anew")).stdout == "extent 0 5000\n"
    assert "got 5000\n" in run(peer("consume", "stream", "anew", 5000, "all"), env=PATIENT).stdout


def test_a_server_that_hangs_is_noticed_and_taken_up_again(servers, configuration):
    service = servers.bedrock(configuration)
    create()
    consumer = servers.start(peer("consume", "stream", "reader", 1000, "all"), "consumer", PATIENT)
    consumer.wait_for_output(r"ready\n")
    service.signal(signal.SIGSTOP)
    start = time.monotonic()
    wait_until(lambda: "lost: " in consumer.output(), "the consumer notices", 40)
    assert time.monotonic() - start < 15 * SLOWNESS
    service.signal(signal.SIGCONT)
    run(peer("produce", "stream", 1000, 10, 100))
    assert consumer.wait() == 0, consumer.output()
    assert "back after " in consumer.output()


def test_patience_has_an_end(servers, configuration):
    service = servers.bedrock(configuration)
    create()
    short = {**PATIENT, "PEER_RECONNECT_MS": "1500"}
    producer = servers.start(peer("produce", "stream", 0, 10, 100), "producer", short)
    consumer = servers.start(peer("consume", "stream", "reader", 0, "all"), "consumer", short)
    expect_progress(producer, consumer)
    service.kill()
    start = time.monotonic()
    for process in (producer, consumer):
        assert process.wait() == 1, process.output()
        assert "was not found again within 1.5 s" in process.output()
    assert 1.4 < time.monotonic() - start < 20 * SLOWNESS


def test_the_command_line_goes_on(servers, workdir, configuration):
    service = servers.bedrock(configuration)
    create()
    producer, consumer, lines = start_control(servers, workdir)
    service.kill()
    lines.write('{"i":2}\n')
    for process in (producer, consumer):
        process.wait_for_output(r"lost: ")
    servers.bedrock(configuration)
    lines.close()
    assert producer.wait(START_S) == 0, producer.output()
    consumer.wait_for_output(r'{"i":2}')
    for process in (producer, consumer):
        text = process.output()
        assert text.count("lost: ") == 1 and text.count("back after ") == 1, text
    assert consumer.output().count('{"i":') == 2


def test_the_command_line_says_it_once_for_all_partitions(servers, workdir, configuration):
    service = servers.bedrock(configuration)
    run(["diaspora-ctl", "topic", "create", "--name", "wide", "--topic.num_partitions", 3, "--topic.config.type", "default",
         "--topic.config.partition.path", "mofka"], env=CONTROL)
    run(["diaspora-ctl", "produce", "--topic", "wide"], stdin="1\n2\n3\n", env=CONTROL)
    consumer = servers.start(["diaspora-ctl", "consume", "--topic", "wide", "--follow"], "consumer", CONTROL)
    counted = servers.start(["diaspora-ctl", "consume", "--topic", "wide", "--count", "6"], "counted", CONTROL)
    for process in (consumer, counted):
        wait_until(lambda p=process: {"1", "2", "3"} <= set(p.output().split("\n")), f"{process.name} has read", START_S)
    service.kill()
    for process in (consumer, counted):
        process.wait_for_output(r"lost: ")
    servers.bedrock(configuration)
    for process in (consumer, counted):
        process.wait_for_output(r"back after ")
    run(["diaspora-ctl", "produce", "--topic", "wide"], stdin="4\n5\n6\n", env=CONTROL)
    assert counted.wait() == 0, counted.output()
    wait_until(lambda: {"4", "5", "6"} <= set(consumer.output().split("\n")), "all has come", START_S)
    consumer.stop()
    for text in (consumer.output(), counted.output()):
        assert text.count("lost: ") == 1 and text.count("back after ") == 1, text


def test_the_command_line_gives_up_with_status_1(servers, workdir, configuration):
    service = servers.bedrock(configuration)
    create()
    producer, consumer, lines = start_control(servers, workdir, "--driver.reconnect_timeout_ms", "1000")
    service.kill()
    lines.write('{"i":2}\n')
    lines.close()
    for process in (producer, consumer):
        assert process.wait(START_S) == 1
        text = process.output()
        assert text.count("lost: ") == 1 and text.count("given up after ") == 1, text
        assert "was not found again within 1 s" in text, text
    assert "go on after line 1" in producer.output(), producer.output()
