"""The manual pages: current, complete, and without complaints of the programs that show them."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from artifactstore.cli.examples import EXAMPLES
from documents import ROOT
from man_pages import MAN, pages

PAGES = pages()


def test_the_pages_are_those_of_the_code() -> None:
    assert {path.name: path.read_text() for path in MAN.iterdir()} == PAGES, "run `make docs`"


def test_every_command_has_a_page_that_the_first_one_names() -> None:
    names = {f"artifactstore-{name.replace(' ', '-')}" for name in EXAMPLES}
    assert set(PAGES) == {"artifactstore.1", *(f"{name}.1" for name in names)}
    for name in names:
        assert rf"\fB{name.replace('-', r'\-')}\fR(1)" in PAGES["artifactstore.1"]


def checked(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    ran = subprocess.run([*command, *(str(MAN / name) for name in PAGES)], capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr


def test_mandoc_has_nothing_to_say() -> None:
    said = checked("mandoc", "-T", "lint", "-W", "warning")
    # The pages have no date, since the same code makes the same pages.
    assert [line for line in said.splitlines() if "missing date" not in line] == []


def test_groff_has_nothing_to_say() -> None:
    assert checked("groff", "-man", "-Tutf8", "-ww", "-z") == ""


def test_a_page_says_what_the_help_says() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    command = ["groff", "-man", "-Tascii", "-P-cbou", "-rLL=200n", str(MAN / "artifactstore-ingest.1")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "artifactstore-ingest - Store directories, files or archives as a finalized package" in shown
    assert "artifactstore ingest [OPTIONS] PATH..." in shown
    assert "--progress auto|bar|plain|json|none" in shown
    for example in EXAMPLES["ingest"]:
        assert f"  {example}\n" in shown, "as it can be typed"


@pytest.mark.slow
def test_the_wheel_installs_the_pages_where_man_looks(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        found = {path for path in archive.namelist() if "/share/man/man1/" in path}
    assert {path.partition(".data/data/share/man/man1/")[2] for path in found} == set(PAGES)
