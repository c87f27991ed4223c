"""Support for tests that start real processes: servers, commands, waiting for conditions.

A scenario is a pytest file in tests/scenario/. It gets its processes from the fixtures of conftest.py:

    def test_query_shows_the_provider(servers, workdir):
        server = servers.bedrock({"libraries": ["libyokan-bedrock-module.so"], "providers": [...]})
        document = json.loads(run(["bedrock-query", "na+sm", "-a", server.address]).stdout)
        assert server.address in document
        server.stop()                        # SIGTERM, and asserts exit status 0

Rules that this file keeps, so that a scenario need not think of them:

* Everything has a deadline (seconds on the monotonic clock); nothing sleeps as synchronisation: wait_until polls a
  condition that the test names, and says which one when it gives up.
* Only processes started here are ended, each by its own pid. They are ended when the test ends, whatever happened,
  and by the kernel when the test runner itself dies.
* Every process runs in the test's temporary directory; its output goes to files there, which are shown on failure.

Programs are taken from the build directory named by DANGO_BUILD (set by ctest; default: build/ of this repository).
Servers run on the transport named by DANGO_TEST_PROTOCOL (default: na+sm).
"""

import contextlib
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("DANGO_BUILD", ROOT / "build")).resolve()

# Sanitizer builds on a busy machine are an order of magnitude slower than the real thing.
SLOWNESS = float(os.environ.get("DANGO_TEST_SLOWNESS", "1"))
PROTOCOL = os.environ.get("DANGO_TEST_PROTOCOL", "na+sm")
START_TIMEOUT_S = 20 * SLOWNESS
STOP_TIMEOUT_S = 20 * SLOWNESS
COMMAND_TIMEOUT_S = 60 * SLOWNESS

RUNNING = re.compile(r"Bedrock daemon now running at (\S+)")
PR_SET_PDEATHSIG = 1


def program(name):
    """Path of a program of the build; plain names that are not ours (mpirun, …) are looked up in PATH."""
    for folder in ("bin", "tests", "bench"):
        candidate = BUILD / folder / name
        if candidate.is_file():
            return str(candidate)
    found = shutil.which(name)
    assert found, f"no program {name!r} in {BUILD}/bin nor in PATH"
    return found


def wait_until(condition, what, timeout_s=START_TIMEOUT_S):
    """Polls condition() until it returns something true, and returns that; fails with `what` after the deadline."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.001
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"after {timeout_s:g} s still not: {what}"
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)


def run(command, cwd=None, timeout_s=COMMAND_TIMEOUT_S, check=True, stdin=None, env=None):
    """Runs a command to its end. check=True asserts exit status 0 and shows the output otherwise."""
    command = [program(str(command[0]))] + [str(word) for word in command[1:]]
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        preexec_fn=die_with_parent,
    )
    if check:
        assert result.returncode == 0, (
            f"{' '.join(command)}: exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
        )
    return result


def die_with_parent():
    """In the child, before exec: the kernel ends it when the test runner dies; no core files."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# In the environment of all processes of a test, and of those that they start.
MARK = "DANGO_TEST_WORKDIR"


def marked(workdir):
    """Ids of the processes that tests in this directory have started, directly or not."""
    mark = f"{MARK}={workdir}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


class Process:
    """A process of the test with its output in <name>.log of the working directory."""

    def __init__(self, command, workdir, name, env=None):
        self.name = name
        self.log_path = Path(workdir) / f"{name}.log"
        self.command = [program(str(command[0]))] + [str(word) for word in command[1:]]
        with open(self.log_path, "wb") as log:
            self.popen = subprocess.Popen(
                self.command,
                cwd=workdir,
                env={**os.environ, **(env or {}), MARK: str(workdir)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self):
        return self.popen.pid

    def output(self):
        return self.log_path.read_text(errors="replace")

    def running(self):
        return self.popen.poll() is None

    def wait(self, timeout_s=COMMAND_TIMEOUT_S):
        """Exit status once the process has ended by itself."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout_s:g} s:\n{self.output()}") from None

    def wait_for_output(self, pattern, timeout_s=START_TIMEOUT_S):
        """The match of a regular expression in the output; fails early when the process ends without it."""
        expression = re.compile(pattern)

        def found():
            ended = not self.running()
            match = expression.search(self.output())
            assert match or not ended, f"{self.name} ended with status {self.popen.returncode}:\n{self.output()}"
            return match

        return wait_until(found, f"{expression.pattern!r} in the output of {self.name}", timeout_s)

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self, timeout_s=STOP_TIMEOUT_S):
        """Orderly end by SIGTERM; asserts exit status 0."""
        self.signal(signal.SIGTERM)
        status = self.wait(timeout_s)
        assert status == 0, f"{self.name}: exit status {status} after SIGTERM\n{self.output()}"

    def kill(self):
        """The hard way: SIGKILL, as in a crash."""
        if self.running():
            self.popen.kill()
        self.popen.wait()

    def cpu_time_s(self):
        """User and system time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self):
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class Bedrock(Process):
    """A bedrock daemon; `address` is known once it runs."""

    def __init__(self, config, workdir, name, protocol=PROTOCOL, arguments=(), env=None, prefix=()):
        config_path = Path(workdir) / f"{name}.config.json"
        config_path.write_text(config if isinstance(config, str) else json.dumps(config, indent=4))
        command = [*prefix, program("bedrock"), protocol, "-c", config_path, *arguments]
        super().__init__(command, workdir, name, env)
        self.address = None

    def wait_until_running(self, timeout_s=START_TIMEOUT_S):
        self.address = self.wait_for_output(RUNNING.pattern, timeout_s).group(1)
        return self


class Servers:
    """Starts processes for one test and ends those that still run when the test is over."""

    def __init__(self, workdir):
        self.workdir = Path(workdir)
        self.started = []

    def start(self, command, name=None, env=None):
        """Any long-running command."""
        process = Process(command, self.workdir, name or f"{Path(command[0]).name}-{len(self.started)}", env)
        self.started.append(process)
        return process

    def bedrock(self, config, protocol=PROTOCOL, arguments=(), name=None, env=None, wait=True, prefix=()):
        """A bedrock daemon from a configuration (dictionary or text); waits until it runs unless told otherwise. prefix:
        a command that runs another one in its own place, such as "ip netns exec NAME"."""
        server = Bedrock(config, self.workdir, name or f"bedrock-{len(self.started)}", protocol, arguments, env, prefix)
        self.started.append(server)
        return server.wait_until_running() if wait else server

    def end_all(self):
        for process in self.started:
            process.kill()
        # What a launcher has started does not always end with it.
        for pid in marked(self.workdir):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def report(self):
        """Tails of all outputs, for the report of a failed test."""
        return "\n".join(f"--- {p.name} (pid {p.pid})\n{p.output()[-4000:]}" for p in self.started)
