"""Every example is a program that ends well and prints what it says it does, alone in a directory of its own.

Those that are tests themselves are collected beside this suite.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from documents import ROOT

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"
PROGRAMS: dict[str, tuple[list[str], list[str]]] = {
    "embed_trio.py": ([], ["event 7: v1.package.finalized", "finalized 2 files, 10980 bytes", "read again: sample 0"]),
    "embed_asyncio.py": ([], ["given up, and in the package: ['upload-0.bin'", "finalized 5 files, 500000 bytes"]),
    "embed_script.py": (
        ["reports"],
        [
            "finalized 2 files as blake3:",
            "{'a.txt': 6, 'sub/b.txt': 7}",
            "refused: PackageFinalizedAlready",
            "2 objects sound",
        ],
    ),
    "custom_actor.py": (
        [],
        [
            "the second: True",
            "mine/index crashed with ValueError: restart",
            "at once: ActorCrashed",
            "True - starts: 2",
        ],
    ),
    "read_with_pandas.py": (
        [],
        ["slower by: {'load': 1.0, 'save': 2.0, 'sort': 0.0}", "parts: 3 rows, 9.5 s", "begins with b'PAR1'"],
    ),
    "read_with_zarr.py": ([], ["shape: (400, 400) in K", "corner: [[0.0, 2.0, 4.0], [800.0,", "twice as hot: True"]),
    "sqlite_backend.py": (["reports"], ["reports: 2 files, blake3:", "2 objects in objects.db, all sound"]),
}

NEEDS = {"read_with_pandas.py": ("fsspec", "pandas", "pyarrow"), "read_with_zarr.py": ("fsspec", "zarr")}
"""What an example needs of the dependency group examples."""


def test_every_program_is_run_here_and_every_example_is_in_the_list() -> None:
    programs = {path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("test_")}
    assert programs == set(PROGRAMS)
    listed = re.findall(r"^\| \[([\w.]+)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_runs_and_prints_what_it_is_for(name: str, tmp_path: Path) -> None:
    (tmp_path / "reports" / "sub").mkdir(parents=True)
    (tmp_path / "reports" / "a.txt").write_text("hello\n")
    (tmp_path / "reports" / "sub" / "b.txt").write_text("world!\n")
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module, reason="the dependency group examples is not installed")
    arguments, expected = PROGRAMS[name]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ARTIFACTSTORE_")}
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [words for words in expected if words not in ran.stdout] == [], ran.stdout
