"""Signals end a command in every phase that can be cancelled, and a signal that was ignored stays ignored.

Each process reports the phase it is in, so that nothing here depends on how fast it is. `GRACE_S` is only a guard.
"""

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from integration.cli.harness import COMMAND, Cli

pytestmark = pytest.mark.slow

GRACE_S = 60
IGNORES = """
import os, signal, sys
signal.signal(int(sys.argv[1]), signal.SIG_IGN)
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def started(*command: str, env: dict[str, str] | None = None) -> Generator[subprocess.Popen[bytes]]:
    """A process of its own; it is killed if the block leaves it running."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """The exit code and stderr of a process that is about to end."""
    _, err = process.communicate(timeout=GRACE_S)
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_command_under_way_stops_in_order(cli: Cli, number: signal.Signals) -> None:
    cli.ok("package", "create", "first")
    with started(*COMMAND, "events", "--follow", "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        code, err = ended(process)
    assert code == 128 + number
    assert err.startswith(b"artifactstore: interrupted")
    assert err.count(b"\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(cli: Cli, number: signal.Signals) -> None:
    """So `nohup` and the background jobs of a script work."""
    cli.ok("package", "create", "first")
    with started(sys.executable, "-c", IGNORES, str(int(number)), *COMMAND, "events", "--follow") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        cli.ok("package", "create", "second")
        assert b"\n" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 143


STARTS = """
import signal, sys
from artifactstore.cli import main

slow = sys.argv.pop(1)

class Loading:
    def find_spec(self, name, path, target=None):
        if name == slow:
            sys.meta_path.remove(self)
            print("loading", flush=True)
            signal.pause()  # until there is a handler that raises

sys.meta_path.insert(0, Loading())
main()
"""


@pytest.mark.parametrize("module", ["typer", "trio", "artifactstore.http.process"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_command_that_still_loads_modules_is_ended(cli: Cli, number: signal.Signals, module: str) -> None:
    """By a handler of its own: process 1 of a container is sent no other signal."""
    with started(sys.executable, "-c", STARTS, module, "serve", "--bind", "127.0.0.1:0") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"loading\n"
        process.send_signal(number)
        assert ended(process) == (128 + number, b"artifactstore: interrupted\n")


def test_an_interrupt_before_there_is_a_handler_leaves_no_traceback(cli: Cli) -> None:
    with started(sys.executable, "-c", STARTS, "artifactstore.signals", "package", "list") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"loading\n"
        process.send_signal(signal.SIGINT)
        assert ended(process) == (-signal.SIGINT, b"")


STUCK_LOOP = """
import time
from artifactstore import signals

async def work(stops):
    print("ready", flush=True)
    await stops.receive()
    print("closing", flush=True)
    time.sleep(3600)  # the event loop is stuck

signals.run(work)
"""


def test_a_second_signal_ends_a_stop_that_is_stuck() -> None:
    with started(sys.executable, "-c", STUCK_LOOP) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == b"closing\n"
        process.send_signal(signal.SIGHUP)  # a terminal that closes sends two
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 143
