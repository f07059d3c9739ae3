"""The pytest fixtures with a store of one's own, as the manual shows them, in a project of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from documents import ROOT, named

MANUAL = ROOT / "docs" / "how-to" / "embedding.md"

ANOTHER = """
from artifactstore.blocking import open_registry

def test_the_store_is_empty_again(artifactstore_registry):
    assert list(artifactstore_registry.list_packages()) == []

def test_the_settings_name_a_store_that_is_not_there(artifactstore_settings, artifactstore_directory):
    assert not artifactstore_directory.exists()
    with open_registry(artifactstore_settings) as registry:
        registry.create_package("mine")
    assert artifactstore_directory.is_dir()

def test_both_fixtures_are_one_store(artifactstore_registry, artifactstore_settings):
    artifactstore_registry.create_package("ours")
    with open_registry(artifactstore_settings, create=False) as registry:
        assert registry.get_package("ours").name == "ours"
"""


@pytest.mark.slow
def test_the_fixtures_of_the_manual_give_each_test_a_store(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(named(MANUAL, "fixtures-conftest.py").code)
    (tmp_path / "test_reports.py").write_text(named(MANUAL, "fixtures-test.py").code)
    (tmp_path / "test_others.py").write_text(ANOTHER)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, "5 passed" in ran.stdout) == (0, True), ran.stdout
