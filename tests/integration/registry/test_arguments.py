"""A caller's mistake is answered to the caller: one typed error, nothing is sent, and no actor notices.

Every parameter of every public method is given values of wrong types, at trio's own registry and at both faces.
"""

import asyncio
import inspect
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from enum import IntEnum, StrEnum
from functools import partial
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import cast, override

import pytest
import trio

from artifactstore import EntryFilter, PackageFilter, Registry, Settings, aio, blocking, open_registry
from artifactstore.errors import ArtifactStoreError, InvalidValue, PackageNotFound, PathRefused, UnknownRetentionClass
from artifactstore_protocols.keep_rules import KeepRules
from integration.registry.samples import actors, check_sound, plant, stream_of
from public_methods import public_methods


class Liar:
    """Says that it is text, and has none of its methods."""

    @override
    def __getattribute__(self, name: str) -> object:
        return str if name == "__class__" else super().__getattribute__(name)


class Fragile:
    """Cannot be shown."""

    @override
    def __repr__(self) -> str:
        raise AssertionError("an error must not show what the caller gave")

    __str__ = __repr__


async def asynchronous(_: object) -> None:
    """No callback: it is called, and not awaited."""


WRONG: dict[str, tuple[object, ...]] = {
    "str": (5, b"p", True, 1.5, [], {}, Path("p"), Liar(), Fragile(), object, ...),
    "Path": ("p", b"p", 5, True, PurePath("p"), Path("a\0b"), Path("a\ud800b"), Fragile()),
    "int": ("1", 1.0, True, -1, 2**63, 10**5000, math.nan, b"1", Fragile()),
    "bool": (1, 0, "yes", [], Fragile()),
    "float": ("1", math.nan, -1, -0.5, True, 1j, Fragile()),
    "mapping": (5, "k=v", [("k", "v")], {"n": 1.5}, {1: "n"}, {"n": None}, {"n": b"v"}, {None: "v"}, {"n": Liar()}),
    "keys": (5, "k", b"k", {"k": 1}, [5], [b"k"], [None], ["k", Liar()], Fragile()),
    "schema": (5, "{}", [], {1: 2}, {"a": 1.5}, {"a": b""}, {"a": "\ud800"}, {"a": {"b": {1}}}, {"a": Fragile()}),
    "callable": (5, "print", asynchronous, Fragile()),
    "policy": ("keep", b"keep", 1, True, [], Fragile()),
    "form": ("xml", "CBOR", b"cbor", 1, True),
    "filter": (5, "p", {"name": "p"}, EntryFilter(path="p"), Fragile()),
    "search": (5, "p", {"path": "p"}, PackageFilter(), Fragile()),
    "selection": (5, "*.log", ["*.log"], {"exclude": []}, EntryFilter(path="p"), Fragile()),
    "sources": ("p", b"p", 5, [], [5], ["p"], {"a": b""}, Path("a\0b"), Fragile()),
    "rules": (5, "last 3", {"last": 3}, ["last"], EntryFilter(path="p"), Fragile()),
    "sort": ("age", "Created", b"name", 1, True, Fragile()),
    "texts": (5, "p", b"p", {"a": "b"}, [5], ["a", None], Fragile()),
    "contents": (5, "p", b"p", {b"a": b"b"}, ["a"], [b"a", None], Fragile()),
    "entries": (5, "p", b"p", {"a": "b"}, ["a"], [None], Fragile()),
    "directories": (5, "p", Path("p"), ["p"], [5], [None], Fragile()),
    "settings": (5, "s", Path("s"), {"database_url": "sqlite:///x"}, Fragile()),
    "source": ("p", b"p", 5, bytearray(b"p"), {"a": b""}, Path("a\0b"), Fragile()),
}
"""Wrong values, by what is wanted. None is tried where it is no value of its own."""

KINDS = {
    "package": "str",
    "before": "str",
    "after": "str",
    "tag": "str",
    "glob": "str",
    "protect": "bool",
    "tags": "bool",
    "prune": "bool",
    "name": "str",
    "path": "str",
    "retention": "str",
    "principal": "str",
    "idempotency_key": "str",
    "media_type": "str",
    "metadata": "mapping",
    "annotations": "mapping",
    "remove": "keys",
    "schema": "schema",
    "parents": "keys",
    "source": "source",
    "sources": "sources",
    "prefix": "str",
    "skip_unreadable": "bool",
    "directory": "Path",
    "file": "Path",
    "files_cache": "bool",
    "follow_links": "bool",
    "expected_size": "int",
    "offset": "int",
    "length": "int",
    "since": "int",
    "limit": "int",
    "executable": "bool",
    "replace": "bool",
    "links": "policy",
    "check": "bool",
    "max_age_s": "float",
    "grace_s": "float",
    "orphan_age_s": "float",
    "progress": "callable",
    "form": "form",
    "where": "filter",
    "packages": "filter",
    "wanted": "search",
    "sort": "sort",
    "selection": "selection",
    "reverse": "bool",
    "subtree": "str",
    "paths": "texts",
    "strip_components": "int",
    "update": "bool",
    "keep_going": "bool",
    "to": "settings",
    "other": "settings",
    "sample_ppm": "int",
    "seed": "int",
    "limit_rate": "int",
    "group": "str",
    "rules": "rules",
    "chosen": "texts",
    "hold": "str",
    "reason": "str",
    "digests": "texts",
    "confirm": "texts",
    "confirm_events": "int",
    "text": "str",
    "backups": "directories",
    "before_expiry": "bool",
    "duration": "str",
    "expiring_within": "str",
    "dry_run": "bool",
    "yes_expire": "int",
    "abandoned_after": "str",
    "scopes": "texts",
    "expires": "str",
    "secret": "str",
    "contents": "texts",
    "readable": "texts",
    "entries": "entries",
}


