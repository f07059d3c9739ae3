"""Names are bytes that must be UTF-8, whatever the locale and the interpreter's modes say."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from integration.cli.harness import COMMAND

NAME = "\u00e4 \u65e5.txt"
DIRECTORY = "b\u00e4ume"

EMBEDDED = """
import json, sys, trio
from pathlib import Path
from artifactstore import Settings, open_registry
from artifactstore.errors import SourceError

async def main():
    tree, out, url, objects = sys.argv[1:]
    async with open_registry(Settings(url, Path(objects))) as registry:
        summary = await registry.ingest_tree(Path(tree))
        package = (await registry.create_package("p")).package_id
        file = next(path for path in Path(tree).iterdir() if path.is_file())
        record = await registry.ingest_file(package, "file", file)
        await registry.export_package(summary.package_id, Path(out, "exported"))
        paths = [file.path for file in await registry.list_files(summary.package_id)]
        try:
            await registry.ingest_file(package, "absent", file / "absent")
        except SourceError as error:
            refusal = str(error)
    facts = [summary.name, summary.tree_digest, paths, record.size_bytes, refusal]
    print(json.dumps([sys.getfilesystemencoding(), *facts]))

trio.run(main)
"""

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def made(directory: Path, language: str, encoding: str) -> dict[str, str]:
    """An environment in a locale that is made for the test."""
    name = f"{language}.{encoding}"
    try:
        subprocess.run(
            ["localedef", "-i", language, "-f", encoding, directory / name], check=False, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no localedef here")
    if not (directory / name).is_dir():
        pytest.skip(f"the locale {name} cannot be made here")
    return {"LOCPATH": str(directory), "LC_ALL": name}


@pytest.fixture(params=["ascii", *(pytest.param(name, marks=pytest.mark.slow) for name in ("iso8859-1", "euc_jp"))])
def locale(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str]]:
    """An encoding that Python decodes names with, and the environment that has it do so."""
    (tmp_path / "locales").mkdir()
    match request.param:
        case "iso8859-1":
            return request.param, made(tmp_path / "locales", "de_DE", "ISO-8859-1")
        case "euc_jp":
            return request.param, made(tmp_path / "locales", "ja_JP", "EUC-JP")
        case _:
            return request.param, ASCII


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with names that no other encoding than UTF-8 has alike."""
    tree = tmp_path / DIRECTORY
    tree.mkdir()
    (tree / NAME).write_bytes(b"content")
    return tree


def run(where: Path, command: list[str | Path], locale: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {
        **kept,
        "ARTIFACTSTORE_DATABASE_URL": f"sqlite:///{where}/store/log.db",
        "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": f"{where}/store/objects",
        "LOGNAME": "tester",
        **locale,
    }
    return subprocess.run(command, env=environment, cwd=where, check=False, capture_output=True)


def ok(where: Path, locale: Mapping[str, str], *arguments: str | Path) -> bytes:
    done = run(where, [*COMMAND, *arguments], locale)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode(errors="replace")
    return done.stdout


@pytest.mark.slow
def test_a_tree_is_the_same_in_every_locale(tmp_path: Path, tree: Path, locale: tuple[str, dict[str, str]]) -> None:
    _encoding, foreign = locale
    one = json.loads(ok(tmp_path, {"LC_ALL": "C.UTF-8"}, "ingest", tree, "--json"))
    two = json.loads(ok(tmp_path, foreign, "ingest", tree, "--name", "n\u00e4me", "--meta", "k=\u65e5", "--json"))
    assert (two["tree_digest"], two["name"]) == (one["tree_digest"], "n\u00e4me")
    shown = json.loads(ok(tmp_path, foreign, "package", "show", "n\u00e4me", "--json"))
    assert (shown["metadata"], shown["file_list"][0]["path"]) == ({"k": "\u65e5"}, NAME)
    assert NAME.encode() in ok(tmp_path, {**foreign, "PYTHONIOENCODING": "latin-1"}, "package", "show", "n\u00e4me")
    ok(tmp_path, foreign, "export", "n\u00e4me", "\u00e4us", "-q")
    ok(tmp_path, foreign, "get", "n\u00e4me", NAME, "-o", "\u00e9in")
    assert [path.name for path in (tmp_path / "\u00e4us").iterdir()] == [NAME]
    assert (tmp_path / "\u00e9in").read_bytes() == b"content"
    refused = run(tmp_path, [*COMMAND, "get", "n\u00e4me", "\u00fcberall"], {**foreign, "PYTHONIOENCODING": "ascii"})
    assert (refused.returncode, "has no '\u00fcberall'" in refused.stderr.decode()) == (1, True)


@pytest.mark.slow
def test_a_program_that_embeds_a_store_has_the_same_names(
    tmp_path: Path, tree: Path, locale: tuple[str, dict[str, str]]
) -> None:
    """A library cannot start its program again in another mode."""
    encoding, foreign = locale
    one = json.loads(ok(tmp_path, {"LC_ALL": "C.UTF-8"}, "ingest", tree, "--json"))
    place = [f"sqlite:///{tmp_path}/embedded/log.db", str(tmp_path / "embedded" / "objects")]
    (tmp_path / "\u00f6ut").mkdir()
    done = run(tmp_path, [sys.executable, "-c", EMBEDDED, tree, tmp_path / "\u00f6ut", *place], foreign)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    *facts, refusal = json.loads(done.stdout)
    assert facts == [encoding, DIRECTORY, one["tree_digest"], [NAME], 7]
    assert f"{DIRECTORY}/{NAME}/absent" in refusal
    assert [path.name for path in (tmp_path / "\u00f6ut" / "exported").iterdir()] == [NAME]


@pytest.mark.slow
def test_a_name_that_is_not_utf_8_is_refused_and_one_above_it_is_not(tmp_path: Path) -> None:
    above = tmp_path / os.fsdecode(b"\xff")
    (above / "tree").mkdir(parents=True)
    (above / "tree" / "file").touch()
    done = run(tmp_path, [*COMMAND, "ingest", above, "-q"], {})
    assert (done.returncode, b"name the package with --name" in done.stderr) == (1, True)
    ok(tmp_path, {}, "ingest", above / "tree", "--json")
    (above / "tree" / os.fsdecode(b"n\xff")).touch()
    done = run(tmp_path, [*COMMAND, "ingest", above / "tree", "-q"], {})
    assert (done.returncode, b"not valid UTF-8" in done.stderr) == (1, True)
