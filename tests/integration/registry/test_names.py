"""A package is meant by its id or by its name, in every method that takes one, at all three faces.

What else can name a package is in `unit/test_package_references.py`.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from artifactstore import Registry, Settings, aio, blocking
from artifactstore.errors import AmbiguousPackage, InvalidValue, PackageNotFound
from integration.registry.samples import plant, settings_in
from integration.registry.test_arguments import drain, use_blocking

TAKERS = [
    name
    for name, member in vars(Registry).items()
    if not name.startswith("_") and "package" in inspect.signature(member).parameters
]


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
    }
    parameters = inspect.signature(getattr(Registry, name)).parameters.values()
    found = {each.name: needed[each.name] for each in parameters if each.default is each.empty and each.name in needed}
    if name == "export_package":
        found["directory"] = tree.with_name(f"exported-{package}")
    if name == "ingest_file":
        found["path"] = "g"
    if name == "annotate_package":
        found["annotations"] = {"checked": True}
    return {"package": package, **found}


def in_order(names: list[str]) -> list[str]:
    """Put files in, finalize, and then all that asks for a finalized package."""
    first = ["ingest_file", "ingest_directory", "finalize_package"]
    return [*first, *(name for name in names if name not in first)]


async def test_a_name_does_wherever_an_id_does(registry: Registry, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    created = await registry.create_package("nightly")
    for name in in_order(TAKERS):
        await drain(getattr(registry, name)(**arguments(name, tree, "nightly")))
    for name in TAKERS[2:]:  # it is finalized
        if not name.startswith("ingest"):
            await drain(getattr(registry, name)(**arguments(name, tree, created.package_id)))
    finalized = await registry.get_package("nightly")
    assert (finalized.package_id, finalized.status, finalized.files) == (created.package_id, "finalized", 2)


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
