"""What holds for every test."""

import os
import signal
from collections.abc import Generator

import pytest

from repeated_migration import repeated_migration


def pytest_configure() -> None:
    """Set up what the processes that tests start inherit.

    They are not measured for coverage: one that a test limits, closes the streams of or kills would fail or say more.
    They show no progress, since on a busy machine any command can take so long that it would.
    Signals have their defaults, although a suite under nohup ignores SIGHUP, and one in a script's background SIGINT.
    """
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        if "PYTEST_XDIST_WORKER" in os.environ:
            del os.environ[name]
    os.environ["ARTIFACTSTORE_PROGRESS"] = "none"
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _quick_set_up() -> Generator[None]:
    """Run Alembic once in this process. The processes that tests start always run it."""
    with repeated_migration():
        yield
