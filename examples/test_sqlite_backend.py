"""The backend of `sqlite_backend.py` passes the suite that every storage backend has to pass.

Run me: pytest test_sqlite_backend.py
"""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import override

import pytest

from artifactstore import Settings
from artifactstore.blocking import open_registry
from artifactstore.testing.backend_conformance import SharedBackendConformance, Store
from artifactstore_protocols.storage import StorageDenied, StorageFailed
from sqlite_backend import PIECE_BYTES, SqliteBackend


class TestSqliteBackend(SharedBackendConformance):
    """Each case of the suite, on a file of its own."""

    @pytest.fixture
    @override
    def store(self, tmp_path: Path) -> Store:
        return partial(SqliteBackend, tmp_path / "objects.db")


def test_a_store_runs_on_it_and_notices_damage(tmp_path: Path) -> None:
    """Objects of several pieces, read whole and in part; a bit that rots in the file is found, and repaired."""
    content = bytes(range(256)) * (PIECE_BYTES // 100)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large.bin").write_bytes(content)
    settings = Settings(database_url=f"sqlite:///{tmp_path}/log.db", storage_local_root=tmp_path / "not used")
    with open_registry(settings, backend=partial(SqliteBackend, tmp_path / "objects.db")) as registry:
        package = registry.ingest_tree(tmp_path / "tree").package_id
        with registry.get_file(package, "large.bin") as chunks:
            assert b"".join(chunks) == content
        with registry.get_file(package, "large.bin", offset=PIECE_BYTES - 10, length=20) as part:
            assert b"".join(part) == content[PIECE_BYTES - 10 : PIECE_BYTES + 10]
        assert registry.verify().sound
        with closing(sqlite3.connect(tmp_path / "objects.db")) as rotting, rotting:
            rotting.execute("UPDATE pieces SET content = zeroblob(length(content)) WHERE number = 1")
        assert [flaw.size_bytes for flaw in registry.verify().mismatches] == [len(content)]
        registry.ingest_tree(tmp_path / "tree")
        assert registry.verify().sound
    assert not settings.storage_local_root.exists()


def test_what_cannot_be_opened_is_refused_by_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "a directory").mkdir()
    (tmp_path / "a text").write_text("no database, and long enough for SQLite to tell\n" * 100)
    settings = Settings(database_url=f"sqlite:///{tmp_path}/log.db")
    for name, refusal in (("a directory", StorageDenied), ("a text", StorageFailed)):
        with pytest.raises(refusal), open_registry(settings, backend=partial(SqliteBackend, tmp_path / name)):
            raise AssertionError("opened")
