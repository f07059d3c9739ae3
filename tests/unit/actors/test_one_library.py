"""Trio, asyncio and plain programs meet one library: the same methods, parameters, defaults and results."""

import contextlib
import inspect
import re
from collections import abc
from collections.abc import Callable
from typing import get_type_hints

import pytest

from artifactstore import Package, PackagePath, Registry, aio, blocking, open_registry
from artifactstore.aio import AsyncioRegistry
from artifactstore.blocking import BlockingPackage, BlockingPackagePath, BlockingRegistry
from artifactstore.client import RemoteRegistry
from artifactstore.client.aio import AsyncioRemoteRegistry
from artifactstore.client.blocking import BlockingRemoteRegistry
from public_methods import public_methods

FACES = {"aio": AsyncioRegistry, "blocking": BlockingRegistry}
AT_ONCE_IN_TRIO = {"snapshot"}
"""Another thread has to wait for what trio's own need not await."""


def plain(annotation: object) -> str:
    """An annotation as a plain program would have it: `AsyncIterator` and `Iterator` are one."""
    text = re.sub(r"\bAsync(?=Iter|Gen)", "", str(annotation)).replace("contextlib._Async", "contextlib._")
    return re.sub(r"\.(?:asynchronous|blocking)\.(?:Blocking)?(?=Package)", ".", text)


def shape(method: Callable[..., object]) -> list[tuple[object, ...]]:
    """Everything that a caller writes, and what is given back."""
    hints = get_type_hints(inspect.unwrap(method))
    parameters = inspect.signature(method).parameters.values()
    arguments: list[tuple[object, ...]] = [
        (each.name, each.kind, each.default, plain(hints[each.name])) for each in parameters if each.name != "self"
    ]
    return [*arguments, ("returns", plain(hints["return"]))]


def manner(method: Callable[..., object]) -> str:
    """How a method is called: awaited or called, iterated over, or entered as a block."""
    original = inspect.unwrap(method)
    if is_block(method):
        return "block"
    returned = get_type_hints(original)["return"]
    return "items" if getattr(returned, "__origin__", None) in {abc.AsyncGenerator, abc.Generator} else "call"


def is_block(method: Callable[..., object]) -> bool:
    made_by: list[str] = []
    inspect.unwrap(method, stop=lambda each: made_by.append(each.__code__.co_filename))  # returns None: no stop
    return contextlib.__file__ in made_by


@pytest.mark.parametrize("face", FACES)
def test_a_face_has_the_methods_of_the_registry(face: str) -> None:
    assert set(public_methods(FACES[face])) == set(public_methods(Registry))


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", public_methods(Registry))
def test_a_method_has_the_same_shape_everywhere(face: str, name: str) -> None:
    original, same = public_methods(Registry)[name], public_methods(FACES[face])[name]
    assert shape(same) == shape(original)
    assert manner(same) == manner(original)
    assert same.__doc__
    awaited = inspect.iscoroutinefunction(original) or name in AT_ONCE_IN_TRIO
    assert inspect.iscoroutinefunction(same) == (awaited and face == "aio")


REMOTE_FACES = {"aio": AsyncioRemoteRegistry, "blocking": BlockingRemoteRegistry}
ONLY_REMOTE = {"check_connection"}


def test_a_client_has_methods_of_the_registry_with_their_shapes() -> None:
    """Its events are as JSON shows them, so they are another record."""
    offered = public_methods(RemoteRegistry)
    assert offered.keys() - public_methods(Registry).keys() == ONLY_REMOTE
    for name in offered.keys() - ONLY_REMOTE:
        original, same = shape(public_methods(Registry)[name]), shape(offered[name])
        assert same[:-1] == original[:-1], name
        assert str(same[-1]).replace("records.shown_events.ShownEvent", "events.StoredEvent") == str(original[-1]), name


@pytest.mark.parametrize("face", REMOTE_FACES)
def test_a_face_of_the_client_has_its_methods_with_their_shapes(face: str) -> None:
    originals, offered = public_methods(RemoteRegistry), public_methods(REMOTE_FACES[face])
    assert offered.keys() == originals.keys()
    for name, same in offered.items():
        assert shape(same) == shape(originals[name]), name
        assert manner(same) == manner(originals[name]), name
        assert same.__doc__
        awaited = inspect.iscoroutinefunction(originals[name])
        assert inspect.iscoroutinefunction(same) == (awaited and face == "aio"), name


def test_blocks_and_iterations_are_told_apart() -> None:
    found = {name: manner(method) for name, method in public_methods(Registry).items()}
    assert {name for name, kind in found.items() if kind == "block"} == {"export_archive", "get_file", "tail_events"}
    assert {name for name, kind in found.items() if kind == "items"} == {
        "find",
        "list_packages",
        "list_metadata_schemas",
        "expire_packages",
        "list_holds",
        "list_retention",
        "list_tags",
        "tag_history",
        "list_keep_policies",
        "list_tokens",
        "list_retention_classes",
        "apply_keep_policies",
        "exported_events",
        "history",
    }


OPENED = [(Package, BlockingPackage), (PackagePath, BlockingPackagePath)]
"""What `open_package` returns to programs with an event loop, and what it leads to; and the same for plain ones."""
RETURNS_A_FILE = {"open"}
OF_THE_LIBRARY = {"reached_by"}


@pytest.mark.parametrize(("original", "same"), OPENED)
def test_an_opened_package_has_the_same_methods_everywhere(original: type, same: type) -> None:
    assert set(public_methods(same)) == set(public_methods(original)) - OF_THE_LIBRARY
    for name, method in public_methods(same).items():
        other = shape(public_methods(original)[name])
        assert shape(method)[:-1] == other[:-1]
        assert name in RETURNS_A_FILE or shape(method)[-1] == other[-1]


@pytest.mark.parametrize("opening", [aio.open_registry, blocking.open_registry])
def test_a_store_is_opened_alike_everywhere(opening: Callable[..., object]) -> None:
    assert shape(opening)[:-1] == shape(open_registry)[:-1]


def test_whatever_takes_a_package_calls_it_so() -> None:
    parameters = {name: list(inspect.signature(method).parameters) for name, method in public_methods(Registry).items()}
    assert [name for name, names in parameters.items() if "package_id" in names] == []
    assert len([name for name, names in parameters.items() if "package" in names]) == 26
