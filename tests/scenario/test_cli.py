"""diaspora-ctl against a real server: topics, lines, files, and everything that goes wrong."""

import contextlib
import filecmp
import json
import os
import re
import signal
import stat
import subprocess

import pytest

from support import die_with_parent, program, run, wait_until

CONFIG = {
    "libraries": [
        "libflock-bedrock-module.so",
        "libyokan-bedrock-module.so",
        "libmofka-bedrock-module.so",
    ],
    "providers": [
        {
            "name": "group",
            "type": "flock",
            "provider_id": 1,
            "config": {"bootstrap": "self", "file": "mofka.json", "group": {"type": "static"}},
        },
        {
            "name": "master",
            "type": "yokan",
            "provider_id": 2,
            "tags": ["mofka:master"],
            "config": {"database": {"type": "map"}},
        },
    ],
}


class Ctl:
    """diaspora-ctl with the driver options in the environment, as the manual has it."""

    def __init__(self, workdir):
        self.env = {"DIASPORA_CTL_DRIVER_OPTIONS": f"--driver mofka --driver.group_file '{workdir}/mofka.json'"}

    def __call__(self, *words, **options):
        return run(["diaspora-ctl", *words], env=self.env, **options)

    def start(self, *words, **options):
        return subprocess.Popen(
            [program("diaspora-ctl"), *words],
            env={**os.environ, **self.env},
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            preexec_fn=die_with_parent,
            **options,
        )


@pytest.fixture
def server(servers):
    return servers.bedrock(CONFIG)


@pytest.fixture
def ctl(server, workdir):
    return Ctl(workdir)


def lines(count):
    return "".join(f'{{"n":{i}}}\n' for i in range(count))


def create(ctl, name="t", partitions=1):
    ctl("topic", "create", "--name", name, "--topic.num_partitions", str(partitions))


def test_topics_are_created_and_listed(ctl):
    assert ctl("topic", "list").stdout == ""
    result = ctl("topic", "create", "--name", "b", "--topic.num_partitions", "2", "--topic.config.type", "memory")
    assert result.stdout == ""
    assert 'topic "b" created' in result.stderr
    create(ctl, "a")
    assert ctl("topic", "list").stdout == "a\nb\n"
    name, description = ctl("topic", "list", "-v").stdout.splitlines()[1].split(" ", 1)
    description = json.loads(description)
    assert name == "b"
    assert description["num_partitions"] == 2
    assert description["validator"] == {"type": "default"}


def test_topic_options_come_from_a_file(ctl, workdir):
    (workdir / "topic.json").write_text('{"num_partitions": 3, "config": {"type": "memory"}}')
    ctl("topic", "create", "--name", "t", "--topic-config", "topic.json")
    ctl("topic", "create", "--name", "u", "--topic-config", "topic.json", "--topic.num_partitions", "4")
    listed = dict(line.split(" ", 1) for line in ctl("topic", "list", "--verbose").stdout.splitlines())
    assert json.loads(listed["t"])["num_partitions"] == 3
    assert json.loads(listed["u"])["num_partitions"] == 4


@pytest.mark.parametrize(
    "words, text",
    [
        (["topic", "create", "--name", "t"], "exists"),
        (["topic", "create", "--name", "a/b"], 'must not contain "/"'),
        (["topic", "create", "--name", "x", "--validator", "schema"], "not built in (built in: default)"),
        (["topic", "create", "--name", "x", "--validator.schema", "s"], "add --validator TYPE"),
        (["topic", "create", "--name", "x", "--topic-config", "missing.json"], "missing.json"),
        (["topic", "create", "--name", "x", "--topic.num_partition", "2"], "num_partitions"),
        (["topic", "create"], "--name NAME is required"),
        (["produce", "--topic", "nowhere"], "nowhere"),
        (["consume", "--topic", "nowhere"], "nowhere"),
        (["consume", "--topic", "t", "--from", "middle"], "from: expected"),
        (["consume", "--topic", "t", "--from", "saved"], "needs --name"),
        (["produce", "--topic", "t", "--files", "missing"], "missing"),
        (["produce", "--topic", "t", "--driver.group_file", "stale.json"], "stale.json"),
    ],
)
def test_mistakes_are_one_error(ctl, words, text):
    create(ctl)
    result = ctl(*words, check=False, stdin="")
    assert result.returncode == 1
    assert text in result.stderr
    assert result.stdout == ""
    assert ctl("topic", "list").stdout == "t\n"


