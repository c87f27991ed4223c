"""The support library itself: deadlines, own processes only, output on failure."""

import signal
import sys

import pytest

from conftest import ALL_SKIPPED
from support import ROOT, marked, run, wait_until


def test_run_reports_status_and_output(workdir):
    assert run(["sh", "-c", "echo out; cat"], stdin="in").stdout == "out\nin"
    with pytest.raises(AssertionError, match="exit status 3\n.*why"):
        run(["sh", "-c", "echo why; exit 3"])
    assert run(["false"], check=False).returncode == 1


def test_wait_until_names_what_did_not_happen():
    assert wait_until(lambda: 7, "seven") == 7
    with pytest.raises(AssertionError, match="still not: the impossible"):
        wait_until(lambda: False, "the impossible", timeout_s=0.05)


def test_output_of_a_process_is_waited_for(servers):
    process = servers.start(["sh", "-c", "echo ready 42; exec sleep 1000"])
    assert process.wait_for_output(r"ready (\d+)").group(1) == "42"
    process.signal(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM


def test_a_process_that_ends_early_is_reported_at_once(servers):
    process = servers.start(["sh", "-c", "echo broken; exit 5"])
    with pytest.raises(AssertionError, match="ended with status 5:\nbroken"):
        process.wait_for_output("ready")


def test_processes_end_with_their_test(servers):
    process = servers.start(["sleep", "1000"])
    servers.end_all()
    assert not process.running()


def test_what_they_have_started_ends_too(servers, workdir):
    process = servers.start(["sh", "-c", "setsid sleep 1000 & echo started; wait"])
    process.wait_for_output("started")
    wait_until(lambda: len(list(marked(workdir))) >= 2, "two processes")
    servers.end_all()
    wait_until(lambda: not list(marked(workdir)), "no process left")


def test_a_file_of_skipped_tests_is_skipped(workdir):
    skipped = "import pytest\n\n\ndef test_a():\n    pytest.skip('not here')\n"
    for name, text, status in [("some", skipped + "\n\ndef test_b():\n    pass\n", 0), ("all", skipped, ALL_SKIPPED)]:
        folder = workdir / name
        folder.mkdir()
        (folder / "conftest.py").write_text((ROOT / "tests/scenario/conftest.py").read_text())
        (folder / "test_it.py").write_text(text)
        result = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder], check=False)
        assert result.returncode == status, result.stdout
