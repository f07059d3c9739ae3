"""What holds whatever is done in whatever order: views equal the log, refused means absent, trees have one digest."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore import Registry, open_registry
from artifactstore_protocols.errors import ArtifactStoreError
from integration.registry.samples import check_sound, content_of, object_file, plant, plant_tree, settings_in, stream_of
from stored_objects import overwrite
from strategies import tree_paths


@dataclass(frozen=True, slots=True)
class Create:
    retention: str


@dataclass(frozen=True, slots=True)
class Add:
    package: int
    path: str
    content: bytes
    replace: bool


@dataclass(frozen=True, slots=True)
class AddTree:
    package: int
    contents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Finalize:
    package: int


@dataclass(frozen=True, slots=True)
class Register:
    name: str


@dataclass(frozen=True, slots=True)
class Damage:
    """Change or remove the object of a content, if there is one, and verify."""

    content: bytes
    remove: bool


@dataclass(frozen=True, slots=True)
class Rebuild:
    pass


type Step = Create | Add | AddTree | Finalize | Register | Damage | Rebuild

# Few of each, so that steps meet.
_PATHS = st.sampled_from(["a", "a/b", "b", "\u00e9", "e\u0301", "../a"])
_CONTENTS = st.sampled_from([b"", b"x", b"yy"])
_STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Create, st.sampled_from(["standard", "ephemeral", "forever"])),
    st.builds(
        Add,
        st.integers(0, 2),
        st.sampled_from(["a", "a/b", "b", "\u00e9", "e\u0301", "../a"]),
        _CONTENTS,
        st.booleans(),
    ),
    st.builds(AddTree, st.integers(0, 2), st.lists(_CONTENTS, max_size=3).map(tuple)),
    st.builds(Finalize, st.integers(0, 2)),
    st.builds(Register, st.sampled_from(["build", ""])),
    st.builds(Damage, _CONTENTS, st.booleans()),
    st.builds(Rebuild),
)


@dataclass(slots=True)
class _Model:
    """What should be there: the files of every package, as they were acknowledged."""

    packages: list[str] = field(default_factory=list[str])
    files: dict[str, dict[str, bytes]] = field(default_factory=dict[str, dict[str, bytes]])

    def id_of(self, package: int) -> str:
        return self.packages[package] if package < len(self.packages) else "no such package"


async def _take(step: Step, registry: Registry, model: _Model, root: Path) -> None:
    match step:
        case Create():
            created = await registry.create_package("p", retention=step.retention)
            model.packages.append(created.package_id)
            model.files[created.package_id] = {}
        case Add():
            package = model.id_of(step.package)
            await registry.ingest_file(package, step.path, stream_of(step.content), replace=step.replace)
            model.files[package][step.path] = step.content
        case AddTree():
            package = model.id_of(step.package)
            with tempfile.TemporaryDirectory(dir=root) as directory:
                names = {f"tree/{number}": content for number, content in enumerate(step.contents)}
                plant(Path(directory), names)
                await registry.ingest_directory(package, Path(directory), replace=True)
            model.files[package] |= names
        case Finalize():
            await registry.finalize_package(model.id_of(step.package))
        case Register():
            await registry.register_metadata_schema(step.name, {"type": "object"})
        case Damage():
            await _damage(step, registry, model, root)
        case Rebuild():
            assert (await registry.replay()).identical


async def _damage(step: Damage, registry: Registry, model: _Model, root: Path) -> None:
    holders = [
        (package, path)
        for package, files in model.files.items()
        for path, content in files.items()
        if content == step.content
    ]
    if not holders:
        return
    record = await registry.get_file_record(*holders[0])
    stored = object_file(settings_in(root / "store"), record.content_address)
    if step.remove:
        stored.unlink(missing_ok=True)
    else:
        overwrite(stored, step.content + b"!")
    assert record.content_address in await _flawed(registry)
    # The same content comes again, and repairs it for everybody.
    package = (await registry.create_package("healer")).package_id
    await registry.ingest_file(package, "again", stream_of(step.content))
    assert record.content_address not in await _flawed(registry)


async def _flawed(registry: Registry) -> set[str]:
    report = await registry.verify()
    return {flaw.content_address for flaw in (*report.mismatches, *report.missing)}


async def _keep_one_object(registry: Registry) -> None:
    """Let no store lose all of its objects, which `verify` takes for a wrong root."""
    package = (await registry.create_package("kept")).package_id
    await registry.ingest_file(package, "kept", stream_of(b"kept"))


@pytest.mark.slow
@settings(max_examples=15)
@given(steps=st.lists(_STEPS, min_size=4, max_size=16))
def test_views_equal_the_log_whatever_was_asked(
    tmp_path_factory: pytest.TempPathFactory, steps: Sequence[Step]
) -> None:
    async def main(root: Path) -> None:
        model = _Model()
        async with open_registry(settings_in(root / "store")) as registry:
            await _keep_one_object(registry)
            seen = len(await registry.read_events())
            for step in (Create("standard"), *steps):
                refused = False
                try:
                    await _take(step, registry, model, root)
                except ArtifactStoreError:
                    refused = True
                new = len(await registry.read_events(seen))
                assert not (refused and new)
                seen += new
            log = await check_sound(registry)
            digest = (await registry.replay(check=True)).projection_digest
            rebuilt = await registry.replay()
            assert (rebuilt.projection_digest, rebuilt.repaired_rows) == (digest, 0)
            for package, files in model.files.items():
                assert {file.path for file in await registry.list_files(package)} == set(files)
                for path, content in files.items():
                    assert await content_of(registry, package, path) == content
        async with open_registry(settings_in(root / "store")) as again:
            assert await check_sound(again) == log
            assert (await again.replay(check=True)).projection_digest == digest

    trio.run(main, tmp_path_factory.mktemp("law"))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two stores are that all examples of a law share: what went before must make no difference."""
    return tmp_path_factory.mktemp("stores")


@st.composite
def _trees(draw: st.DrawFn) -> list[tuple[str, bytes, bool]]:
    return [(path, draw(st.binary(max_size=9)), draw(st.booleans())) for path in draw(tree_paths())]


@pytest.mark.slow
@settings(max_examples=8)
@given(tree=_trees(), data=st.data())
def test_equal_trees_have_equal_tree_digests_in_any_order_and_any_store(
    stores: Path, tree: list[tuple[str, bytes, bool]], data: st.DataObject
) -> None:
    """File by file in two orders, and as a directory in another store."""
    shuffled = data.draw(st.permutations(tree))

    async def finalize(registry: Registry, files: Sequence[tuple[str, bytes, bool]], name: str) -> tuple[str, str]:
        package = (await registry.create_package(name)).package_id
        for path, content, executable in files:
            await registry.ingest_file(package, path, stream_of(content), executable=executable)
        finalized = await registry.finalize_package(package)
        return finalized.tree_digest, finalized.manifest_digest

    async def main(root: Path) -> None:
        async with open_registry(settings_in(root / "one")) as one, open_registry(settings_in(root / "two")) as two:
            first, second = await finalize(one, tree, "first"), await finalize(one, shuffled, "second")
            with tempfile.TemporaryDirectory(dir=root) as directory:
                plant_tree(Path(directory), tree)
                third = await two.ingest_tree(Path(directory), name="third")
            assert first[0] == second[0] == third.tree_digest
            assert len({first[1], second[1], third.manifest_digest}) == 3, "a manifest also names its package"
            if tree:
                path, content, executable = tree[0]
                other = [(path, content, not executable), *tree[1:]]
                assert (await finalize(one, other, "other"))[0] != first[0]

    trio.run(main, stores)
