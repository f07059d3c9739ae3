"""A package is meant by its id or by its name, in every method that takes one, at all three faces.

What else can name a package is in `unit/test_package_references.py`.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from artifactstore import Registry, Settings, aio, blocking
from artifactstore.errors import AmbiguousPackage, InvalidValue, PackageIdNeeded, PackageNotFound
from integration.registry.samples import plant, settings_in
from integration.registry.test_arguments import drain, use_blocking
from public_methods import public_methods

TAKERS = [
    name for name, method in public_methods(Registry).items() if "package" in inspect.signature(method).parameters
]

BY_ID = {"delete_package", "place_hold", "set_retention", "extend_retention"}
"""What keeps a package or lets it go, and what changes that: a name could mean another package tomorrow."""

PUSH = ("missing_objects", "store_objects", "add_entries")
"""What fills an open package by reference."""


def arguments(name: str, tree: Path, package: str) -> Mapping[str, object]:
    """What a method needs beside a package."""
    needed: dict[str, object] = {
        "tag": "release",
        "path": "f",
        "source": tree / "f",
        "sources": tree,
        "directory": tree,
        "form": "tar",
        "to": settings_in(tree.with_name("other")),
        "reason": "a test",
        "retention": "long",
        "duration": "1d",
        "contents": (),
        "entries": (),
    }
    parameters = inspect.signature(getattr(Registry, name)).parameters.values()
    found = {each.name: needed[each.name] for each in parameters if each.default is each.empty and each.name in needed}
    if name == "export_package":
        found["directory"] = tree.with_name(f"exported-{package}")
    if name == "ingest_file":
        found["path"] = "g"
    if name == "delete_package":
        found["before_expiry"] = True
    if name == "annotate_package":
        found["annotations"] = {"checked": True}
    return {"package": package, **found}


def in_order(names: list[str]) -> list[str]:
    """Put files in, finalize, and then all that asks for a finalized package and takes a name."""
    first = ["ingest_file", "ingest_directory", *PUSH, "finalize_package"]
    return [*first, *(name for name in names if name not in first and name not in BY_ID)]


async def test_a_name_does_wherever_an_id_does(registry: Registry, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    created = await registry.create_package("nightly")
    for name in in_order(TAKERS):
        await drain(getattr(registry, name)(**arguments(name, tree, "nightly")))
    for name in TAKERS:
        if not name.startswith("ingest") and name not in {*PUSH, *BY_ID}:  # it is finalized
            await drain(getattr(registry, name)(**arguments(name, tree, created.package_id)))
    finalized = await registry.get_package("nightly")
    assert (finalized.package_id, finalized.status, finalized.files) == (created.package_id, "finalized", 2)


async def test_only_an_id_does_to_keep_a_package_and_to_let_it_go(registry: Registry, tree: Path) -> None:
    assert set(TAKERS) >= BY_ID
    package = (await registry.ingest_tree(plant(tree, {"f": b"content"}), name="nightly")).package_id
    await registry.set_tag("release", package)
    for name in sorted(BY_ID):
        for text in ("nightly", "nightly@latest", "tag:release", package[-12:]):
            with pytest.raises(PackageIdNeeded) as refused:
                await drain(getattr(registry, name)(**arguments(name, tree, text)))
            assert package in str(refused.value)
    for name in ("set_retention", "extend_retention", "place_hold"):
        await drain(getattr(registry, name)(**arguments(name, tree, package)))
    [hold] = [each async for each in registry.list_holds(package)]
    await registry.release_hold(hold.hold_id)
    await drain(registry.delete_package(**arguments("delete_package", tree, package)))  # type: ignore[arg-type]
    assert (await registry.get_package(package)).status == "deleted"


async def test_a_name_that_several_have_or_none_is_refused_by_all(registry: Registry, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    ids = [(await registry.create_package("nightly")).package_id for _ in range(2)]
    for name in TAKERS:
        with pytest.raises(AmbiguousPackage) as ambiguous:
            await drain(getattr(registry, name)(**arguments(name, tree, "nightly")))
        assert ambiguous.value.package_ids == (ids[1], ids[0])
        with pytest.raises(PackageNotFound) as missing:
            await drain(getattr(registry, name)(**arguments(name, tree, "weekly")))
        assert missing.value.package == "weekly"
    assert len(await registry.read_events()) == 3
    assert not tree.with_name("other").exists()


async def test_an_id_is_no_name_and_a_name_comes_before_a_part_of_an_id(registry: Registry) -> None:
    first = await registry.create_package("nightly")
    with pytest.raises(InvalidValue, match="it is an id; take another name"):
        await registry.create_package(first.package_id)
    part = await registry.create_package(first.package_id[-12:])
    assert (await registry.get_package(first.package_id)).name == "nightly"
    assert (await registry.get_package(first.package_id[-12:])).package_id == part.package_id
    assert (await registry.get_package(first.package_id[-13:])).package_id == first.package_id


@pytest.mark.slow
def test_both_faces_take_names(settings: Settings, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    with blocking.open_registry(settings) as registry:
        registry.create_package("plain")
        for name in in_order(TAKERS):
            method: Callable[..., object] = getattr(registry, name)
            use_blocking(method(**arguments(name, tree, "plain")))

    async def on_asyncio() -> None:
        async with aio.open_registry(settings) as registry:
            await registry.create_package("asyncio")
            for name in in_order(TAKERS):
                await drain(getattr(registry, name)(**arguments(name, tree, "asyncio")))

    asyncio.run(on_asyncio())
