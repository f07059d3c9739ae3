"""A test that leaks a file fails, and the report names the file and the line that opened it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

LEAKING = """
from leaks import leaks_are_named

def test_leaks():
    leaked = open(__file__)
    del leaked
"""


def test_a_leaked_file_is_reported_with_the_line_that_opened_it(tmp_path: Path) -> None:
    leaking = tmp_path / "test_leaking.py"
    leaking.write_text(LEAKING)
    arguments = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-p", "no:cacheprovider", str(leaking)]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=tmp_path,
        env=os.environ | {"NAME_LEAKS": "1", "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout
    assert f"<_io.FileIO name='{leaking}'" in ran.stdout
    assert f'File "{leaking}", line 5' in ran.stdout
