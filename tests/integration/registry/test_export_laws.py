"""Whatever a tree holds: a package of it is exported as an equal tree, in parts, and over any other tree."""

import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore import Registry, open_registry
from artifactstore_protocols.export_choice import LinksLeadOut
from artifactstore_protocols.links import escaping_links
from artifactstore_protocols.paths import path_key
from integration.registry.samples import settings_in
from strategies import targets, tree_paths

type Node = tuple[str, str, bytes, bool]
"""Path, kind, content or target, executable."""

_COUNTER = count()


@st.composite
def trees(draw: st.DrawFn) -> list[Node]:
    """Trees of files, links that stay inside, and empty directories."""
    nodes: list[Node] = []
    links: dict[str, str] = {}
    paths = [path for path in draw(tree_paths()) if not path.startswith(".artifact")]
    for path in paths:
        kind = draw(st.sampled_from(["file", "file", "link", "directory"]))
        target = draw(targets())
        if kind == "link" and not escaping_links({**links, path: target}, paths):
            links[path] = target
            nodes.append((path, "link", target.encode(), False))
        elif kind == "directory":
            nodes.append((path, "directory", b"", False))
        else:
            nodes.append((path, "file", draw(st.binary(max_size=9)), draw(st.booleans())))
    return nodes


def plant(root: Path, nodes: Sequence[Node]) -> Path:
    root.mkdir()
    for path, kind, content, executable in nodes:
        at = root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            at.symlink_to(content.decode())
        elif kind == "directory":
            at.mkdir()
        else:
            at.write_bytes(content)
            at.chmod(0o755 if executable else 0o644)
    return root


def found(root: Path) -> dict[str, tuple[int, bytes, bool]]:
    """Names, kinds, contents or targets, and executable bits."""
    nodes: dict[str, tuple[int, bytes, bool]] = {}
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        content = b""
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        runs = bool(stat.S_ISREG(mode) and mode & 0o100)
        nodes[path.relative_to(root).as_posix()] = (stat.S_IFMT(mode), content, runs)
    return nodes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that all examples share: what went before must make no difference."""
    return tmp_path_factory.mktemp("store")


async def check(registry: Registry, root: Path, nodes: Sequence[Node], other: Sequence[Node], part: int) -> None:
    tree = plant(root / "tree", nodes)
    ingested = await registry.ingest_tree(tree, name=f"p{next(_COUNTER)}")
    package = ingested.package_id
    await registry.export_package(package, root / "out")
    assert found(root / "out") == found(tree)

    async with registry.export_archive(package, "tar") as chunks:
        archive = b"".join([chunk async for chunk in chunks])
    (root / "untarred").mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(root / "untarred", filter="fully_trusted")  # noqa: S202 - the names are those of the test
    assert (await registry.ingest_tree(root / "untarred", name="untarred")).tree_digest == ingested.tree_digest

    earlier = (await registry.ingest_tree(plant(root / "other", other), name="other")).package_id
    await registry.export_package(earlier, root / "updated")
    kinds = {path_key(path): mode for path, (mode, _, _) in found(root / "updated").items()}
    clashing = [
        path
        for path, (mode, _, _) in found(tree).items()
        if stat.S_ISDIR(kinds.get(path_key(path), mode)) != stat.S_ISDIR(mode)
    ]
    if not clashing:
        report = await registry.export_package(package, root / "updated", update=True)
        now = found(root / "updated")
        assert {path: now[path] for path in found(tree)} == found(tree)
        assert report.unchanged + report.replaced + report.new == report.files + report.links
        again = await registry.export_package(package, root / "updated", update=True)
        assert (again.replaced, again.new) == (0, 0)

    directories = sorted(path for path, (mode, _, _) in found(tree).items() if stat.S_ISDIR(mode))
    if directories:
        subtree = directories[part % len(directories)]
        try:
            await registry.export_package(package, root / "part", subtree=subtree)
        except LinksLeadOut:
            return
        twins = [path for path in directories if path_key(path) == path_key(subtree)]
        if len(twins) == 1:
            assert found(root / "part") == found(tree / subtree)


@pytest.mark.slow
@settings(max_examples=25)
@given(nodes=trees(), other=trees(), part=st.integers(0, 99))
def test_an_export_is_an_equal_tree(store: Path, nodes: Sequence[Node], other: Sequence[Node], part: int) -> None:
    async def main(root: Path) -> None:
        async with open_registry(settings_in(store)) as registry:
            await check(registry, root, nodes, other, part)

    with tempfile.TemporaryDirectory(dir=store.parent) as root:
        trio.run(main, Path(root))
