"""Empty directories of a local root go, also beside puts that are about to use them."""

import os
from pathlib import Path

import pytest

from artifactstore.backends.local import LocalBackend
from artifactstore.testing.backend_conformance import delete, key_of, put, read, write


def directories(root: Path) -> set[str]:
    return {path.relative_to(root / "blake3").as_posix() for path in (root / "blake3").rglob("*") if path.is_dir()}


def test_only_directories_without_an_object_are_removed(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    put(backend, b"goes")
    put(backend, b"stays")
    (tmp_path / "blake3" / "notes").mkdir()
    delete(backend, key_of(b"goes"))
    assert backend.compact(lambda: None).freed_bytes > 0
    inner = Path(key_of(b"stays")).relative_to("blake3").parent
    assert directories(tmp_path) == {"notes", str(inner.parent), str(inner)}
    assert read(backend, key_of(b"stays")) == b"stays"
    assert backend.compact(lambda: None).freed_bytes == 0
    backend.close()


@pytest.mark.parametrize("store", [put, write], ids=["in a batch", "by a writer"])
def test_a_put_makes_a_directory_again_that_vanishes_before_its_object_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: object
) -> None:
    backend = LocalBackend(tmp_path)
    made, vanished = os.makedirs, 0

    def make_and_lose(path: str, *, exist_ok: bool = False) -> None:
        nonlocal vanished
        made(path, exist_ok=exist_ok)
        if vanished < 3:
            vanished += 1
            backend.compact(lambda: None)

    monkeypatch.setattr(os, "makedirs", make_and_lose)
    assert store(backend, b"content") == "stored"  # type: ignore[operator]
    assert vanished == 3
    assert read(backend, key_of(b"content")) == b"content"
    backend.close()