def test_lines_go_through(ctl):
    create(ctl)
    text = lines(10000)
    result = ctl("produce", "--topic", "t", stdin=text)
    assert result.stdout == ""
    assert "sent 10000 events" in result.stderr
    result = ctl("consume", "--topic", "t")
    assert result.stdout == text
    assert "received 10000 events" in result.stderr


def test_nothing_goes_through_an_empty_topic(ctl):
    create(ctl, partitions=3)
    assert ctl("consume", "--topic", "t").stdout == ""
    ctl("produce", "--topic", "t", stdin="")
    assert ctl("consume", "--topic", "t", "--name", "c").stdout == ""


def test_all_partitions_are_read(ctl):
    create(ctl, partitions=3)
    ctl("produce", "--topic", "t", "--batch-size", "7", stdin=lines(1000))
    received = ctl("consume", "--topic", "t").stdout.splitlines(keepends=True)
    assert sorted(received) == sorted(lines(1000).splitlines(keepends=True))


def test_a_named_consumer_goes_on_where_it_stopped(ctl):
    create(ctl)
    ctl("produce", "--topic", "t", stdin=lines(10))
    assert ctl("consume", "--topic", "t", "--name", "c", "--count", "4").stdout == lines(4)
    rest = lines(10)[len(lines(4)) :]
    assert ctl("consume", "--topic", "t", "--name", "c").stdout == rest
    assert ctl("consume", "--topic", "t", "--name", "c").stdout == ""
    assert ctl("consume", "--topic", "t", "--name", "c", "--from", "first").stdout == lines(10)
    assert ctl("consume", "--topic", "t", "--name", "d", "--from", "4").stdout == rest
    # Without a name nothing is remembered.
    assert ctl("consume", "--topic", "t").stdout == lines(10)
    assert ctl("consume", "--topic", "t").stdout == lines(10)


def test_the_largest_event_goes_through(ctl):
    create(ctl)
    line = '"' + "x" * (64 * 1024 * 1024 - 2) + '"\n'
    ctl("produce", "--topic", "t", stdin=line)
    assert ctl("consume", "--topic", "t").stdout == line


def test_lines_that_are_too_long_are_skipped(ctl):
    create(ctl)
    limit = 64 * 1024 * 1024
    text = "1\n" + "x" * (limit + 1) + "\n2\n" + "x" * (2 * limit) + "\n3\n" + "x" * (limit + 1)
    result = ctl("produce", "--topic", "t", stdin=text, check=False)
    assert result.returncode == 1
    for line in (2, 4, 6):
        assert f"line {line} is longer than the 64 MiB that an event may have" in result.stderr
    assert "sent 3 events" in result.stderr and "3 failed" in result.stderr
    assert ctl("consume", "--topic", "t").stdout == "1\n2\n3\n"


# Many short lines; and few long ones, of which the last makes room for itself by writing those before it.
@pytest.mark.parametrize("text", [lines(100000), ('"' + "x" * 130998 + '"\n') * 4], ids=["short", "long"])
def test_what_could_not_be_written_is_not_acknowledged(ctl, text):
    create(ctl)
    ctl("produce", "--topic", "t", stdin=text)
    with open("/dev/full", "wb") as full:
        consumer = ctl.start("consume", "--topic", "t", "--name", "c", stdout=full)
        assert consumer.wait(10) == 1
    assert b"No space left" in consumer.stderr.read()
    assert ctl("consume", "--topic", "t", "--name", "c").stdout == text


def test_lines_that_are_no_json_are_skipped_and_counted(ctl):
    create(ctl)
    result = ctl("produce", "--topic", "t", stdin='{"a":1}\nnonsense\n\n \t \r\n  null \n[1, 2]\n{"b":\n"last"', check=False)
    assert result.returncode == 1
    assert "line 2: column 2: invalid JSON" in result.stderr
    assert "line 7" in result.stderr
    assert "sent 4 events" in result.stderr and "2 failed" in result.stderr
    assert ctl("consume", "--topic", "t").stdout == '{"a":1}\n  null \n[1, 2]\n"last"\n'


def test_raw_lines_are_text(ctl):
    create(ctl)
    text = 'plain "quoted" \\ back\tslash ü\nsecond\n'
    ctl("produce", "--topic", "t", "--raw", stdin=text)
    assert ctl("consume", "--topic", "t", "--raw").stdout == text
    assert [json.loads(line) for line in ctl("consume", "--topic", "t").stdout.splitlines()] == text.splitlines()


