"""The objects of a store as tests look at them and damage them, whether they are files or rows."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from artifactstore.backends.root_marker import MARKER

__all__ = ["Row", "object_in", "objects_in", "overwrite", "stored_below"]


class Row:
    """An object that is a row of the file of small objects, with those methods of a path that tests use."""

    def __init__(self, root: Path, key: str) -> None:
        self._root = root
        self._key = key

    def exists(self) -> bool:
        return self._content() is not None

    def read_bytes(self) -> bytes:
        content = self._content()
        if content is None:
            raise FileNotFoundError(self._key)
        return content

    def write_bytes(self, content: bytes) -> int:
        """Put bytes there behind the store's back."""
        with _file(self._root) as file:
            row = (self._key, 1, content)
            file.execute("INSERT OR REPLACE INTO objects (key, stored_at, content) VALUES (?, ?, ?)", row)
        return len(content)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object behind the store's back."""
        with _file(self._root) as file:
            gone = file.execute("DELETE FROM objects WHERE key = ?", (self._key,)).rowcount
        if not gone and not missing_ok:
            raise FileNotFoundError(self._key)

    def _content(self) -> bytes | None:
        with _file(self._root) as file:
            found = file.execute("SELECT content FROM objects WHERE key = ?", (self._key,)).fetchone()
        return None if found is None else found[0]


def object_in(root: Path, content_address: str) -> Path | Row:
    """Return an object of a root, by the documented layout; a file where there is none."""
    algorithm, _, digest = content_address.partition(":")
    key = f"{algorithm}/{digest[:2]}/{digest[2:4]}/{digest}"
    if (root / "small" / "objects.db").exists() and (row := Row(root, key)).exists():
        return row
    return root / key


def objects_in(root: Path) -> dict[str, bytes]:
    """Return everything that is stored below a root, by hex digest."""
    files = {path.name: path.read_bytes() for path in root.glob("blake3/??/??/*")}
    if not (root / "small" / "objects.db").exists():
        return files
    with _file(root) as file:
        rows = file.execute("SELECT key, content FROM objects").fetchall()
    return {**files, **{key.rpartition("/")[2]: content for key, content in rows}}


def overwrite(stored: Path | Row, content: bytes) -> None:
    """Put other bytes into an object, as a failing disk does; it may be gone."""
    stored.unlink(missing_ok=True)
    stored.write_bytes(content)


def stored_below(root: Path) -> list[str]:
    """Return the keys of the objects that are rows, and every other file below a root but its marker and its caches."""
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and path.name != MARKER}
    files = {path for path in files if not path.startswith("files-cache/")}
    others = {path for path in files if not path.startswith("small/objects.db")}
    if others == files:
        return sorted(files)
    with _file(root) as file:
        return sorted({*others, *(key for (key,) in file.execute("SELECT key FROM objects"))})


@contextmanager
def _file(root: Path) -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(root / "small" / "objects.db", timeout=60)) as file, file:
        yield file
