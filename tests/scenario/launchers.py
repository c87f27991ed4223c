"""Starting daemons by mpirun, for the scenarios that need it."""

import contextlib
import os
import shutil

import pytest

from support import BUILD, marked, wait_until

needs_mpi = [
    pytest.mark.skipif(not shutil.which("mpirun"), reason="mpirun is not installed (openmpi-bin)"),
    pytest.mark.skipif(not (BUILD / "lib/libdango-mpi.so").exists(), reason="the MPI plug-in was not built"),
]

# Open MPI refuses to run as root, and more processes than cores, unless told to; and it does not free what it allocates.
MPI_ENVIRONMENT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                   "ASAN_OPTIONS": "detect_leaks=0"}


def mpirun(servers, count, protocol, config_file, *options, arguments=(), env=None):
    """mpirun … bedrock PROTOCOL -c CONFIG, as one process of the test."""
    command = ["mpirun", "--oversubscribe", *options, "-n", count, BUILD / "bin/bedrock", protocol, "-c", config_file]
    return servers.start([str(word) for word in [*command, *arguments]], env={**MPI_ENVIRONMENT, **(env or {})})


def wait_until_running(job, count):
    def running():
        assert job.running() or job.output().count("now running at") >= count, job.output()
        return job.output().count("now running at") >= count

    wait_until(running, f"{count} running daemons")


def daemons(workdir):
    """Process ids of all daemons that tests in this directory have started, also by a launcher."""
    for pid in marked(workdir):
        with contextlib.suppress(OSError):
            if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "bedrock":
                yield pid
