"""The manual's two roles on PostgreSQL: the one that works can do all but migrate, and cannot take an event back."""

import re
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from artifactstore.cli.app import run
from documents import ROOT, named
from postgres_server import PostgresServer, client_programs

OPERATOR = ROOT / "docs" / "OPERATOR.md"
OWNER, WORKER = "store_owner", "store"

type Psql = Callable[[str, str, str], subprocess.CompletedProcess[str]]


@pytest.fixture
def psql(postgres_server: PostgresServer) -> Psql:
    """Runs statements: as whom, where, and which."""

    def execute(role: str, database: str, statements: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                str(client_programs() / "psql"),
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                f"postgresql://{role}@/{database}?host={postgres_server.socket_directory}",
            ],
            input=statements,
            capture_output=True,
            text=True,
            check=False,
        )

    return execute


@pytest.fixture
def roles(postgres_server: PostgresServer, psql: Psql) -> Generator[None]:
    """An administrator has done what the manual says."""
    made = psql("postgres", "postgres", named(OPERATOR, "roles.sql").code)
    assert (made.returncode, made.stderr) == (0, "")
    yield
    postgres_server.execute(f"DROP DATABASE {WORKER}", f"DROP ROLE {WORKER}", f"DROP ROLE {OWNER}")


class Shell:
    """Runs commands as one of the roles."""

    def __init__(self, server: PostgresServer, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self._server, self._patch = server, patch
        patch.chdir(directory)
        patch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(directory / "objects"))

    def code(self, role: str, command: str) -> int:
        url = f"postgresql://{role}@/{WORKER}?host={self._server.socket_directory}"
        self._patch.setenv("ARTIFACTSTORE_DATABASE_URL", url)
        return run(command.split())


@pytest.fixture
def shell(postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A directory with something in it."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.txt").write_text("a\n")
    return Shell(postgres_server, tmp_path, monkeypatch)


COMMANDS = """
doctor
ingest tree --name first
ingest tree --name keyed --idempotency-key key
package create second
package add second tree
package finalize second
package list
package show first
manifest second
get second a.txt
export second restored
verify
replay --check
replay
events
events --export log.cbor
events --import log.cbor
audit
backup copy
health
tree
"""


def test_the_working_role_can_do_all_but_migrate(
    roles: None, psql: Psql, shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.code(WORKER, "ingest tree") == 1
    assert "permission denied for schema public" in capsys.readouterr().err, "it sets nothing up"
    assert shell.code(OWNER, "migrate") == 0
    granted = psql(OWNER, WORKER, named(OPERATOR, "grants.sql").code)
    assert (granted.returncode, granted.stderr) == (0, "")
    capsys.readouterr()
    for command in COMMANDS.strip().splitlines():
        assert shell.code(WORKER, command) == 0, (command, capsys.readouterr().err)
    for forbidden in (
        "DELETE FROM events",
        "UPDATE events SET actor = 'nobody'",
        "TRUNCATE artifact_files",
        "DROP TABLE events",
        "CREATE TABLE more (n int)",
        "INSERT INTO retention_classes VALUES ('x', 1, 'x')",
        "DELETE FROM log_head",
    ):
        refused = psql(WORKER, WORKER, forbidden)
        assert re.search("permission denied|must be owner", refused.stderr), (forbidden, refused)
    assert shell.code(WORKER, "replay --check") == 0
