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


def pytest_collection_modifyitems(config, items):
    """What ctest registers as nightly (DANGO_TEST_NIGHTLY) runs only where DANGO_NIGHTLY is set; of what it registers in
    part (DANGO_TEST_PART: words, any of which a name has) the rest does."""
    if os.environ.get("DANGO_NIGHTLY"):
        return
    if os.environ.get("DANGO_TEST_NIGHTLY"):
        for item in items:
            item.add_marker(pytest.mark.skip(reason="nightly only"))
    if part := os.environ.get("DANGO_TEST_PART"):
        words = part.split(",")
        for word in words:
            assert any(word in item.name for item in items), f"DANGO_TEST_PART: no test has {word!r} in its name"
        rest = [item for item in items if not any(word in item.name for word in words)]
        config.hook.pytest_deselected(items=rest)
        items[:] = [item for item in items if item not in rest]


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
