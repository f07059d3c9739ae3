"""What a run logs: what an operator wants to know, at the level that was asked for, and never a secret or a payload."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from artifactstore.dataplane.inprocess import InProcessDataPlane
from artifactstore_protocols.dataplane import FileSource
from integration.cli.harness import Cli, Facts, Ran, make_tree
from postgres_server import PostgresServer

CONTENT = "the-content-of-a-file"
SECRETS = {
    "password": "p@ss-word",
    "encoded password": "p%40ss-word",
    "content": CONTENT,
    "metadata": "a-metadata-value",
    "key of metadata": "a-metadata-key",
    "package name": "a-package-name",
    "file name": "a-file-name",
    "idempotency key": "an-idempotency-key",
}


def logged(ran: Ran) -> list[Facts]:
    """The JSON lines of a log; every line must be one, but for the answer of a command that failed."""
    lines = [line for line in ran.err.splitlines() if not line.startswith("artifactstore: ")]
    return [json.loads(line) for line in lines]


def messages(lines: list[Facts], level: str) -> list[str]:
    return [line["message"] for line in lines if line["level"] == level]


def secret_tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "secret", {"a-file-name": CONTENT.encode(), "large": CONTENT.encode() * 500_000})


def options() -> list[str]:
    return ["--name", "a-package-name", "--meta", "a-metadata-key=a-metadata-value"]


def test_by_default_a_run_that_goes_well_says_nothing(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree)


def test_an_operator_sees_what_happened_to_the_store(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_LOG_LEVEL", "info")
    ran = cli.run("ingest", tree, "--json")
    lines = logged(ran)
    assert messages(lines, "info") == [
        f"schema 0001 is set up in {cli.database}",
        f"the store is open: log in {cli.database}",
        "package created",
        f"package finalized: 5 files, 51 bytes, manifest {ran.json['manifest_digest']}",
        "the store is closed",
    ]
    assert [line.get("package") for line in lines[2:4]] == [ran.json["package_id"]] * 2
    assert {line.get("actor") for line in lines[2:4]} == {"root/core/ingest"}
    assert len({line["request"] for line in lines}) == 1, "a command is one request"
    upgraded = logged(cli.run("migrate"))
    assert messages(upgraded, "info") == [f"schema of {cli.database} brought from 0001 to 0001"]
    afresh = logged(cli.run("migrate", "--fresh", "--destroy-log", str(cli.database)))
    assert messages(afresh, "info") == [f"schema 0001 is set up afresh in {cli.database}"]


def test_batches_and_commits_are_logged_at_debug_level(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_LOG_LEVEL", "DEBUG")
    lines = logged(cli.run("ingest", tree))
    assert "batch of 5 files is in the log, up to 4; 5 of 5 files done" in messages(lines, "debug")
    commits = [line for line in lines if line["logger"] == "artifactstore.writer"]
    assert {line["actor"] for line in commits} == {"root/core/event-writer"}
    assert len({line["request"] for line in lines}) == 1


async def boom(_self: object, batch: Sequence[FileSource], **_options: object) -> None:
    """Fail as code may that quotes what it met."""
    raise ValueError(f"cannot make sense of {CONTENT} in {[source.path for source in batch]}")


@pytest.mark.slow
def test_a_whole_run_logs_no_secret_and_no_payload(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresServer
) -> None:
    """With a crash whose error quotes a file's content, on PostgreSQL, at the level that says most."""
    secret = secret_tree(tmp_path)
    with postgres_server.fresh_database() as url:
        with_password = url.replace("postgres@", "postgres:p%40ss-word@")
        assert with_password != url
        monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", with_password)
        monkeypatch.setenv("ARTIFACTSTORE_LOG_LEVEL", "DEBUG")
        with monkeypatch.context() as patch:
            patch.setattr(InProcessDataPlane, "ingest_files", boom)
            crashed = cli.run("ingest", secret, *options())
        runs = [
            crashed,
            cli.run("ingest", secret, *options(), "--idempotency-key", "an-idempotency-key"),
            cli.run("ingest", secret, "--idempotency-key", "an-idempotency-key"),  # refused: it was used otherwise
            cli.run("package", "create", "a-package-name"),
            cli.run("events", "--json"),
            cli.run("get", "a-package-name", "a-file-name"),
            cli.run("verify"),
            cli.run("replay", "--check"),
            cli.run("health"),
        ]
    assert (crashed.code, [ran.code for ran in runs[1:4]]) == (1, [0, 1, 0])
    (crash,) = [line for line in logged(crashed) if line["level"] == "error"]
    assert crash["message"].startswith("root/core/storage crashed in incarnation 1 on StoreFiles: ValueError; ")
    assert "ValueError" in crash["error"]
    assert "in boom" in crash["error"], "where it happened is no secret"
    lines = json.dumps([logged(ran) for ran in runs])
    assert {name for name, secret in SECRETS.items() if secret in lines} == set()


@pytest.mark.parametrize("url", ["postgresql://me:p%40ss-word@127.0.0.1:1/nowhere", "mysql://me:p%40ss-word@host/x"])
def test_a_database_that_cannot_be_reached_is_told_without_its_password(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", url)
    monkeypatch.setenv("ARTIFACTSTORE_LOG_LEVEL", "DEBUG")
    ran = cli.run("package", "list")
    assert ran.code == 1
    assert ran.err.endswith("\n")
    assert not [secret for name, secret in SECRETS.items() if "password" in name and secret in ran.err]
