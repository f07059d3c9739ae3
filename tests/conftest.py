"""What holds for every test."""

import os


def pytest_configure() -> None:
    """Measure coverage in the processes of the suite, and not in those that tests start.

    A process that a test limits, closes the streams of or kills would fail or say more under measurement.
    """
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        if "PYTEST_XDIST_WORKER" in os.environ:
            del os.environ[name]
