"""The command line on a service: the same output and exit codes as on the store behind it, byte by byte."""

import io
import random
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from artifactstore.cli.completion import tags
from artifactstore.client.blocking import connect
from integration.cli.harness import Argument, Cli, Ran

pytestmark = pytest.mark.slow

HOUR_NS = 3600 * 10**9

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("package", "list"),
    ("package", "list", "--json", "--limit", "1"),
    ("package", "list", "--name", "night*", "--meta", "build:=412", "--sort", "size", "--reverse"),
    ("package", "list", "--state", "deleted"),
    ("package", "list", "--since", "2h", "--until", "2100-01-01", "--tag", "rel*"),
    ("package", "list", "--after", "nightly"),
    ("package", "list", "--meta", "branch=none"),
    ("package", "list", "--from", "nothing"),
    ("package", "show", "nightly"),
    ("package", "show", "nightly", "--json"),
    ("package", "show", "old"),
    ("package", "show", "nothing"),
    ("ls", "nightly"),
    ("ls", "-l", "nightly", "data"),
    ("ls", "nightly", "missing"),
    ("ls", "nightly", "--json"),
    ("tree", "nightly"),
    ("tree", "nightly", "data", "--json"),
    ("tree", "old"),
    ("get", "nightly", "data/report.json"),
    ("get", "nightly", "to-report"),
    ("get", "nightly", "data"),
    ("get", "nightly", "missing"),
    ("get", "nightly", "../x"),
    ("manifest", "nightly"),
    ("manifest", "nightly", "--format", "cbor"),
    ("manifest", "open"),
    ("find", "--name", "*.json"),
    ("find", "--path", "data/**", "--package", "night*", "--json"),
    ("find", "--digest", "blake3:" + "0" * 64),
    ("find", "--path", "data"),
    ("find", "--path", "**", "--limit", "1"),
    ("diff", "nightly~", "nightly"),
    ("diff", "nightly~", "nightly", "--stat", "--exit-code"),
    ("diff", "nightly", "nightly", "--exit-code", "--json"),
    ("tag", "list"),
    ("tag", "list", "--json"),
    ("tag", "show", "release"),
    ("tag", "show", "nothing"),
    ("retention", "explain", "nightly"),
    ("retention", "explain", "old", "--json"),
    ("hold", "list", "nightly"),
    ("hold", "list", "open", "--json"),
    ("history", "nightly"),
    ("history", "nightly", "--json"),
    ("events",),
    ("events", "--since", "3", "--json"),
    ("stats",),
    ("stats", "--json"),
    ("export", "nightly", "-", "--format", "tar"),
    ("export", "nightly:data", "-", "--format", "zip", "--strip-components", "1"),
    ("export", "nightly:missing", "-", "--format", "tar"),
)

LOCAL_ONLY: tuple[tuple[str, ...], ...] = (
    ("gc",),
    ("backup", "copy"),
    ("doctor",),
    ("migrate",),
    ("verify",),
    ("expire",),
    ("replay", "--check"),
    ("tag", "log", "release"),
    ("token", "list"),
    ("retention", "class", "list"),
    ("ingest", "tree"),
    ("ingest", "tree", "--dry-run"),
    ("package", "delete", "nightly", "--reason", "a test"),
    ("serve", "--bind", "127.0.0.1:0"),
)


@dataclass(frozen=True, slots=True)
class Remote:
    """A store, and a service of it."""

    cli: Cli
    url: str
    token: str

    @contextmanager
    def used(self, **more: str) -> Generator[None]:
        """Commands of the block use the service."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ARTIFACTSTORE_URL", self.url)
            for name, value in more.items():
                patch.setenv(name, value)
            yield

    def run(self, *arguments: Argument) -> Ran:
        with self.used(ARTIFACTSTORE_TOKEN=self.token):
            return self.cli.run(*arguments)


@pytest.fixture
def remote(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Remote]:
    """A store with packages in every state, and a service of it. The clock of the commands stands still."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(cli.directory / "settings"))
    monkeypatch.setenv("COLUMNS", "160")
    (tree / "to-report").symlink_to("data/report.json")
    (tree / "none").mkdir()
    cli.ok("ingest", tree, "--name", "nightly", "--meta", "branch=main", "--meta", "build:=412", "--quiet")
    (tree / "data/report.json").write_bytes(b'{"ok": false}\n')
    (tree / "data/empty").rename(tree / "data/renamed")
    cli.ok("ingest", tree, "--name", "nightly", "--meta", "branch=main", "--quiet")
    cli.ok("ingest", tree, "--name", "old", "--quiet")
    cli.ok(
        "package", "delete", cli.json("package", "show", "old")["package_id"], "--reason", "a test", "--before-expiry"
    )
    cli.ok("package", "create", "open", "--from", "nightly")
    cli.ok("tag", "set", "release", "nightly", "--protect")
    cli.ok("hold", "place", cli.json("package", "show", "nightly")["package_id"], "--reason", "an audit")
    token = cli.run("token", "create", "ci", "--scope", "read", "--scope", "admin").text.strip()
    with cli.started("serve", "--bind", "127.0.0.1:0") as process:
        assert process.stderr is not None
        url = process.stderr.readline().decode().split()[-1].removesuffix("/health")
        stopped_ns = time.time_ns() + HOUR_NS
        monkeypatch.setattr(time, "time_ns", lambda: stopped_ns)
        yield Remote(cli, url, token)