def test_raw_lines_that_are_not_utf8_are_refused(ctl):
    create(ctl)
    producer = ctl.start("produce", "--topic", "t", "--raw", stdin=subprocess.PIPE)
    _, errors = producer.communicate(b"a\n\xff\xfe\nb\n", timeout=20)
    assert producer.returncode == 1
    assert b"line 2 is not UTF-8 text; --raw takes text, use --files for binary data" in errors
    assert ctl("consume", "--topic", "t", "--raw").stdout == "a\nb\n"


def make_tree(root):
    (root / "sub/deeper").mkdir(parents=True)
    (root / "empty").write_bytes(b"")
    (root / "sub/small").write_bytes(os.urandom(1000))
    (root / "sub/deeper/large").write_bytes(os.urandom(6 << 20))
    (root / "sub/name with blanks and ü").write_text("x")
    for i in range(200):
        (root / f"sub/{i}").write_bytes(os.urandom(i * 100))
    (root / "sub/small").chmod(0o751)
    os.utime(root / "sub/small", ns=(0, 1_700_000_000_123_456_789))
    (root / "link").symlink_to("empty")


def assert_same_tree(a, b):
    names = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file() and not p.is_symlink())
    assert names == sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file())
    for name in names:
        assert filecmp.cmp(a / name, b / name, shallow=False), name
        assert stat.S_IMODE((a / name).stat().st_mode) == stat.S_IMODE((b / name).stat().st_mode)
        assert (a / name).stat().st_mtime_ns == (b / name).stat().st_mtime_ns


@pytest.mark.parametrize("partitions", [1, 2])
def test_files_come_back_identical(ctl, workdir, partitions):
    make_tree(workdir / "from")
    create(ctl, partitions=partitions)
    result = ctl("produce", "--topic", "t", "--files", "from")
    assert "sent 204 events" in result.stderr
    assert "1 symbolic link skipped" in result.stderr
    ctl("consume", "--topic", "t", "--into", "into")
    assert_same_tree(workdir / "from", workdir / "into")
    event = json.loads(ctl("consume", "--topic", "t", "--count", "1").stdout)
    assert set(event) == {"name", "size", "mode", "mtime"}


def test_a_consumer_writes_files_while_they_are_sent(ctl, workdir):
    make_tree(workdir / "from")
    create(ctl, partitions=2)
    consumer = ctl.start("consume", "--topic", "t", "--into", "into", "--count", "204")
    ctl("produce", "--topic", "t", "--files", "from")
    assert consumer.wait(60) == 0
    assert_same_tree(workdir / "from", workdir / "into")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_are_reported(ctl, workdir):
    make_tree(workdir / "from")
    (workdir / "from/sub/small").chmod(0)
    create(ctl)
    result = ctl("produce", "--topic", "t", "--files", "from", check=False)
    assert result.returncode == 1
    assert "sub/small: cannot be opened: Permission denied" in result.stderr
    assert "sent 203 events" in result.stderr and "1 failed" in result.stderr


def test_names_cannot_leave_the_directory(ctl, workdir):
    create(ctl)
    evil = ["../evil", "/tmp/evil", "a/../../evil", "", "."]
    ctl("produce", "--topic", "t", stdin="".join(json.dumps({"name": name}) + "\n" for name in evil + ["good"]))
    result = ctl("consume", "--topic", "t", "--into", "sand/box", check=False)
    assert result.returncode == 1
    (workdir / "sand").mkdir()
    result = ctl("consume", "--topic", "t", "--into", "sand/box", check=False)
    assert result.returncode == 1
    assert "5 failed" in result.stderr
    assert sorted(str(p.relative_to(workdir)) for p in (workdir / "sand").rglob("*")) == ["sand/box", "sand/box/good"]
    assert not (workdir / "evil").exists()


