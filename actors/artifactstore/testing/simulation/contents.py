"""The bytes, paths and trees that a plan's numbers stand for."""

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["CONTENT_OF", "PATH_OF", "TREE_OF", "planted"]

# From nothing to several of the simulation's pieces, and two that share a size.
CONTENT_OF: Final[tuple[bytes, ...]] = (
    b"",
    b"x",
    b"a report\n" * 20,
    b"b report\n" * 20,
    bytes(range(256)) * 5,
    b"z" * 4000,
)
PATH_OF: Final[tuple[str, ...]] = ("a.txt", "b/c.json", "b", "b/d/e.bin", "caf\u00e9.md")
TREE_OF: Final[tuple[Mapping[str, bytes], ...]] = (
    {"a.txt": CONTENT_OF[2], "b/c.json": CONTENT_OF[3], "b/x.bin": CONTENT_OF[1]},
    {"a.txt": CONTENT_OF[3], "z.bin": CONTENT_OF[4]},
)


@cache
def planted() -> tuple[Path, ...]:
    """Write every tree to a directory of its own, once in the life of this process; their roots, in order."""
    directory = Path(tempfile.mkdtemp(prefix="artifactstore-simulation-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    roots: list[Path] = []
    for number, tree in enumerate(TREE_OF):
        roots.append(directory / str(number))
        for path, content in tree.items():
            file = roots[-1] / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return tuple(roots)
