"""Backends are found by their ids, and by nothing else."""

from pathlib import Path

import pytest

from artifactstore.backends.local import LocalBackend
from artifactstore.backends.registry import BackendRegistry
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.storage import UnknownBackend


def test_a_backend_is_found_by_its_id(tmp_path: Path) -> None:
    b, a = LocalBackend(tmp_path / "b", "b"), LocalBackend(tmp_path / "a", "a")
    registry = BackendRegistry([b, a])
    assert registry.resolve("a") is a
    assert registry.resolve("b") is b
    assert list(registry) == [a, b]


def test_an_unknown_id_is_a_typed_error_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownBackend) as caught:
        BackendRegistry([LocalBackend(tmp_path, "a")]).resolve("s3")
    assert (caught.value.backend_id, caught.value.known) == ("s3", ("a",))


def test_two_backends_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="two backends"):
        BackendRegistry([LocalBackend(tmp_path), LocalBackend(tmp_path)])
