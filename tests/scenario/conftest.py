"""Fixtures of the scenarios: see support.py."""

import os

import pytest

from support import Servers


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """An empty directory of the test, which is also its working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def servers(workdir, request):
    """Starts processes in the working directory; they end with the test, their output is shown when it failed."""
    started = Servers(workdir)
    yield started
    started.end_all()
    if getattr(request.node, "failed", False):
        print(started.report())


def pytest_collection_modifyitems(items):
    """What ctest registers as nightly (DANGO_TEST_NIGHTLY) runs only where DANGO_NIGHTLY is set."""
    if os.environ.get("DANGO_TEST_NIGHTLY") and not os.environ.get("DANGO_NIGHTLY"):
        for item in items:
            item.add_marker(pytest.mark.skip(reason="nightly only"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.failed = outcome.get_result().failed


# What ctest takes for "skipped" (SKIP_RETURN_CODE).
ALL_SKIPPED = 77


def pytest_sessionfinish(session, exitstatus):
    """Tests of which none could run have not passed: the machine does not permit or does not have what they need."""
    stats = session.config.pluginmanager.get_plugin("terminalreporter").stats
    if exitstatus == 0 and stats.get("skipped") and not stats.get("passed"):
        session.exitstatus = ALL_SKIPPED
