"""A real pgbouncer between a test and the server, where there is one on this machine.

In transaction mode it lends a session for one transaction at a time, and has fewer sessions than its clients have
connections; so whatever relies on a session of its own fails soon. In session mode each client has its own.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from postgres_server import PostgresServer, server_user

__all__ = ["PGBOUNCER", "PoolMode", "pooled"]

type PoolMode = Literal["transaction", "session"]

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin")
"""The program, if it is installed."""

_PORT = 6432
_SESSIONS: dict[PoolMode, int] = {"transaction": 2, "session": 30}
_CONFIGURATION = """
[databases]
* = host={server}

[pgbouncer]
pool_mode = {mode}
default_pool_size = {sessions}
max_client_conn = 50
auth_type = trust
auth_file = {directory}/users
listen_port = {port}
unix_socket_dir = {directory}
"""


@contextmanager
def pooled(server: PostgresServer, database: str, mode: PoolMode = "transaction") -> Generator[str]:
    """Run one; what is given is a database's URL that leads through it."""
    if PGBOUNCER is None:
        raise RuntimeError("pgbouncer is not installed")
    user = server_user()
    with tempfile.TemporaryDirectory(prefix="artifactstore-pooler-") as name:
        directory = Path(name)
        (directory / "users").write_text('"postgres" ""\n')
        configuration = directory / "pgbouncer.ini"
        configuration.write_text(
            _CONFIGURATION.format(
                server=server.socket_directory, directory=directory, port=_PORT, mode=mode, sessions=_SESSIONS[mode]
            )
        )
        if user is not None:
            shutil.chown(directory, user)
        with subprocess.Popen(
            [PGBOUNCER, "--quiet", str(configuration)],
            user=user,
            extra_groups=None if user is None else [],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                _wait_for(directory / f".s.PGSQL.{_PORT}", process)
                yield f"postgresql://postgres@/{database}?host={directory}&port={_PORT}"
            finally:
                process.kill()


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens there."""
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"pgbouncer ended with exit code {process.returncode}")
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.02)
            else:
                return
