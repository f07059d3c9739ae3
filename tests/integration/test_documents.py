"""The documents' code, run as it stands there, each block in a process and a directory of its own.

The examples find the directories `reports` and `docs`, and a store that nobody has used; `tests/documents.py` says what
else a block may ask for. Warnings are errors.
"""

import getpass
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from artifactstore.blocking import open_registry
from artifactstore.config import Settings
from artifactstore_protocols.tokens import is_secret
from documents import DOCUMENTS, ROOT, Block, blocks, named
from postgres_server import PostgresServer

OPERATOR = ROOT / "docs" / "OPERATOR.md"
TOUR = ROOT / "docs" / "TOUR.md"
TUTORIAL = ROOT / "docs" / "TUTORIAL.md"
BLUEPRINT = ROOT / "docs" / "ARCHITECTURE-BLUEPRINT.md"


def marked(marker: str) -> list[object]:
    """The blocks that are to be run in one way, without those that have a name."""
    return [
        pytest.param(block, id=f"{document.stem}-{index}")
        for document in DOCUMENTS
        for index, block in enumerate(
            block for block in blocks(document) if (block.marker, block.name) == (marker, None)
        )
    ]


def run(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """What came of a program."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")}
    # The Python of this run, and the `artifactstore` that is installed beside it; b3sum where the machine has none.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:{stand_in(directory)}"
    environment |= {"PATH": path, "PYTHONWARNINGS": "error", "ARTIFACTSTORE_PROGRESS": "none"}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def printed_by(directory: Path, *command: str) -> str:
    """What a program prints that ends well and says nothing on stderr, but that a sample store has no such package."""
    completed = run(directory, *command)
    said = [each for each in completed.stderr.splitlines() if not each.endswith("matches all conditions")]
    assert (completed.returncode, said) == (0, []), completed
    return completed.stdout


def make_reports(directory: Path) -> Path:
    reports = directory / "reports"
    (reports / "img").mkdir(parents=True)
    (reports / "index.html").write_text("<h1>all well</h1>\n")
    (reports / "img" / "dot.svg").write_text("<svg/>\n")
    (reports / "run.sh").write_text("#!/bin/sh\n")
    (reports / "run.sh").chmod(0o755)
    return reports


def stand_in(directory: Path) -> Path:
    """A directory with a `b3sum` that knows as much of it as the documents use."""
    tools = directory / ".tools"
    tools.mkdir(exist_ok=True)
    tool = tools / "b3sum"
    tool.write_text(
        f"#!{sys.executable}\nimport sys, blake3\nprint(blake3.blake3(sys.stdin.buffer.read()).hexdigest(), '-')\n"
    )
    tool.chmod(0o755)
    return tools


def command_for(code: str, language: str) -> list[str]:
    return {"python": [sys.executable, "-c", code], "sh": ["sh", "-eu", "-c", code]}[language]


def script(document: Path, name: str, directory: Path) -> Path:
    """A named block as a file."""
    path = directory / name
    path.write_text(named(document, name).code)
    return path


def furnish(directory: Path) -> None:
    """What the examples find."""
    make_reports(directory)
    (directory / "docs").mkdir()
    (directory / "docs" / "index.md").write_text("# How it works\n")


@pytest.mark.parametrize("block", marked("run"))
@pytest.mark.slow
def test_every_example_runs_as_it_stands(block: Block, tmp_path: Path) -> None:
    furnish(tmp_path)
    assert printed_by(tmp_path, *command_for(block.code, block.language)).strip()


@pytest.mark.slow
def test_the_readme_shows_what_its_first_example_prints(tmp_path: Path) -> None:
    example, shown = (
        next(block.code for block in blocks(ROOT / "README.md") if block.marker == marker)
        for marker in ("run", "example output")
    )

    def words(text: str, person: str) -> list[list[str]]:
        """The words of each line, with one id, digest, age and person for all."""
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}|[0-9]+ s\b", "X", text)
        return [["X" if word == person else word for word in line.split()] for line in text.splitlines()]

    printed = printed_by(tmp_path, "sh", "-eu", "-c", example)
    assert words(printed, getpass.getuser()) == words(shown, "ada")


@pytest.mark.parametrize("block", marked("run on a store"))
@pytest.mark.slow
def test_an_example_that_needs_a_store_runs_on_one(block: Block, tmp_path: Path) -> None:
    furnish(tmp_path)
    printed_by(tmp_path, "artifactstore", "ingest", "reports", "--name", "nightly")
    printed_by(tmp_path, *command_for(block.code, block.language))


@pytest.mark.slow
def test_a_token_is_created_as_the_manual_says(tmp_path: Path) -> None:
    furnish(tmp_path)
    printed_by(tmp_path, "artifactstore", "ingest", "reports", "--name", "nightly")
    manual = script(ROOT / "docs" / "how-to" / "tokens.md", "tokens.sh", tmp_path)
    done = run(tmp_path, "sh", "-eu", str(manual))
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done
    assert done.stderr.startswith("artifactstore: created token 'ci-2026'; keep its secret")
    assert is_secret((tmp_path / "ci.token").read_text().removesuffix("\n"))
    assert is_secret(json.loads((tmp_path / "admin.json").read_text())["secret"])
    assert done.stdout.endswith("revoked ci-2026\n")
    access = script(ROOT / "docs" / "how-to" / "service-access.md", "access-token.sh", tmp_path)
    assert run(tmp_path, "sh", "-eu", str(access)).returncode == 0
    kept = tmp_path / "prometheus.token"
    assert is_secret(kept.read_text().removesuffix("\n"))
    assert kept.stat().st_mode & 0o077 == 0, "as --token-file wants it"


@pytest.mark.parametrize("block", marked("run on PostgreSQL"))
@pytest.mark.slow
def test_an_example_on_postgresql_runs_on_a_server(
    block: Block, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    furnish(tmp_path)
    written = re.findall(r"postgresql://[^\s'\"]+", block.code)
    assert written, "there is no URL to put the server's in the place of"
    with postgres_server.fresh_database() as url:
        printed_by(tmp_path, *command_for(re.sub(r"postgresql://[^\s'\"]+", url, block.code), block.language))


@pytest.mark.slow
def test_the_service_of_the_manual_answers_and_stops(tmp_path: Path) -> None:
    """As it stands there but for the port, which somebody else could have."""
    code = re.sub(r":80\d\d\b", ":0", named(OPERATOR, "serve.sh").code)
    command = f"exec {code}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with subprocess.Popen(
        ["sh", "-c", command],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as service:
        try:
            assert service.stdout is not None
            (base,) = re.findall(r"http://[\d.:]+", service.stdout.readline())
            with urllib.request.urlopen(f"{base}/health", timeout=60) as answer:
                assert json.load(answer)["status"] == "healthy"
        finally:
            service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0


@pytest.mark.slow
def test_the_tutorial_runs_from_its_first_command_to_its_last(tmp_path: Path) -> None:
    steps = ("tutorial-1.sh", "tutorial-2.sh", "tutorial-3.sh", "tutorial-4.sh", "tutorial-5.sh")
    printed = [printed_by(tmp_path, "sh", "-eu", str(script(TUTORIAL, step, tmp_path))) for step in steps]
    stored, shown, again, proven, moved = printed
    assert re.sub(r"[0-9a-f]{64}|[0-9a-f-]{36}", "…", stored) == re.sub(
        r"[0-9a-f]{64}|[0-9a-f-]{36}", "…", shown_after(TUTORIAL, "tutorial-1.sh")
    )
    assert "version 1\n" in shown
    assert "deduplicated     10 B\n" in again
    assert proven.count("all sound\n") == proven.count("identical\n") == 1
    assert moved.count("all sound\n") == 2
    digest = re.compile(r"^projection digest .*$", re.MULTILINE)
    assert digest.findall(moved) == digest.findall(proven)


_DIFFERS = re.compile(
    r"[0-9a-f]{64}|[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z| UTC)|\b\d+ (?:s|min|h|d)\b| +"
)
"""What differs between two runs of the tour: ids, digests, times, ages, and the width of columns."""


@pytest.mark.slow
def test_the_tour_prints_what_it_shows_from_its_first_command_to_its_last(tmp_path: Path) -> None:
    script(TOUR, "night.sh", tmp_path)
    for step in ("tour-1.sh", "tour-2.sh", "tour-3.sh", "tour-4.sh", "tour-5.sh", "tour-6.sh"):
        printed = printed_by(tmp_path, "sh", "-eu", str(script(TOUR, step, tmp_path)))
        printed = re.sub(rf"\b{re.escape(getpass.getuser())}\b", "alice", printed)
        assert _DIFFERS.sub(" ", printed) == _DIFFERS.sub(" ", shown_after(TOUR, step)), step


def shown_after(document: Path, name: str) -> str:
    """The block that follows a named one: what it printed."""
    found = blocks(document)
    return found[[block.name for block in found].index(name) + 1].code


def test_the_manual_shows_all_three_ways_to_embed_a_store() -> None:
    code = "".join(block.code for block in blocks(ROOT / "docs" / "how-to" / "embedding.md") if block.run)
    for way in ("from artifactstore import", "from artifactstore.aio import", "from artifactstore.blocking import"):
        assert way in code


@pytest.mark.slow
def test_a_kept_manifest_checks_an_export_and_brings_files_back_without_a_log(tmp_path: Path) -> None:
    reports = make_reports(tmp_path)
    settings = Settings(f"sqlite:///{tmp_path}/store/log.db", tmp_path / "store" / "objects")
    with open_registry(settings) as registry:
        finalized = registry.ingest_tree(reports)
        registry.export_package(finalized.package_id, tmp_path / "exported")
        kept = tmp_path / "kept.cbor"
        kept.write_bytes(registry.get_manifest_bytes(finalized.package_id))
    (tmp_path / "store" / "log.db").unlink()

    check = str(script(ROOT / "protocols" / "README.md", "check.py", tmp_path))
    printed = printed_by(tmp_path, sys.executable, check, str(kept), "exported")
    assert finalized.manifest_digest.removeprefix("blake3:") in printed
    assert "3 files as finalized" in printed

    rescue = str(script(ROOT / "docs" / "how-to" / "backup.md", "rescue.py", tmp_path))
    printed_by(tmp_path, sys.executable, rescue, str(kept), "store/objects", "rescued")
    with open_registry(settings) as registry:
        assert registry.ingest_tree(tmp_path / "rescued").tree_digest == finalized.tree_digest

    (tmp_path / "exported" / "index.html").write_text("<h1>all is well</h1>\n")
    assert run(tmp_path, sys.executable, check, str(kept), "exported").stderr == (
        "index.html is not what the manifest says\n"
    )


def test_the_blueprint_shows_how_to_read_a_log_file_without_any_of_this(tmp_path: Path) -> None:
    with open_registry(Settings(f"sqlite:///{tmp_path}/store/log.db", tmp_path / "store" / "objects")) as registry:
        registry.ingest_tree(make_reports(tmp_path))
        log = registry.read_events()
        exported = registry.export_events(tmp_path / "log.cborseq")
        assert b"".join(registry.exported_events()) == (tmp_path / "log.cborseq").read_bytes()
        assert registry.import_events(tmp_path / "log.cborseq").written == 0
    (code,) = [block.code for block in blocks(BLUEPRINT) if "def read_log" in block.code]
    show = "\nwith open('log.cborseq', 'rb') as file:\n    print(*(event['event_id'] for _, event in read_log(file)))"
    printed = printed_by(tmp_path, sys.executable, "-c", code + show)
    assert printed.split() == [stored.event.event_id for stored in log]
    assert exported.events == len(log)
