"""Every answer about a package is the answer of fsspec's local file system about the directory that was ingested."""

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.blocking import BlockingRegistry, open_registry
from artifactstore.fsspec import ArtifactStoreFileSystem
from integration.filesystem.stores import store_in

pytestmark = pytest.mark.slow

NAMES = st.sampled_from(["a", "b", "c.txt", "d e", "é", "[x]", "#%"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CONTENTS = st.binary(max_size=40)
PATTERNS = st.lists(st.sampled_from(["*", "**", "?", "a", "*.txt", "[ab]", "[!a]*", "é"]), min_size=1, max_size=3).map(
    "/".join
)
BOUNDS = st.none() | st.integers(-45, 45)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes | None]:
    """Files and empty directories (None) that fit into one directory."""
    tree: dict[str, bytes | None] = {}
    for path in draw(st.lists(PATHS, min_size=1, max_size=8)):
        above = {path.rsplit("/", count)[0] for count in range(1, path.count("/") + 1)}
        if not (path in tree or above & set(tree) or any(other.startswith(f"{path}/") for other in tree)):
            tree[path] = draw(st.none() | CONTENTS)
    return tree


type Question = Callable[[AbstractFileSystem, str], object]


class Pair:
    """A package and the directory that it was made of, asked the same questions."""

    def __init__(self, registry: BlockingRegistry, fs: ArtifactStoreFileSystem) -> None:
        self._registry = registry
        self.fs = fs
        self.local = LocalFileSystem()

    def make(self, tree: Mapping[str, bytes | None], directory: Path) -> None:
        for path, content in tree.items():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                target.mkdir()
            else:
                target.write_bytes(content)
        self.ingest(directory)

    def ingest(self, directory: Path) -> None:
        self.root = self._registry.ingest_tree(directory, files_cache=False).package_id
        self.directory = str(directory)

    def check_same(self, *questions: Question) -> None:
        """Compare the answers, without the names of the roots."""
        for question in questions:
            ours = answer(question, self.fs, self.root)
            theirs = answer(question, self.local, self.directory)
            assert ours == theirs


def answer(question: Question, fs: AbstractFileSystem, root: str) -> object:
    try:
        return shown(question(fs, root), root)
    except IsADirectoryError:
        return "a directory"
    except (FileNotFoundError, NotADirectoryError):
        return "nothing there"


def shown(value: object, root: str) -> object:
    """An answer without the name of the root, in one order, and with the facts that both kinds have."""
    if isinstance(value, str):
        return value.removeprefix(root)
    if isinstance(value, list):
        return sorted((shown(each, root) for each in cast("list[object]", value)), key=str)
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, object]", value)
    if "type" not in fields:
        return {str(shown(key, root)): shown(each, root) for key, each in fields.items()}
    size = fields["size"] if fields["type"] == "file" else None
    return shown(fields["name"], root), fields["type"], size, fields["islink"]


def questions_about(below: str, depth: int | None) -> tuple[Question, ...]:
    """What is asked about each path."""
    return (
        lambda fs, root: fs.info(root + below),
        lambda fs, root: (fs.exists(root + below), fs.isdir(root + below), fs.isfile(root + below)),
        lambda fs, root: fs.ls(root + below, detail=True),
        lambda fs, root: fs.ls(root + below, detail=False),
        lambda fs, root: fs.find(root + below, maxdepth=depth),
        lambda fs, root: fs.find(root + below, withdirs=True, detail=True),
        lambda fs, root: fs.cat(root + below),
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Pair]:
    store = tmp_path_factory.mktemp("same") / "store"
    with open_registry(store_in(store)) as registry:
        yield Pair(registry, ArtifactStoreFileSystem(store=str(store)))
    ArtifactStoreFileSystem.clear_instance_cache()


@settings(max_examples=40)
@given(tree=trees(), path=PATHS, pattern=PATTERNS, start=BOUNDS, end=BOUNDS, depth=st.none() | st.integers(1, 3))
def test_every_answer_is_that_of_the_local_file_system(
    pair: Pair,
    tree: dict[str, bytes | None],
    path: str,
    pattern: str,
    start: int | None,
    end: int | None,
    depth: int | None,
) -> None:
    with TemporaryDirectory() as directory:
        pair.make(tree, Path(directory))
        for at in {"", path, *tree, *(each.rpartition("/")[0] for each in tree)}:
            pair.check_same(*questions_about(f"/{at}".rstrip("/"), depth))
            if (content := tree.get(at)) is not None:
                assert range_of(pair, f"/{at}", start, end) == content[start:end]
        pair.check_same(
            lambda fs, root: fs.glob(f"{root}/{pattern}", maxdepth=depth),
            lambda fs, root: fs.glob(f"{root}/{pattern}/", detail=True),
        )


def range_of(pair: Pair, below: str, start: int | None, end: int | None) -> bytes:
    """A range of a file of the package. Where a range makes sense to both, the local file system has the same."""
    name = pair.root + below
    found = pair.fs.cat_file(name, start, end)
    assert pair.fs.cat_ranges([name] * 2, [start, 0], [end, 3]) == [found, pair.fs.cat_file(name)[:3]]
    if (start or 0) >= 0 and (end is None or end >= (start or 0)):
        assert found == pair.local.cat_file(pair.directory + below, start, end)
    return found


def test_links_are_what_they_are_in_the_local_file_system(pair: Pair, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    pair.make({"a/f": b"content", "a/b/g": b"more"}, tree)
    for link, target in {"file": "a/f", "directory": "a", "dead": "x/y", "a/b/root": "../..", "loop": "loop"}.items():
        (tree / link).symlink_to(target)
    pair.ingest(tree)
    for at in ("/file", "/directory/f", "/a/b/root/a/b/g", "/dead"):
        pair.check_same(*questions_about(at, None))
    pair.check_same(
        lambda fs, root: fs.info(root + "/directory"),
        lambda fs, root: fs.find(root),
        lambda fs, root: fs.glob(f"{root}/**"),
        lambda fs, root: fs.ls(root + "/directory", detail=False),
    )
    # In a listing, the local file system calls a link to a file `other`. pyarrow leaves out what has that type.
    kinds = {info["name"].removeprefix(pair.root): info["type"] for info in pair.fs.ls(pair.root)}
    assert kinds == {"/a": "directory", "/dead": "other", "/directory": "other", "/file": "file", "/loop": "other"}
    with pytest.raises(OSError, match="is part of a loop"):
        pair.fs.cat(f"{pair.root}/loop")
