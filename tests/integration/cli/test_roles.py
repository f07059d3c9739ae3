"""The manual's two roles on PostgreSQL: the one that works can do all but migrate, and cannot take an event back."""

import re
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from artifactstore.cli.app import run
from documents import ROOT, named
from postgres_server import PostgresServer, client_programs

pytestmark = pytest.mark.slow

HOW_TO = ROOT / "docs" / "how-to"
OWNER, WORKER = "store_owner", "store"
RESTORED = "restored"

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
    made = psql("postgres", "postgres", named(HOW_TO / "postgresql.md", "roles.sql").code)
    assert (made.returncode, made.stderr) == (0, "")
    yield
    postgres_server.execute(f"DROP DATABASE IF EXISTS {RESTORED}")
    postgres_server.execute(f"DROP DATABASE {WORKER}", f"DROP ROLE {WORKER}", f"DROP ROLE {OWNER}")


class Shell:
    """Runs commands as one of the roles."""

    def __init__(self, server: PostgresServer, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self._server, self._patch = server, patch
        patch.chdir(directory)
        patch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(directory / "objects"))

    def code(self, role: str, command: str, *, database: str = WORKER) -> int:
        url = f"postgresql://{role}@/{database}?host={self._server.socket_directory}"
        self._patch.setenv("ARTIFACTSTORE_DATABASE_URL", url)
        return run(command.split())


@pytest.fixture
def shell(postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A directory with something in it."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.txt").write_text("a\n")
    return Shell(postgres_server, tmp_path, monkeypatch)


def set_up(psql: Psql, shell: Shell) -> None:
    """The owner has migrated the database and granted what the manual says."""
    assert shell.code(OWNER, "migrate") == 0
    granted = psql(OWNER, WORKER, named(HOW_TO / "postgresql.md", "grants.sql").code)
    assert (granted.returncode, granted.stderr) == (0, "")


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
history
backup copy
stats
health
actors
"""


def test_the_working_role_can_do_all_but_migrate(
    roles: None, psql: Psql, shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.code(WORKER, "ingest tree") == 1
    assert "permission denied for schema public" in capsys.readouterr().err, "it sets nothing up"
    set_up(psql, shell)
    capsys.readouterr()
    for command in COMMANDS.strip().splitlines():
        assert shell.code(WORKER, command) == 0, (command, capsys.readouterr().err)
    for forbidden in (
        "DELETE FROM events",
        "UPDATE events SET principal = 'nobody'",
        "TRUNCATE artifact_files",
        "DROP TABLE events",
        "CREATE TABLE more (n int)",
        "INSERT INTO retention_classes VALUES ('x', 1, 'x')",
        "DELETE FROM log_head",
    ):
        refused = psql(WORKER, WORKER, forbidden)
        assert re.search("permission denied|must be owner", refused.stderr), (forbidden, refused)
    assert shell.code(WORKER, "replay --check") == 0


def test_a_dump_is_restored_as_the_manual_says_with_its_roles(
    roles: None, psql: Psql, shell: Shell, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    set_up(psql, shell)
    assert shell.code(WORKER, "ingest tree --name first") == 0
    create = re.sub(r"CREATE ROLE .*", "", named(HOW_TO / "postgresql.md", "roles.sql").code)
    create = re.sub(rf"(DATABASE|connect) {WORKER}\b", rf"\1 {RESTORED}", create)
    made = psql("postgres", "postgres", create)
    assert (made.returncode, made.stderr) == (0, "")
    code, urls = re.subn(
        r"postgresql://(\w+):secret@db\.example\.net/(\w+)",
        rf"'postgresql://\1@/\2?host={postgres_server.socket_directory}'",
        named(HOW_TO / "backup.md", "pg_dump.sh").code,
    )
    assert urls == 2
    ran = subprocess.run(
        ["sh", "-euc", f"PATH={client_programs()}:$PATH\n{code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    for command in ("replay --check", "verify", "get first a.txt", "ingest tree --name second"):
        assert shell.code(WORKER, command, database=RESTORED) == 0, command


def test_a_log_moves_and_a_backup_is_restored_as_the_working_role(
    roles: None, psql: Psql, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", f"sqlite:///{tmp_path}/log.db")
    for command in (
        "ingest tree --name first",
        "events --export log.cborseq",
        "ingest tree --name more",
        "backup kept",
    ):
        assert run(command.split()) == 0
    set_up(psql, shell)
    for command in ("events --import log.cborseq", "restore kept", "replay --check", "verify"):
        assert shell.code(WORKER, command) == 0, command
