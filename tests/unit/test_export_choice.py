"""Which entries an export takes: subtrees, listed paths, stripped names, and links that must stay inside."""

import re
from collections.abc import Mapping
from functools import partial
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.export_choice import (
    ChosenEntries,
    ExportChoice,
    LinksLeadOut,
    PathsCollide,
    PathsNotInPackage,
    choose_entries,
)
from artifactstore_protocols.export_links import without_links
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.package_tree import PackageTree
from artifactstore_protocols.paths import PathRefused, path_key, tree_order
from artifactstore_protocols.records import FileRecord
from strategies import tree_paths


def entries(files: Mapping[str, str]) -> list[FileRecord]:
    """Entries: a text that begins with -> is the target of a link, / is an empty directory, other texts are files."""
    found: list[FileRecord] = []
    for path, what in files.items():
        kind = "link" if what.startswith("->") else "directory" if what == "/" else "file"
        target = what.removeprefix("->") if kind == "link" else ""
        found.append(FileRecord("p", path, kind, len(what), False, "", "", "", target, 1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return found


TREE = entries(
    {
        "README": "r",
        "docs/a.html": "a",
        "docs/empty": "/",
        "docs/img/dot.svg": "d",
        "docs/img/up": "->../a.html",
        "docs/latest": "->a.html",
        "docs/out": "->../README",
        "docs.txt": "t",
    }
)


def paths(chosen: ChosenEntries) -> list[str]:
    return [entry.path for entry in chosen.entries]


def choose(
    subtree: str = "", only: tuple[str, ...] | None = None, strip: int = 0, *, leave_out_links: bool = True
) -> ChosenEntries:
    return choose_entries("p", TREE, ExportChoice(subtree, only, strip), leave_out_links=leave_out_links)


def test_everything_is_the_default() -> None:
    assert paths(choose()) == sorted((entry.path for entry in TREE), key=tree_order)


@pytest.mark.parametrize(
    ("subtree", "found"),
    [
        ("docs", ["a.html", "empty", "img/dot.svg", "img/up", "latest"]),
        ("docs/img", ["dot.svg"]),
        ("docs/a.html", ["a.html"]),
        ("docs/latest", ["latest"]),
        ("docs/empty", []),
        ("docs.txt", ["docs.txt"]),
    ],
)
def test_a_subtree_loses_the_path_above_it(subtree: str, found: list[str]) -> None:
    assert paths(choose(subtree)) == found


def test_a_subtree_is_found_in_any_unicode_form() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    tree = entries({f"{decomposed}/x": "x"})
    assert paths(choose_entries("p", tree, ExportChoice(composed))) == ["x"]
    assert normalize("NFC", decomposed) == composed


def test_links_that_lead_out_are_all_named_or_left_out() -> None:
    tree = entries({"d/e/a": "->../../x", "d/e/b": "->../f", "d/e/c": "->b/../..", "d/e/fine": "->./a", "x": "x"})
    with pytest.raises(LinksLeadOut, match=r"-> .*`--links follow`") as refused:
        choose_entries("p", tree, ExportChoice("d/e"))
    assert refused.value.paths == ("d/e/a", "d/e/b", "d/e/c", "d/e/fine")
    chosen = choose_entries("p", tree, ExportChoice("d"), leave_out_links=True)
    assert (paths(chosen), chosen.escaping) == (["e/b"], ("d/e/a", "d/e/c", "d/e/fine"))


def test_a_link_to_an_entry_that_is_not_taken_stays() -> None:
    assert paths(choose(only=("docs/out",))) == ["docs/out"]


def test_listed_paths_are_those_of_the_package_and_directories_are_whole() -> None:
    chosen = choose(only=("docs.txt", "docs/img/", "docs/img/dot.svg", "docs/empty"))
    assert paths(chosen) == ["docs/empty", "docs/img/dot.svg", "docs/img/up", "docs.txt"]
    assert paths(choose("docs", ("docs/img", "docs/a.html"))) == ["a.html", "img/dot.svg", "img/up"]


def test_unknown_paths_are_all_named() -> None:
    with pytest.raises(PathsNotInPackage, match=r"has no nope, docs/nope; ") as refused:
        choose(only=("nope", "README", "docs/nope"))
    assert refused.value.paths == ("nope", "docs/nope")
    with pytest.raises(PathsNotInPackage, match="has no README below 'docs'"):
        choose("docs", ("README", "docs/a.html"))
    with pytest.raises(PathsNotInPackage, match="has no READ;"):
        choose("READ")


@pytest.mark.parametrize("path", ["../x", "/docs", "", "docs//img"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(PathRefused):
        choose(only=(path,))


def test_no_paths_are_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one path"):
        choose(only=())


def test_stripped_names_vanish_from_the_paths() -> None:
    chosen = choose(strip=1)
    assert paths(chosen) == ["a.html", "empty", "img/dot.svg", "img/up", "latest"]
    assert chosen.vanished == ("README", "docs.txt")
    assert chosen.escaping == ("docs/out",)
    assert paths(choose("docs", strip=1)) == ["dot.svg"]
    with pytest.raises(InvalidValue, match="nothing would be left; the longest path has 3"):
        choose(strip=3)


def test_paths_that_would_collide_are_all_named() -> None:
    tree = entries({"a/x": "1", "b/x": "2", "c/y": "3", "d/y/z": "4", "e/only": "5"})
    with pytest.raises(PathsCollide) as refused:
        choose_entries("p", tree, ExportChoice(strip_components=1))
    assert refused.value.paths == ("a/x", "b/x", "c/y", "d/y/z")


@given(found=tree_paths(), data=st.data())
def test_a_subtree_with_its_path_before_it_is_what_the_package_has_there(found: list[str], data: st.DataObject) -> None:
    if not found:
        return
    names = data.draw(st.sampled_from(found)).split("/")
    subtree = "/".join(names[: data.draw(st.integers(1, len(names)))])
    tree = entries(dict.fromkeys(found, "file"))
    chosen = paths(choose_entries("p", tree, ExportChoice(subtree)))
    if subtree in found:
        assert chosen == [subtree.rpartition("/")[2]]
    else:
        inside = {path_key(path) for path in found if path_key(path).startswith(f"{path_key(subtree)}/")}
        assert {path_key(f"{subtree}/{path}") for path in chosen} == inside


LINKED = entries(
    {
        "a/file": "f",
        "a/hollow": "/",
        "a/up": "->../top",
        "b/all": "->../a",
        "b/one": "->all/up",
        "b/sub/none": "->../../a/hollow",
        "top": "t",
    }
)


def choose_links(tree: list[FileRecord], links: LinkPolicy, subtree: str = "") -> dict[str, str]:
    chosen = choose_entries("p", tree, ExportChoice(subtree, links=links))
    assert chosen.escaping == ()
    return {entry.path: entry.kind for entry in chosen.entries}


def test_followed_links_become_what_they_lead_to_also_outside_the_subtree() -> None:
    below = {"all/file": "file", "all/hollow": "directory", "all/up": "file", "one": "file", "sub/none": "directory"}
    assert choose_links(LINKED, LinkPolicy.FOLLOW, "b") == below
    whole = choose_links(LINKED, LinkPolicy.FOLLOW)
    assert {path.removeprefix("b/"): kind for path, kind in whole.items() if path.startswith("b/")} == below
    assert choose_links(LINKED, LinkPolicy.FOLLOW, "b/all") == {"file": "file", "hollow": "directory", "up": "file"}
    assert choose_links(LINKED, LinkPolicy.FOLLOW, "b/one") == {"one": "file"}


def test_skipped_links_are_left_out_and_refused_ones_are_named() -> None:
    assert choose_links(LINKED, LinkPolicy.SKIP) == {"a/file": "file", "a/hollow": "directory", "top": "file"}
    with pytest.raises(InvalidValue, match=r"there are links: a/up, b/all, b/one, b/sub/none; follow or skip them"):
        choose_links(LINKED, LinkPolicy.REFUSE)
    assert choose_links(LINKED, LinkPolicy.REFUSE, "top") == {"top": "file"}


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"d/up": "->..", "f": "f"}, "d/up -> .. leads to a directory that contains it"),
        ({"a/l": "->../b", "b/m": "->../a"}, "a/l/m -> ../a leads to a directory"),
        ({"l": "->l"}, "l -> l leads to nothing"),
        ({"l": "->gone", "m": "->l"}, "l -> gone leads to nothing in the package, m -> l leads to nothing"),
        ({"cafe\u0301/up": "->.", "f": "f"}, "leads to a directory that contains it"),
    ],
)
def test_links_that_cannot_be_followed_are_all_named(tree: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidValue, match=re.escape(told)):
        choose_links(entries(tree), LinkPolicy.FOLLOW)


def test_links_that_repeat_directories_without_end_are_refused_in_time() -> None:
    tree = {f"{level}/{name}": f"->../{level + 1}" for level in range(60) for name in "ab"}
    for last in ("f", "->gone"):
        taken = entries({**tree, "60/x": last})
        with pytest.raises(InvalidValue, match="more than 500 entries"):
            without_links(taken, LinkPolicy.FOLLOW, partial(PackageTree, taken), entries_max=500)