def test_every_command_prints_what_it_prints_on_the_store(remote: Remote) -> None:
    package_id = remote.cli.json("package", "show", "nightly")["package_id"]
    for command in (*COMMANDS, ("package", "show", package_id[:10])):
        here, there = remote.cli.run(*command), remote.run(*command)
        assert there == here, command


def test_an_export_writes_the_same_tree(remote: Remote) -> None:
    for number, options in enumerate(((), ("--links", "skip"), ("--json",))):
        target = remote.cli.directory / "out"
        ran: list[Ran] = []
        for run, name in ((remote.cli.run, "here"), (remote.run, "there")):
            ran.append(run("export", "nightly", "out", "--quiet", *options))
            target.rename(remote.cli.directory / f"{name}{number}")
        assert ran[0] == ran[1]
        here, there = (contents(remote.cli.directory / f"{name}{number}") for name in ("here", "there"))
        assert there == here != {}


def contents(root: Path) -> dict[str, tuple[int, object]]:
    return {
        str(each.relative_to(root)): (
            each.lstat().st_mode,
            each.readlink() if each.is_symlink() else each.is_file() and each.read_bytes(),
        )
        for each in root.rglob("*")
    }


def test_commands_without_a_meaning_on_a_service_say_so_and_touch_no_store(remote: Remote) -> None:
    before = remote.cli.state()
    for command in LOCAL_ONLY:
        ran = remote.run(*command)
        assert (ran.code, ran.out) == (1, b""), command
        assert ran.err.endswith("unset ARTIFACTSTORE_URL, or name a store with --store DIR\n"), command
    for command in (("history",), ("hold", "list")):
        assert remote.run(*command).err.endswith("does not work on a service; name a package\n")
    assert remote.cli.state() == before
    assert tags("") == ["release"]
    with remote.used():
        assert tags("") == [], "a shell would complete words of another store"
    elsewhere = remote.run("--store", "elsewhere", "package", "list")
    assert "no store" in elsewhere.err or "there is no" in elsewhere.err
    assert remote.url not in elsewhere.err


def test_new_events_follow(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_URL", remote.url)
    monkeypatch.setenv("ARTIFACTSTORE_TOKEN", remote.token)
    log = remote.run("events", "--json").text.splitlines()
    with remote.cli.started("events", "--follow", "--json") as process:
        assert process.stdout is not None
        assert [process.stdout.readline().decode().rstrip("\n") for _ in log] == log
        monkeypatch.delenv("ARTIFACTSTORE_URL")
        package_id = remote.cli.ok("package", "create", "new").text.strip()
        assert package_id in process.stdout.readline().decode()


def test_a_download_continues_when_the_service_was_killed_and_started_again(cli: Cli, tmp_path: Path) -> None:
    content = random.Random(4).randbytes(48 << 20)  # noqa: S311 - a file
    (tmp_path / "large").write_bytes(content)
    cli.ok("ingest", "large", "--name", "nightly", "--quiet")
    token = cli.run("token", "create", "ci", "--scope", "read").text.strip()
    with ExitStack() as services:
        url, process = started(cli, services, "127.0.0.1:0")
        with connect(url, token) as registry, registry.get_file("nightly", "large") as chunks:
            received = bytearray(next(chunks))
            process.kill()
            process.wait()
            again, _process = started(cli, services, url.removeprefix("http://"))
            for chunk in chunks:
                received += chunk
    assert again == url
    assert bytes(received) == content


def started(cli: Cli, services: ExitStack, bind: str) -> tuple[str, "subprocess.Popen[bytes]"]:
    """A service that runs until the stack ends, and its URL."""
    process = services.enter_context(cli.started("serve", "--bind", bind))
    assert process.stderr is not None
    return process.stderr.readline().decode().split()[-1].removesuffix("/health"), process


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_login_keeps_the_token_for_its_owner_alone_until_the_logout(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli, file = remote.cli, remote.cli.directory / "settings/artifactstore/tokens.json"
    with remote.used():
        assert f"run `artifactstore login {remote.url}`" in cli.refused("package", "list")
        typed(monkeypatch, "ast_wrong\n")
        assert "the token is not valid" in cli.refused("login", remote.url)
        assert not file.exists()
        typed(monkeypatch, f"{remote.token}\n")
        said = cli.ok("login", f"{remote.url}/")
        assert remote.token not in said.text
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert "nightly" in cli.ok("package", "list").text
        file.chmod(0o640)
        assert "others can use it" in cli.refused("package", "list")
        file.chmod(0o600)
        file.write_text("[]")
        assert "it holds no tokens" in cli.refused("package", "list")
        file.unlink()
        typed(monkeypatch, remote.token)
        cli.ok("login", remote.url)
        cli.ok("logout", remote.url)
        assert remote.token not in file.read_text()
        assert "no token of it is kept" in cli.refused("logout", remote.url)


def test_a_token_never_leaves_this_machine_in_plain_text(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_TOKEN", "ast_secret")
    for url in ("http://store.example.org", "http://user:word@127.0.0.1:1", "store.example.org"):
        monkeypatch.setenv("ARTIFACTSTORE_URL", url)
        line = cli.refused("package", "list")
        assert "ast_secret" not in line
        assert "word@" not in line
