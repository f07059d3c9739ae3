"""Backends are found by their ids, and an object's size says which of them takes it."""

from pathlib import Path

import pytest

from artifactstore.backends.local import LocalBackend
from artifactstore.backends.registry import BackendRegistry
from artifactstore.backends.small import SmallBackend
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.storage import UnknownBackend


def test_a_backend_is_found_by_its_id(tmp_path: Path) -> None:
    b, a = LocalBackend(tmp_path / "b", "b"), LocalBackend(tmp_path / "a", "a")
    registry = BackendRegistry([b, a], "b")
    assert registry.resolve("a") is a
    assert registry.default is registry.resolve("b") is b
    assert list(registry) == [a, b]
    assert list(registry.in_use()) == [b]


def test_an_unknown_id_is_a_typed_error_with_the_known_ones(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path, "a")
    for act in (lambda: BackendRegistry([backend], "s3"), lambda: BackendRegistry([backend], "a").resolve("s3")):
        with pytest.raises(UnknownBackend) as caught:
            act()
        assert (caught.value.backend_id, caught.value.known) == ("s3", ("a",))
    with pytest.raises(UnknownBackend, match="local-small"):
        BackendRegistry([backend], "a", small_max=1)


def test_two_backends_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="two backends"):
        BackendRegistry([LocalBackend(tmp_path), LocalBackend(tmp_path)], "local")


def test_small_objects_go_to_their_own_backend_unless_none_are_small(tmp_path: Path) -> None:
    local, small = LocalBackend(tmp_path), SmallBackend(tmp_path)
    registry = BackendRegistry([local, small], "local", small_max=9)
    assert [registry.for_size(size) for size in (0, 9, 10)] == [small, small, local]
    assert list(registry.in_use()) == [local, small]
    none = BackendRegistry([local, small], "local")
    assert [none.for_size(size) for size in (0, 1)] == [local, local]
    assert list(none.in_use()) == [local]
