"""Log lines: text for a person and JSON elsewhere, who and what they are about, and nothing that nobody may see."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NoReturn, override

import pytest

from artifactstore.cli.logging_setup import logging_to, passwords_in
from artifactstore.database.errors import DatabaseUnavailable
from artifactstore.supervision.requests import request_named
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.storage import StorageFull

ours = logging.getLogger("artifactstore.test")
theirs = logging.getLogger("sqlalchemy.pool")

type Line = dict[str, Any]


class Terminal(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


def written(act: Callable[[], None], *, level: str = "DEBUG", secrets: tuple[str, ...] = ()) -> list[Line]:
    """The JSON lines that come of an act."""
    stream = io.StringIO()
    with logging_to(stream, level, secrets=secrets):
        act()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def shown(act: Callable[[], None]) -> str:
    """What a person sees of an act."""
    terminal = Terminal()
    with logging_to(terminal, "DEBUG"):
        act()
    return terminal.getvalue()


def failed(error: BaseException) -> None:
    def fail() -> NoReturn:
        raise error

    try:
        fail()
    except BaseException as raised:
        ours.error("it failed", exc_info=raised)


def test_a_line_says_what_where_and_on_whose_behalf() -> None:
    with request_named("r9"):
        (line,) = written(lambda: ours.info("%d files", 3, extra={"package": "p", "actor": "root/core/ingest"}))
    assert line.pop("time").endswith("Z")
    assert line.pop("pid") > 0
    assert line == {
        "level": "info",
        "logger": "artifactstore.test",
        "message": "3 files",
        "actor": "root/core/ingest",
        "request": "r9",
        "package": "p",
    }


def test_a_person_gets_a_line_of_text() -> None:
    text = shown(lambda: ours.warning("two\nlines \x1b[2J", extra={"package": "p\n"}))
    assert text.endswith("Z warning two\n  lines \\x1b[2J  (package p\\n)\n")
    assert shown(lambda: ours.info("alone")).endswith("Z info    alone\n")
    failure = shown(lambda: failed(OSError(28, "No space left")))
    assert failure.splitlines()[-1] == "  OSError: No space left"
    assert all(line.startswith("  ") for line in failure.splitlines()[1:])


@pytest.mark.parametrize(("level", "expected"), [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)])
def test_the_level_is_of_our_own_loggers(level: str, expected: int) -> None:
    def say() -> None:
        for logger in (ours, theirs):
            for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
                logger.log(number, "said")

    lines = written(say, level=level)
    assert sum(line["logger"] == ours.name for line in lines) == expected
    assert [line["level"] for line in lines if line["logger"] == theirs.name] == ["warning", "error"]


def test_logging_is_afterwards_as_it_was() -> None:
    root, logger = logging.getLogger(), logging.getLogger("artifactstore")
    before = root.level, list(root.handlers), logger.level
    assert len(written(lambda: ours.debug("once"))) == 1
    assert (root.level, list(root.handlers), logger.level) == before


def test_what_others_fill_in_is_left_out() -> None:
    def say() -> None:
        theirs.error("cannot clean up %r", "PAYLOAD")
        logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <Task PAYLOAD>")

    assert [line["message"] for line in written(say)] == ["cannot clean up %r", "Task exception was never retrieved"]


def caused() -> Exception:
    error = KeyError("PAYLOAD")
    error.__cause__ = ValueError("PAYLOAD")
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("PAYLOAD"),
        InvalidValue("metadata value", "PAYLOAD", "use less"),
        caused(),
        ExceptionGroup("PAYLOAD", [ValueError("PAYLOAD"), caused()]),
        UnicodeDecodeError("utf-8", b"PAYLOAD", 0, 1, "PAYLOAD"),
        OSError("PAYLOAD"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_of_a_failure_its_type_and_place_are_shown_and_not_what_it_met(error: Exception) -> None:
    (line,) = written(lambda: failed(error))
    assert "PAYLOAD" not in json.dumps(line)
    assert type(error).__name__ in line["error"]
    assert "in failed" in line["error"]
    if error.__cause__:
        assert "\ncaused by\nValueError" in line["error"]


@pytest.mark.parametrize(
    "error", [StorageFull("local", "writing", "ENOSPC"), DatabaseUnavailable("log.db", "disk I/O error")], ids=str
)
def test_what_the_storage_or_the_database_reported_is_shown(error: Exception) -> None:
    (line,) = written(lambda: failed(error))
    assert str(error) in line["error"]


def test_a_chain_of_causes_is_bounded() -> None:
    error = ValueError()
    for _ in range(100):
        outer = ValueError()
        outer.__cause__ = error
        error = outer
    (line,) = written(lambda: failed(error))
    assert line["error"].count("ValueError") == 8


def test_a_password_is_blotted_out_however_it_got_there() -> None:
    secrets = passwords_in("postgresql://me:p%40ss%22word@host/name")
    assert set(secrets) == {'p@ss"word', "p%40ss%22word"}
    (line,) = written(lambda: ours.error('by p@ss"word or p%%40ss%%22word %s', 1), secrets=secrets)
    assert line["message"] == "by *** or *** 1"
    assert passwords_in("postgresql://me:p/w?o#rd@host/name") == ("p/w?o#rd",), "as SQLAlchemy reads it"
    assert passwords_in("postgresql://me@host/name") == passwords_in("postgresql://me:@host/name") == ()
    assert passwords_in("sqlite:///file") == passwords_in("postgresql://[nothing") == ()


def test_a_reader_that_is_gone_is_no_error() -> None:
    stream = io.StringIO()
    with logging_to(stream, "INFO"):
        stream.close()
        ours.error("discarded")


@pytest.mark.slow
def test_a_library_configures_nothing() -> None:
    program = """
import logging
import artifactstore.blocking, artifactstore.aio, artifactstore.cli.app
assert logging.getLogger().handlers == []
assert logging.getLogger("artifactstore").handlers == []
assert logging.getLogger("artifactstore").level == logging.NOTSET
"""
    subprocess.run([sys.executable, "-c", program], check=True)