def right_values(tree: Path) -> dict[str, object]:
    """A value that would do for each parameter without a default."""
    return {
        "package": "p",
        "hold": "h",
        "reason": "r",
        "text": "jane",
        "digests": (),
        "duration": "1d",
        "retention": "short",
        "before": "p",
        "after": "p",
        "tag": "t",
        "glob": "n*",
        "name": "n",
        "path": "f",
        "wanted": EntryFilter(path="f"),
        "schema": {},
        "source": tree / "f",
        "sources": tree,
        "directory": tree,
        "file": tree,
        "form": "tar",
        "to": Settings(),
        "group": "g",
        "rules": KeepRules(last=1),
        "chosen": ("p",),
        "scopes": ("read",),
        "secret": "s",
        "contents": (),
        "entries": (),
    }


def mistakes(method: Callable[..., object], tree: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Every call of a method in which one argument is wrong."""
    parameters = [each for each in inspect.signature(method).parameters.values() if each.name != "self"]
    right = {each.name: right_values(tree)[each.name] for each in parameters if each.default is each.empty}
    if "glob" in right and "schema" in right:
        right["schema"] = "n"  # a name, not a document
    kinds = KINDS | {"packages": "texts"} if "scopes" in right else KINDS  # globs, not a filter
    if "contents" in right and "readable" not in inspect.signature(method).parameters:
        kinds = kinds | {"contents": "contents"}  # what is stored, not where
    for each in parameters:
        for value in (*WRONG[kinds[each.name]], *(() if each.default is None else (None,))):
            yield each.name, {**right, each.name: value}


async def drain(found: object) -> None:
    """Use whatever a method of trio's registry or of asyncio's returns."""
    if inspect.isawaitable(found):
        await found
    elif isinstance(found, AbstractAsyncContextManager):
        async with cast("AbstractAsyncContextManager[AsyncIterator[object]]", found) as items:
            _ = [item async for item in items]
    elif isinstance(found, AsyncGenerator):
        _ = [item async for item in cast("AsyncGenerator[object]", found)]


METHODS = public_methods(Registry)


async def test_a_wrong_argument_is_refused_and_no_actor_sees_it(registry: Registry, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    await registry.create_package("p")
    tried = 0
    for name in METHODS:
        method = getattr(registry, name)
        for parameter, arguments in mistakes(getattr(Registry, name), tree):
            with pytest.raises((InvalidValue, ArtifactStoreError)) as refusal:
                await drain(method(**arguments))
            if parameter != "schema":
                assert isinstance(refusal.value, InvalidValue), (name, parameter)
                assert refusal.value.what.startswith(parameter), (name, refusal.value)
            assert len(str(refusal.value)) < 300
            tried += 1
    assert tried > 400
    assert len(await check_sound(registry)) == 2
    assert [(actor.name, actor.starts) for actor in actors(registry) if actor.starts != 1] == []


@pytest.mark.slow
def test_both_faces_refuse_the_same(settings: Settings, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    with blocking.open_registry(settings) as registry:
        registry.create_package("p")
        for name in METHODS:
            for parameter, arguments in mistakes(getattr(Registry, name), tree):
                with pytest.raises(ArtifactStoreError) as refusal:
                    use_blocking(getattr(registry, name)(**arguments))
                assert isinstance(refusal.value, InvalidValue) or parameter == "schema", (name, parameter)
        with pytest.raises(InvalidValue, match="source"):
            registry.ingest_file("p", "x", stream_of(b"asynchronous"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidValue, match=r"chunk.*encode text"):
            registry.ingest_file("p", "x", ["text"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
        assert len(registry.read_events()) == 2
        assert registry.snapshot().actor("root/core/ingest").starts == 1

    async def on_asyncio() -> None:
        async with aio.open_registry(settings) as registry:
            for name in METHODS:
                for parameter, arguments in mistakes(getattr(Registry, name), tree):
                    with pytest.raises(ArtifactStoreError) as refusal:
                        await drain(getattr(registry, name)(**arguments))
                    assert isinstance(refusal.value, InvalidValue) or parameter == "schema", (name, parameter)
            with pytest.raises(InvalidValue, match="source"):
                await registry.ingest_file("p", "x", [b"synchronous"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            assert len(await registry.read_events()) == 2
            assert (await registry.snapshot()).actor("root/core/ingest").starts == 1

    asyncio.run(on_asyncio())


def use_blocking(found: object) -> None:
    """Use whatever a method of the blocking registry returns."""
    if isinstance(found, AbstractContextManager):
        with cast("AbstractContextManager[Iterator[object]]", found) as items:
            _ = list(items)
    elif isinstance(found, Iterator):
        _ = list(cast("Iterator[object]", found))


class Name(StrEnum):
    """Text, by inheritance."""

    NIGHTLY = "nightly"
    LONG = "long"
    BRANCH = "branch"


class Loud(str):
    """Text that shows itself, compares and hashes otherwise."""

    __slots__ = ()

    @override
    def __str__(self) -> str:
        return "loud"

    @override
    def __eq__(self, other: object) -> bool:
        return True

    @override
    def __hash__(self) -> int:
        return 1


class Position(IntEnum):
    """Counts, by inheritance."""

    THIRD = 3


async def test_what_inherits_from_the_right_type_is_taken_for_what_it_holds(registry: Registry, tree: Path) -> None:
    metadata: Mapping[str, str] = MappingProxyType({Name.BRANCH: Loud("main")})
    package = await registry.create_package(Name.NIGHTLY, retention=Name.LONG, metadata=metadata, principal=Loud("ci"))
    assert (package.name, package.retention_class, package.metadata) == ("nightly", "long", {"branch": "main"})
    assert {type(text) for text in (package.name, *package.metadata, *package.metadata.values())} == {str}
    file = await registry.ingest_file(Loud("nightly"), Loud("a/b"), Path(plant(tree, {"f": b"content"}), "f"))
    assert (file.path, file.package_id) == ("a/b", package.package_id)
    async with registry.get_file("nightly", "a/b", offset=Position.THIRD) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"tent"
    log = await check_sound(registry)
    assert [stored.event.principal for stored in log] == ["ci", "ci", "anonymous", "anonymous"]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["\ud800", "a\0b", "", "x" * 100_000])
async def test_text_that_names_nothing_finds_nothing(registry: Registry, text: str) -> None:
    with pytest.raises(PackageNotFound):
        await registry.get_package(text)
    with pytest.raises(PackageNotFound):
        await registry.finalize_package(text)
    with pytest.raises(PackageNotFound):
        await drain(registry.history(text))
    package = (await registry.create_package("p")).package_id
    with pytest.raises(PathRefused):
        await registry.get_file_record(package, text)
    creating = partial(registry.create_package, "q")
    for refused in (partial(creating, principal=text), partial(creating, idempotency_key=text)):
        with pytest.raises(InvalidValue):
            await refused()
    with pytest.raises(UnknownRetentionClass):
        await creating(retention=text)
    await registry.finalize_package(package)
    with pytest.raises(UnknownRetentionClass) as unknown:
        await registry.set_retention(package, text)
    assert len(str(unknown.value)) < 400
    assert len(await check_sound(registry)) == 3


OPENING: Mapping[str, Callable[..., object]] = {
    "trio": open_registry,
    "asyncio": aio.open_registry,
    "plain": blocking.open_registry,
}


@pytest.mark.parametrize("settings", ["sqlite:///x.db", b"x", 5, {}, Settings])
@pytest.mark.parametrize("program", OPENING)
def test_a_store_is_opened_with_settings(program: str, settings: object) -> None:
    with pytest.raises(InvalidValue, match=r"settings.*give Settings"):
        open_in(program, settings)


@pytest.mark.parametrize("backend", [5, "local", asynchronous, lambda: None, lambda: "local", object])
@pytest.mark.parametrize("program", OPENING)
def test_a_backend_is_a_function_that_returns_one(program: str, settings: Settings, backend: object) -> None:
    with pytest.raises(InvalidValue, match="backend"):
        open_in(program, settings, backend=backend)
    with pytest.raises(InvalidValue, match=r"create '5': give True or False"):
        open_in(program, settings, create=5)


def open_in(program: str, *args: object, **kwargs: object) -> None:
    """Open a store in a program of one kind."""

    async def run() -> None:
        await drain(OPENING[program](*args, **kwargs))

    if program == "plain":
        use_blocking(OPENING[program](*args, **kwargs))
    elif program == "asyncio":
        asyncio.run(run())
    else:
        trio.run(run)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("database_url", value) for value in (None, 5, b"sqlite:///x.db", Path("x.db"))],
        *[("storage_local_root", value) for value in (None, b"objects", 5, Path("a\0b"))],
        *[("log_level", value) for value in (None, 10, ["INFO"])],
        *[("package_files_max", value) for value in (None, b"5", 5.0, True, 0, -1, 2**63)],
        *[("gc_hours", value) for value in (None, b"5", 5.0, True, -1, 8761)],
    ],
)
def test_a_setting_of_another_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidValue):
        Settings(**{name: value})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
