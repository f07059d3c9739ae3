"""Completion: what bash, zsh and fish are offered, that nothing is written, and that every failure is silent."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from artifactstore.cli.shell_completion import VARIABLE
from artifactstore_protocols.retention import RETENTION_CLASSES
from integration.cli.harness import Cli, make_tree

type Offered = Callable[..., list[str]]

TREE = {
    "README.md": b"1",
    "docs/guide.md": b"2",
    "docs.txt": b"3",
    "deep/er/still/a": b"4",
    "deep/er/still/b": b"5",
    "with space/a'b.txt": b"6",
    "é/x": b"7",
}


@pytest.fixture
def offered(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Offered:
    """What bash is offered for the last word; it has split the words as bash splits them."""

    def offered(*words: str) -> list[str]:
        split = [part for word in words for part in (re.findall(r"[:=@]+|[^:=@]+", word) or [""])]
        with monkeypatch.context() as patch:
            patch.setenv(VARIABLE, "complete_bash")
            patch.setenv("COMP_WORDS", "\n".join(["artifactstore", *split]))
            patch.setenv("COMP_CWORD", str(len(split)))
            ran = cli.run()
        assert ran.err == ""
        return ran.text.splitlines()

    return offered


@pytest.fixture
def filled(cli: Cli, tmp_path: Path) -> Cli:
    """A store with two packages `nightly`, the open package `weekly`, and two tags."""
    make_tree(tmp_path / "content", TREE)
    for name in ("nightly", "nightly"):
        cli.ok("ingest", "content", "--name", name)
    cli.ok("package", "create", "weekly")
    cli.ok("tag", "set", "release-1", "nightly")
    cli.ok("tag", "set", "release-2", "nightly")
    return cli


def test_commands_options_and_their_values_are_offered(cli: Cli, offered: Offered) -> None:
    assert offered("ing") == ["ingest"]
    assert offered("ingest", "--ret") == ["--retention"]
    assert offered("ingest", "x", "--retention", "l") == ["long"]
    assert offered("package", "list", "--retention", "ep") == ["ephemeral"]
    assert offered("package", "list", "--sort", "") == ["created", "name", "size"]
    assert offered("package", "list", "--sort=n") == ["name"]
    assert offered("verify", "--progress", "p") == ["plain"]
    assert offered("manifest", "nig") == []
    assert not cli.database.exists(), "completing makes no store"


@pytest.mark.slow
def test_packages_are_offered_in_every_form_that_names_one(filled: Cli, offered: Offered) -> None:
    assert offered("manifest", "") == ["weekly", "nightly"], "newest first, each once"
    assert offered("manifest", "nig") == ["nightly"]
    assert offered("package", "finalize", "") == ["weekly"], "only open packages"
    assert offered("manifest", "nightly@") == ["latest", "{1}"], "bash keeps what is before the @"
    assert offered("manifest", "nightly@{") == ["{1}"]
    assert offered("manifest", "tag:") == ["release-2", "release-1"]
    assert offered("manifest", "ta") == ["tag:release-2", "tag:release-1"]
    assert offered("manifest", "tag:release-1") == ["release-1"]
    package_id = filled.json("package", "show", "nightly")["package_id"]
    assert package_id in offered("manifest", package_id[:6])
    assert offered("tag", "log", "re") == ["release-2", "release-1"]
    assert offered("package", "list", "--tag", "release-1") == ["release-1"]
    assert offered("package", "list", "--by", "te") == ["tester"]
    assert offered("find", "--package", "w") == ["weekly"]
    assert offered("package", "list", "--after", "w") == ["weekly"]
    filled.ok("retention", "class", "add", "quarter", "90d")
    assert offered("ingest", "content", "--retention", "q") == ["quarter"]
    assert offered("package", "list", "--retention", "") == [*RETENTION_CLASSES, "quarter"]


@pytest.mark.slow
def test_paths_are_offered_one_level_at_a_time(filled: Cli, offered: Offered) -> None:
    assert offered("get", "nightly", "") == ["README.md", "deep/", "docs.txt", "docs/", r"with\ space/", "é/"]
    assert offered("get", "nightly", "do") == ["docs.txt", "docs/"]
    assert offered("get", "nightly", "docs/") == ["docs/guide.md"]
    assert offered("ls", "nightly@{1}", "RE") == ["README.md"], "a package in any form"
    assert offered("tree", "tag:release-1", "R") == ["README.md"]
    assert offered("get", "nightly", "dee") == ["deep/er/still/a", "deep/er/still/b"], "no stop where nothing is chosen"
    assert offered("get", "nightly", r"with\ sp") == [r"with\ space/a\'b.txt"]
    assert offered("get", "nightly", '"with sp') == ["with space/a'b.txt"], "in quotes nothing is escaped"
    assert offered("get", "nightly", "e\N{COMBINING ACUTE ACCENT}/") == ["e\N{COMBINING ACUTE ACCENT}/x"]
    assert offered("get", "nightly", "nothing") == []
    assert offered("get", "nobody", "") == []


@pytest.mark.slow
def test_a_subtree_to_export_is_offered_after_a_colon(filled: Cli, offered: Offered) -> None:
    assert offered("export", "nightly:docs") == ["docs.txt", "docs/"]
    assert offered("export", "tag:release-1:docs/") == ["docs/guide.md"]
    assert offered("export", "nightly@{1}:R") == ["README.md"]
    assert offered("export", "tag:rel") == ["release-2", "release-1"]
    assert offered("verify", "nightly:docs") == [], "only where a command takes a subtree"


@pytest.mark.slow
def test_the_store_is_the_one_of_the_command_line(
    filled: Cli, offered: Offered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.ok("--store", "other", "package", "create", "elsewhere")
    monkeypatch.setenv("BASE", str(tmp_path))
    for store in ("other", "$BASE/other", f"{tmp_path}/other"):
        assert offered("--store", store, "manifest", "") == ["elsewhere"]
        assert offered("manifest", "--store", store, "") == ["elsewhere"]
    assert offered(f"--store={tmp_path}/other", "manifest", "e") == ["elsewhere"]
    assert offered("diff", "--store-b", "other", "") == ["weekly", "nightly"], "A is in this store"
    assert offered("diff", "--store-b", "$BASE/other", "nightly", "") == ["elsewhere"]
    assert offered("diff", "nightly", "--store-b=other", "") == ["elsewhere"]
    assert offered("diff", "nightly", "n") == ["nightly"]
    assert offered("--store", "none", "manifest", "") == []
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_completing_writes_nothing_also_beside_a_store_in_use(filled: Cli, offered: Offered) -> None:
    def seen() -> dict[str, bytes]:
        """Every file, but for the bytes of the index, where readers note what they read."""
        files = [path for path in filled.database.parent.rglob("*") if path.is_file()]
        return {str(path): b"" if path.name.endswith("-shm") else path.read_bytes() for path in files}

    before = seen()
    assert offered("get", "nightly", "RE") == ["README.md"]
    assert seen() == before
    with closing(sqlite3.connect(filled.database)) as writer:
        writer.execute("UPDATE artifact_packages SET name = 'daily' WHERE name = 'weekly'")
        writer.commit()
        assert Path(f"{filled.database}-wal").exists(), "the change is in the write-ahead log alone"
        before = seen()
        assert offered("manifest", "da") == ["daily"]
        assert seen() == before


@pytest.mark.slow
def test_a_completion_that_fails_is_silent(
    filled: Cli, offered: Offered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "artifactstore.db").write_bytes(b"no database" * 100)
    assert offered("--store", "bad", "manifest", "") == []
    with filled.tables() as tables:
        tables.execute("DROP TABLE artifact_files")
    assert offered("get", "nightly", "") == []
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", "postgresql://localhost:1/x")
    assert offered("verify", "w") == []
    monkeypatch.setenv("ARTIFACTSTORE_LOG_LEVEL", "LOUD")
    assert offered("verify", "w") == []
    monkeypatch.setenv(VARIABLE, "complete_tcsh")
    assert (filled.run().out, filled.run().err) == (b"", "")
    monkeypatch.setenv(VARIABLE, "complete_bash")
    monkeypatch.setenv("COMP_CWORD", "many")
    assert filled.run().err == ""


@pytest.mark.slow
def test_what_a_completion_reads_and_offers_is_bounded(cli: Cli, offered: Offered) -> None:
    cli.ok("package", "create", "first")
    with cli.tables() as tables:
        columns = [name for _, name, *_ in tables.execute("PRAGMA table_info(artifact_packages)")]
        kept = ", ".join(name for name in columns if name not in {"package_id", "name", "created_sequence"})
        tables.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "  # noqa: S608 - its own columns
            f"INSERT INTO artifact_packages (package_id, name, created_sequence, {kept}) "
            f"SELECT 'id-' || i, 'run-' || i, i, {kept} FROM n, artifact_packages WHERE name = 'first'"
        )
    assert offered("manifest", "run-") == [f"run-{number}" for number in range(20_000, 19_950, -1)]
    assert offered("manifest", "fi") == ["first"], "an old package is found by its name"
    assert offered("manifest", "run-777") == ["run-777", *(f"run-777{digit}" for digit in range(10))]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
@pytest.mark.slow
def test_the_other_shells_get_whole_words(filled: Cli, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv(VARIABLE, f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    for words, found in (
        ("get nightly do", ["docs.txt", "docs/"]),
        ("manifest tag:", ["tag:release-2", "tag:release-1"]),
        ("manifest nightly@", ["nightly@latest", "nightly@{1}"]),
        ("get 'nightly@{1}' RE", ["README.md"]),
        ("package list --sort ", ["created", "name", "size"]),
    ):
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", f"artifactstore {words}")
        ran = filled.run()
        assert (ran.code, ran.err) == (0, "")
        offered = ran.text.splitlines()
        if shell == "zsh":
            offered = [word.replace(r"\\:", ":") for word in re.findall('"(.*?)"', ran.text)]
        assert offered == found


SCRIPTS = {
    "bash": """
        source ./script
        complete -p artifactstore > /dev/null || exit 1
        COMP_WORDS=(artifactstore get nightly @ "{1}" do) COMP_CWORD=5
        _artifactstore_completion artifactstore
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { }
        _arguments() { print -r -- "$@" }
        source ./script
        words=(artifactstore get "nightly@{1}" do) CURRENT=4
        _artifactstore_completion
    """,
    "fish": """
        source ./script
        complete -C 'artifactstore get "nightly@{1}" do'
    """,
}


@pytest.mark.slow
@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_real_shell_completes_with_the_script_that_is_installed(filled: Cli, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    Path("script").write_text(filled.ok("--show-completion", shell).text)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(Path.cwd())}
    ran = subprocess.run([shell, "-c", SCRIPTS[shell]], env=environment, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    words = re.findall('"(.*?)"', ran.stdout) if shell == "zsh" else ran.stdout.split()
    assert words == ["docs.txt", "docs/"]
