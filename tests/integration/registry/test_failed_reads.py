"""A change of a package whose record cannot be read after the commit: nobody may be told that nothing was written."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from artifactstore import Registry
from artifactstore.database.errors import DatabaseUnavailable, OutcomeUnknown
from integration.registry.samples import plant

CHANGES: dict[str, Callable[[Registry, str], Awaitable[object]]] = {
    "annotate": lambda registry, package: registry.annotate_package(package, {"reviewed": "yes"}),
    "set retention": lambda registry, package: registry.set_retention(package, "permanent"),
    "extend retention": lambda registry, package: registry.extend_retention(package, "30d"),
    "delete": lambda registry, package: registry.delete_package(package, reason="a test", before_expiry=True),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_read_that_fails_after_the_commit_leaves_the_outcome_open(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    plant(tree, {"a": b"content"})
    package = (await registry.ingest_tree(tree)).package_id
    before = len([event async for event in registry.history(package)])
    store = registry._store  # pyright: ignore[reportPrivateUsage] - only its reads fail

    async def fails(_package_id: str) -> None:
        raise DatabaseUnavailable("the database", "the connection broke")

    monkeypatch.setattr(store, "package", fails)
    with pytest.raises(OutcomeUnknown, match="the connection broke, after the command was sent"):
        await CHANGES[change](registry, package)
    monkeypatch.undo()
    assert len([event async for event in registry.history(package)]) == before + 1
