"""The command line as tests drive it: in this process where that is enough, as a process of its own where it counts.

`Cli` knows one store, named by the environment. Whatever a command prints is taken to the byte, and `state` is
everything of the store that lasts, so that a test can say that a refused command left nothing behind.
"""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from artifactstore.cli.app import run
from stored_objects import Row, object_in, stored_below

__all__ = ["COMMAND", "Cli", "Facts", "Ran", "State", "make_tree", "sequences"]

type Facts = dict[str, Any]
type Argument = str | Path

COMMAND = (sys.executable, "-W", "error", "-m", "artifactstore")


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one command."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def json(self) -> Facts:
        """The one line of JSON on stdout."""
        (line,) = self.json_lines
        return line

    @property
    def json_lines(self) -> list[Facts]:
        return [json.loads(line) for line in self.text.splitlines()]


@dataclass(frozen=True, slots=True)
class State:
    """What a store holds: every row of every table, and every file below the object root."""

    rows: dict[str, list[tuple[object, ...]]]
    files: list[str]


class Cli:
    """The command line on one store.

    Attributes:
        directory: the current directory of every command; trees are made in it.
        database: the store's SQLite file.
        objects: root of its objects.
    """

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[bytes]) -> None:
        self.directory = directory
        self.database = directory / "store" / "log.db"
        self.objects = directory / "store" / "objects"
        self._capture = capture

    def run(self, *arguments: Argument) -> Ran:
        """Run a command in this process."""
        self._capture.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = self._capture.readouterr()
        return Ran(code, out, err.decode())

    def ok(self, *arguments: Argument) -> Ran:
        """Run a command that must do its work without a word on stderr."""
        ran = self.run(*arguments)
        assert (ran.code, ran.err) == (0, "")
        return ran

    def json(self, *arguments: Argument) -> Facts:
        """The one JSON object that a command prints."""
        return self.ok(*arguments, "--json").json

    def json_lines(self, *arguments: Argument) -> list[Facts]:
        """The JSON objects that a command prints, a line each."""
        return self.ok(*arguments, "--json").json_lines

    def refused(self, *arguments: Argument, code: int = 1) -> str:
        """Run a command that must be refused: the one line on stderr that says so, without its newline."""
        line, notes = self._refused(*arguments, code=code)
        assert notes == []
        return line

    def _refused(self, *arguments: Argument, code: int = 1) -> tuple[str, list[str]]:
        """Run a command that must be refused: the line on stderr that says so, and the indented notes below it."""
        ran = self.run(*arguments)
        assert (ran.code, ran.out) == (code, b""), ran
        assert ran.err.startswith("artifactstore: "), ran.err
        assert ran.err.endswith("\n"), ran.err
        line, *notes = ran.err.removeprefix("artifactstore: ").removesuffix("\n").split("\n")
        assert all(each.isprintable() for each in (line, *notes)), ran.err
        assert all(note.startswith("  ") for note in notes), ran.err
        return line, [note.removeprefix("  ") for note in notes]

    def create(self) -> None:
        """Set the store up, if it is not there yet, with an empty log."""
        if not self.database.exists():
            self.ok("migrate", "--quiet")

    def refused_without_a_trace(self, *arguments: Argument) -> str:
        """As `refused`, and the store must hold exactly what it held before."""
        self.create()
        before = self.state()
        line = self.refused(*arguments)
        assert self.state() == before
        return line

    def refused_entries(self, *arguments: Argument) -> tuple[str, list[str]]:
        """As `refused_without_a_trace`, for several entries at once: the line, and the note about each entry."""
        self.create()
        before = self.state()
        line, notes = self._refused(*arguments)
        assert self.state() == before
        return line, notes

    def refused_but_for_bytes(self, *arguments: Argument) -> str:
        """As `refused_without_a_trace`, but contents that no package has may have been stored on the way."""
        self.create()
        before = self.state()
        line = self.refused(*arguments)
        after = self.state()
        assert after.rows == before.rows
        assert all(path.startswith("blake3/") for path in after.files)
        return line

    def process(self, *arguments: Argument, stdout: int | IO[bytes] = subprocess.PIPE) -> Ran:
        """Run a command as a process of its own, to its end."""
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        return Ran(done.returncode, done.stdout or b"", done.stderr.decode())

    @contextmanager
    def started(
        self, *arguments: Argument, stdout: int | IO[bytes] = subprocess.PIPE, stderr: int = subprocess.PIPE
    ) -> Generator[subprocess.Popen[bytes]]:
        """Start a command as a process of its own; it is killed if the block leaves it running."""
        command = [*COMMAND, *map(str, arguments)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr) as process:
            try:
                yield process
            finally:
                process.kill()

    def state(self) -> State:
        rows: dict[str, list[tuple[object, ...]]] = {}
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                rows[table] = sorted(connection.execute(f'SELECT * FROM "{table}"').fetchall(), key=repr)  # noqa: S608
        return State(rows, self.stored_files())

    def stored_files(self) -> list[str]:
        """The keys of objects that are rows, and every other file below the object root, but for the files caches."""
        return stored_below(self.objects)

    def object_of(self, content_address: str) -> Path | Row:
        """Where an object is, by the documented layout."""
        return object_in(self.objects, content_address)

    @contextmanager
    def tables(self) -> Generator[sqlite3.Connection]:
        """The database, to be changed behind the store's back."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            yield connection


def make_tree(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below a directory, which is made."""
    root.mkdir(parents=True)
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


def sequences(lines: Sequence[Facts]) -> list[int]:
    """The sequences of events, as they were printed."""
    return [line["sequence"] for line in lines]
