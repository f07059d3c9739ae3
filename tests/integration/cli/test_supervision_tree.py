"""`artifactstore tree`, and the end of a service that is stuck."""

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from io import StringIO

import pytest
from rich.console import Console

from artifactstore.cli import tree_drawing
from artifactstore.cli.tree_drawing import draw
from artifactstore.json_output import Json
from integration.cli.harness import Cli

pytestmark = pytest.mark.slow

GUARD_S = 60.0

STUCK = """
import threading, sys
import artifactstore.open, artifactstore.tree
from artifactstore.http.listening import Listening
from artifactstore.config import Settings
from artifactstore.http.process import run_service

artifactstore.open._LOOP_BLOCKED_AFTER_S = 0.2

def _block(database):
    return lambda: threading.Event().wait()  # never returns, and never lets the loop run

artifactstore.tree.probe_database = _block
run_service(Settings.load(), Listening("127.0.0.1:0"), drain_s=0, announce=lambda line: print(line, flush=True))
"""

MUTE = """
import fcntl, logging, sys
import artifactstore.http.process, artifactstore.open, artifactstore.tree
from artifactstore.http.listening import Listening
from artifactstore.config import Settings
from artifactstore.http.process import run_service

artifactstore.open._LOOP_BLOCKED_AFTER_S = 0.2
artifactstore.http.process._LAST_WORDS_S = 0.1
logging.basicConfig()

def _log(database):
    return lambda: logging.error("x" * (1 << fcntl.fcntl(sys.stderr, fcntl.F_GETPIPE_SZ).bit_length()))

artifactstore.tree.probe_database = _log
run_service(Settings.load(), Listening("127.0.0.1:0"), drain_s=0, announce=lambda line: print(line, flush=True))
"""

UNSTOPPABLE = """
import trio
from artifactstore.health import HealthActor
from artifactstore.http.listening import Listening
from artifactstore.config import Settings
from artifactstore.http.process import run_service
from artifactstore.supervision import ActorSpec, cell

async def hold_on(self):
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

HealthActor.on_stop = hold_on
ActorSpec.__post_init__ = lambda spec: vars(spec).update(shutdown_timeout_s=0.1)  # its own would take seconds
cell._STALL_GRACE_S = 0.1
run_service(Settings.load(), Listening("127.0.0.1:0"), drain_s=0, announce=lambda line: print(line, flush=True))
"""


def test_tree_shows_every_actor_and_its_state(cli: Cli) -> None:
    cli.create()
    found = cli.json("actors")
    core, health = found["children"]
    assert (found["name"], core["name"], health["name"]) == ("root", "core", "health")
    assert core["strategy"] == "rest_for_one"
    assert [child["name"] for child in core["children"]] == [
        "database",
        "storage",
        "event-writer",
        "projection",
        "ingest",
    ]
    assert {child["state"] for child in [found, core, health, *core["children"]]} == {"running"}


def test_tree_is_drawn_for_people(cli: Cli) -> None:
    cli.create()
    drawn = cli.ok("actors").text
    assert [line.strip("│├└─ ").split()[:2] for line in drawn.splitlines()] == [
        ["root", "running"],
        ["core", "running"],
        ["database", "running"],
        ["storage", "running"],
        ["event-writer", "running"],
        ["projection", "running"],
        ["ingest", "running"],
        ["health", "running"],
    ]


def test_watching_needs_a_running_service(cli: Cli) -> None:
    assert cli.run("actors", "--watch").code == 2
    assert cli.run("actors", "--watch", "--json", "--url", "http://127.0.0.1:1").code == 2


def drawing_of(facts: dict[str, Json]) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(draw({"name": "storage", "state": "running", "starts": 1, **facts}))
    return capture.get()


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"starts": 3}, "restarts 2"),
        ({"mailbox": {"depth": 4, "depth_peak": 9}}, "mailbox 4 (peak 9)"),
        ({"work": [{"message": "StoreFiles", "age_s": 2.5}]}, "StoreFiles for 2.5 s"),
        ({"stall": {"since": 7.0}}, "will not stop, since 7.0"),
        ({"last_failure": {"kind": "OSError", "text": "no space"}}, "last failure OSError: no space"),
    ],
)
def test_what_is_notable_about_an_actor_is_drawn(facts: dict[str, Json], shown: str) -> None:
    assert shown in drawing_of(facts)
    assert shown not in drawing_of({})


def test_watching_draws_what_has_changed_until_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    monkeypatch.setattr(tree_drawing, "Console", lambda: Console(file=screen, force_terminal=True, width=100))
    starts = iter((1, 2, 3))

    def look() -> dict[str, Json]:
        number = next(starts, None)
        if number is None:
            raise KeyboardInterrupt
        return {"name": "storage", "state": "running", "starts": number, "mailbox": {"depth": number, "depth_peak": 3}}

    with pytest.raises(KeyboardInterrupt):
        tree_drawing.show_always(look, every_s=0)
    shown = screen.getvalue()
    assert [f"mailbox {number} (peak 3)" in shown for number in (1, 2, 3)] == [True] * 3
    assert [f"restarts {number}" in shown for number in (0, 1, 2, 3)] == [False, True, True, False]


def test_a_service_with_an_actor_that_never_stops_ends_itself_too(cli: Cli) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", UNSTOPPABLE], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as service:
        assert service.stdout is not None
        assert b"/health" in service.stdout.readline()
        service.send_signal(signal.SIGTERM)
        _out, err = service.communicate()
    assert service.returncode == 70
    assert b"root/health does not stop" in err
    assert b"hold_on" in err, "it shows where it stands"


def test_a_service_whose_loop_is_blocked_ends_itself_with_its_own_exit_code(cli: Cli) -> None:
    command = [sys.executable, "-c", STUCK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as service:
        assert service.stdout is not None
        line = service.stdout.readline().decode()
        found = re.search(r"http://[\d.:]+/health", line)
        assert found is not None, line
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(found.group(0), timeout=GUARD_S)
        _out, err = service.communicate()
    assert service.returncode == 70
    assert re.search(rb"the event loop has been blocked for [\d.]+ s by root/health\n", err)
    assert b"_block" in err or b"wait" in err


def test_a_service_that_is_blocked_by_its_log_ends_itself_too(cli: Cli) -> None:
    with subprocess.Popen([sys.executable, "-c", MUTE], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as service:
        try:
            assert service.stdout is not None
            line = service.stdout.readline().decode()
            found = re.search(r"http://[\d.:]+/health", line)
            assert found is not None, line
            with pytest.raises((urllib.error.URLError, ConnectionError)):
                urllib.request.urlopen(found.group(0), timeout=GUARD_S)
            assert service.wait(GUARD_S) == 70, "although nobody has read what it logs"
        finally:
            service.kill()