def test_events_that_are_no_files_are_complained_about_ten_times(ctl):
    create(ctl)
    ctl("produce", "--topic", "t", stdin=lines(25))
    result = ctl("consume", "--topic", "t", "--into", "into", check=False)
    assert result.returncode == 1
    assert result.stderr.count("made with produce --files?") == 10
    assert "25 failed" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        "diaspora-ctl --help > /dev/full",
        "diaspora-ctl produce --help > /dev/full",
        "diaspora-ctl topic list > /dev/full",
        "diaspora-ctl topic list >&-",
        "diaspora-ctl produce --topic t <&-",
        "diaspora-ctl consume --topic t > /dev/full",
        "diaspora-ctl consume --topic t >&-",
        "diaspora-ctl consume --topic t --into file",
    ],
)
def test_input_and_output_that_do_not_work_are_failures(ctl, workdir, command):
    create(ctl)
    ctl("produce", "--topic", "t", stdin=lines(3))
    (workdir / "file").touch()
    command = command.replace("diaspora-ctl", program("diaspora-ctl"))
    result = subprocess.run(
        ["sh", "-c", command], env={**os.environ, **ctl.env}, stderr=subprocess.PIPE, timeout=20, check=False
    )
    assert result.returncode == 1
    assert result.stderr


def read_lines(process, count):
    return [process.stdout.readline().decode() for _ in range(count)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_following_goes_on_until_it_is_stopped(ctl, number):
    create(ctl)
    ctl("produce", "--topic", "t", stdin=lines(3))
    consumer = ctl.start("consume", "--topic", "t", "--follow", "--name", "c")
    assert read_lines(consumer, 3) == lines(3).splitlines(keepends=True)
    ctl("produce", "--topic", "t", stdin=lines(2))
    assert read_lines(consumer, 2) == lines(2).splitlines(keepends=True)
    consumer.send_signal(number)
    assert consumer.wait(10) == 0
    assert ctl("consume", "--topic", "t", "--name", "c").stdout == ""


def test_an_interrupted_producer_stores_what_it_read(ctl):
    create(ctl)
    producer = ctl.start("produce", "--topic", "t", stdin=subprocess.PIPE)
    producer.stdin.write(lines(5).encode())
    producer.stdin.flush()
    wait_until(lambda: ctl("consume", "--topic", "t").stdout == lines(5), "five events")
    producer.send_signal(signal.SIGTERM)
    assert producer.wait(10) == 128 + signal.SIGTERM


def test_a_reader_that_leaves_ends_the_consumer(ctl):
    create(ctl)
    ctl("produce", "--topic", "t", stdin=lines(100000))
    consumer = ctl.start("consume", "--topic", "t", "--follow")
    assert read_lines(consumer, 1) == ['{"n":0}\n']
    consumer.stdout.close()
    assert consumer.wait(10) == 0


def test_a_reader_that_does_not_read_does_not_hold_up_the_end(ctl):
    create(ctl)
    ctl("produce", "--topic", "t", stdin=lines(100000))
    consumer = ctl.start("consume", "--topic", "t", "--follow")
    read_lines(consumer, 1)
    consumer.send_signal(signal.SIGTERM)
    consumer.wait(10)


def test_a_server_that_dies_is_reported_at_once(ctl, server):
    create(ctl)
    once = ("--driver.reconnect_timeout_ms", "0")
    consumer = ctl.start("consume", "--topic", "t", "--follow", *once)
    producer = ctl.start("produce", "--topic", "t", *once, stdin=subprocess.PIPE)
    producer.stdin.write(lines(5).encode())
    producer.stdin.flush()
    assert read_lines(consumer, 5) == lines(5).splitlines(keepends=True)
    server.kill()
    with contextlib.suppress(BrokenPipeError):  # it may have noticed already
        producer.stdin.write(lines(5).encode())
        producer.stdin.flush()
    assert consumer.wait(10) == 1  # a call would wait for 30 s
    assert producer.wait(10) == 1
    assert b"[error]" in consumer.stderr.read()
    errors = producer.stderr.read().decode()
    assert errors.count("\n") == 2  # the summary and the error, once
    assert errors.count("[error]") == 1
    # What the consumer has seen may not have been confirmed to the producer yet.
    stored = int(re.search(r"sent (\d+) events? .* before the error", errors)[1])
    assert stored <= 5
    assert stored == 0 or f"go on after line {stored}\n" in errors


def test_a_server_that_does_not_answer_does_not_hold_up_the_end(ctl, server):
    create(ctl, partitions=8)
    consumer = ctl.start("consume", "--topic", "t", "--follow")
    ctl("produce", "--topic", "t", stdin=lines(1))
    read_lines(consumer, 1)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        consumer.send_signal(signal.SIGTERM)
        # It is told goodbye once for all partitions, not waited for in each of them.
        assert consumer.wait(20) == 0
    finally:
        os.kill(server.pid, signal.SIGCONT)
