"""Progress as lines: what they say, when they come, and that the thread behind them ends with the command."""

import json
import threading
from collections.abc import Callable

import pytest
from msgspec import Struct

from artifactstore.cli.output import progress_bar, quiet_restored, show_progress, silence
from artifactstore.cli.progress_lines import (
    JSON_EVERY_S,
    PLAIN_EVERY_S,
    ProgressLines,
    elapsed_text,
    progress_lines,
)
from artifactstore_protocols.collection import CollectionProgress
from artifactstore_protocols.records import IngestProgress, ReplayProgress, TransferProgress, VerifyProgress

SCANNING = IngestProgress(0, 3000, 0, 5 << 20, scanning=True)
STORING = IngestProgress(120, 3000, 1 << 20, 5 << 20)


class Pace:
    """A clock, and a wait that moves it. After each wait the command has the next counts; None are no new ones."""

    def __init__(self, *counts: Struct | None) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self._counts = list(counts)
        self._show: Callable[[Struct], None] | None = None
        self._begun, self._ran_out = threading.Event(), threading.Event()

    def clock(self) -> float:
        return self.now

    def wait(self, over: threading.Event, seconds: float) -> bool:
        self._begun.wait()
        if not self._counts:
            self._ran_out.set()
            return over.wait()
        self.waits.append(seconds)
        self.now += seconds
        counts = self._counts.pop(0)
        if counts is not None and self._show is not None:
            self._show(counts)
        return False

    def run(self, show: Callable[[Struct], None]) -> None:
        """Work until all counts were told."""
        self._show = show
        self._begun.set()
        self._ran_out.wait()


def test_text_comes_at_every_interval_whatever_the_command_does(capsys: pytest.CaptureFixture[str]) -> None:
    pace = Pace(None, SCANNING, STORING, None)
    with progress_lines("ingest", "plain", clock=pace.clock, wait=pace.wait) as show:
        pace.run(show)
    assert capsys.readouterr().err.splitlines() == [
        "artifactstore: ingest: starting, 0:00:05",
        "artifactstore: ingest: 3000 files found, 5.0 MiB, 0:00:10",
        "artifactstore: ingest: 120 of 3000 files, 1.0 MiB of 5.0 MiB, 0:00:15",
        "artifactstore: ingest: 120 of 3000 files, 1.0 MiB of 5.0 MiB, 0:00:20",
    ]
    assert pace.waits == [PLAIN_EVERY_S] * 4


def test_a_command_that_is_done_before_the_first_interval_prints_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_lines("ingest", "plain", wait=lambda over, _seconds: over.wait()) as show:
        show(STORING)
    assert capsys.readouterr() == ("", "")
    assert "progress" not in {thread.name for thread in threading.enumerate()}


def test_json_comes_at_the_start_at_every_interval_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    pace = Pace(SCANNING, STORING)
    with progress_lines("ingest", "json", clock=pace.clock, wait=pace.wait) as show:
        pace.run(show)
        show(IngestProgress(3000, 3000, 5 << 20, 5 << 20))
    names = ("phase", "files_done", "files_total", "bytes_done", "bytes_total", "elapsed_s")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [tuple(line[name] for name in names) for line in lines] == [
        ("start", None, None, None, None, 0.0),
        ("scan", 0, 3000, 0, 5 << 20, 1.0),
        ("run", 120, 3000, 1 << 20, 5 << 20, 2.0),
        ("done", 3000, 3000, 5 << 20, 5 << 20, 2.0),
    ]
    assert all(tuple(line) == ("command", *names) for line in lines)
    assert pace.waits == [JSON_EVERY_S] * 2


def test_json_ends_with_a_failure_that_is_raised_on(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with progress_lines("verify", "json", wait=lambda over, _seconds: over.wait()) as show:
            show(VerifyProgress(1, 3, 10, 30))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    first, last = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert first["phase"] == "start"
    assert (last["phase"], last["objects_done"], last["objects_total"]) == ("failed", 1, 3)


@pytest.mark.parametrize(
    ("counts", "text", "keys"),
    [
        (VerifyProgress(1, 3, 10, 30), "1 of 3 objects, 10 B of 30 B", {"objects_done", "objects_total"}),
        (ReplayProgress(7, 9), "7 of 9 events", {"events_done", "events_total"}),
        (CollectionProgress(239, 2048), "239 objects, 2.0 KiB", {"objects_done", "objects_total"}),
        (TransferProgress(7, 9, 2048, None), "7 of 9 events, 2.0 KiB", {"events_done", "events_total"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_command_says_what_it_counts(counts: Struct, text: str, keys: set[str]) -> None:
    plain, tools = (ProgressLines("x", form, lambda: 0.0) for form in ("plain", "json"))
    for lines in (plain, tools):
        lines.show(counts)
    assert plain.line("run") == f"artifactstore: x: {text}, 0:00:00"
    fields = json.loads(tools.line("run"))
    always = {"command", "phase", "files_done", "files_total", "bytes_done", "bytes_total", "elapsed_s"}
    assert set(fields) == always | keys
    assert fields["bytes_total"] == getattr(counts, "bytes_total", None)


def test_elapsed_time_is_hours_minutes_and_seconds() -> None:
    assert [elapsed_text(seconds) for seconds in (0, 59.9, 65, 3600, 360_000)] == [
        "0:00:00",
        "0:00:59",
        "0:01:05",
        "1:00:00",
        "100:00:00",
    ]


def test_quiet_wins_over_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet_restored():
        show_progress("json")
        silence()
        with progress_bar("ingest") as show:
            assert show is None
    with quiet_restored():
        show_progress("json")
        with progress_bar("ingest") as show:
            assert show is not None
    assert len(capsys.readouterr().err.splitlines()) == 2, "the start and the end of the second one"


def test_a_form_is_forgotten_with_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet_restored():
        show_progress("none")
        with progress_bar("ingest") as show:
            assert show is None
    with quiet_restored(), progress_bar("ingest") as show:
        assert show is not None, "stderr is no terminal, so these are lines of text"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("term", "drawn"), [("xterm", True), ("dumb", False)])
def test_a_bar_is_for_a_terminal_that_can_move_its_cursor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, term: str, drawn: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with quiet_restored(), progress_bar("ingest") as show:
        assert show is not None
        show(STORING)
    assert ("\x1b" in capsys.readouterr().err) is drawn
