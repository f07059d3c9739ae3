"""The bytes, paths, files and trees with links and empty directories that a plan's numbers stand for."""

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["CONTENT_OF", "EMPTY_IN", "LINKS_OF", "PACKAGES", "PATH_OF", "TREE_OF", "file_of", "tree_at"]

PACKAGES: Final = 3
"""How many packages clients share."""

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
LINKS_OF: Final[tuple[Mapping[str, str], ...]] = ({"b/latest": "x.bin", "up": "b/../gone"}, {"latest": "z.bin"})
"""The symbolic links of each tree, and what they say."""

EMPTY_IN: Final[tuple[tuple[str, ...], ...]] = (("b/logs",), ())
"""The empty directories of each tree."""


@cache
def _planted() -> Path:
    """The directory with every content and every tree as files, written once in the life of this process."""
    directory = Path(tempfile.mkdtemp(prefix="artifactstore-simulation-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    trees = [directory / f"tree {number}" for number in range(len(TREE_OF))]
    files = {directory / f"content {number}": content for number, content in enumerate(CONTENT_OF)}
    for root, tree in zip(trees, TREE_OF, strict=True):
        files |= {root / path: content for path, content in tree.items()}
    for file, content in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for root, links, empty in zip(trees, LINKS_OF, EMPTY_IN, strict=True):
        for path, target in links.items():
            (root / path).symlink_to(target)
        for path in empty:
            (root / path).mkdir()
    return directory


def file_of(content: int) -> Path:
    """A local file with this content."""
    return _planted() / f"content {content}"


def tree_at(tree: int) -> Path:
    """A local directory with this tree."""
    return _planted() / f"tree {tree}"
