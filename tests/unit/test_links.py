import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.entries import check_entry, link_entry
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.links import TARGET_BYTES_MAX, check_target, escaping_links
from artifactstore_protocols.paths import PathRefused
from strategies import targets

STAY: dict[str, tuple[dict[str, str], list[str]]] = {
    "beside": ({"latest": "v1"}, ["v1/a"]),
    "the root": ({"a/b/root": "../.."}, []),
    "down and up": ({"a/l": "../b/./c//../d/"}, ["b/d/x"]),
    "through links": ({"l": "m/x", "m": "n", "n": "d"}, ["d/x"]),
    "to nothing": ({"l": "missing"}, []),
    "below nothing and back": ({"l": "missing/a/../../b"}, []),
    "below a file and back": ({"l": "f/.."}, ["f"]),
    "to itself": ({"l": "l"}, []),
    "a loop that would leave if it ended": ({"d/a": "b/../../..", "d/b": "a"}, []),
    "through a loop": ({"a": "b", "b": "a", "c": "a/../../x"}, []),
    "a name of dots": ({"l": ".../x"}, []),
}

ESCAPE: dict[str, tuple[dict[str, str], list[str], list[str]]] = {
    "above the root": ({"l": ".."}, [], ["l"]),
    "above and back": ({"l": "../tree/a"}, ["a"], ["l"]),
    "deeper than it is": ({"a/b/l": "../../../x"}, [], ["a/b/l"]),
    "together": ({"m": "x/y/d/../etc", "x/y/d": "../.."}, [], ["m"]),
    "through one that escapes": ({"a": "b/x", "b": "c", "c": ".."}, [], ["a", "b", "c"]),
    "below nothing": ({"l": "missing/../../x"}, [], ["l"]),
    "below a link to nothing": ({"l": "m/../../x", "m": "missing"}, [], ["l"]),
    "below a file": ({"l": "f/../.."}, ["f"], ["l"]),
    "before a loop": ({"a": "../a", "b": "b"}, [], ["a"]),
    "under another normal form": ({"e\u0301/d": "..", "m": "\u00e9/d/../x"}, [], ["m"]),
    "all of them": ({"a": "..", "b": "x", "c": "d/../../y"}, ["d/f"], ["a", "c"]),
}


@pytest.mark.parametrize(("links", "paths"), STAY.values(), ids=STAY.keys())
def test_a_link_inside_the_tree_is_allowed(links: dict[str, str], paths: list[str]) -> None:
    assert escaping_links(links, paths) == []


@pytest.mark.parametrize(("links", "paths", "escaping"), ESCAPE.values(), ids=ESCAPE.keys())
def test_links_that_lead_out_are_all_named(links: dict[str, str], paths: list[str], escaping: list[str]) -> None:
    assert escaping_links(links, paths) == escaping


@pytest.mark.slow
def test_a_long_chain_of_links_is_resolved_without_recursion() -> None:
    chain = {f"l{number}": f"l{number + 1}" for number in range(50_000)}
    assert escaping_links(chain, []) == []
    assert escaping_links({**chain, "l50000": "../x"}, []) == [*chain, "l50000"]


@pytest.mark.slow
def test_a_chain_that_grows_at_every_link_takes_no_more_room_than_the_tree() -> None:
    below = "/".join("a" * 200)
    chain = {f"l{number}": f"l{number + 1}/{below}" for number in range(2000)}
    assert escaping_links({**chain, "l2000": "missing"}, []) == []
    up = "/".join([".."] * (200 * 2000 + 1))
    assert escaping_links({**chain, "l2000": "missing", "up": f"l0/{up}"}, []) == []
    assert escaping_links({**chain, "l2000": "missing", "up": f"l0/{up}/.."}, []) == ["up"]


_TREES = st.dictionaries(st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "z"]), targets(), max_size=6)


@pytest.mark.slow
@given(_TREES)
def test_the_judgement_is_that_of_the_system(links: dict[str, str]) -> None:
    """Against the kernel: of the links that it can resolve, exactly those are named that it resolves outside."""
    with TemporaryDirectory() as base:
        root = Path(os.path.realpath(base), "in", "tree")
        for directory in ("d/e", "z"):
            (root / directory).mkdir(parents=True, exist_ok=True)
        (root / "z").rmdir()
        for path, target in links.items():
            os.symlink(target, root / path)  # noqa: PTH211 - Path would normalise the target
        escaping = escaping_links(links, ["d/e/f", "d/f"])
        for path in links:
            try:
                real = Path(os.path.realpath(root / path, strict=True))
            except OSError:
                continue
            assert (path in escaping) is not real.is_relative_to(root)


REFUSED = {
    "empty": ("", "has 0 bytes"),
    "long": ("a" * (TARGET_BYTES_MAX + 1), f"has {TARGET_BYTES_MAX + 1} bytes"),
    "absolute": ("/etc/passwd", "is absolute"),
    "with a backslash": ("..\\x", "a backslash or a control character"),
    "with a control character": ("a\x1b[2J", "a backslash or a control character"),
    "with a surrogate": ("\udcff", "not valid UTF-8"),
}


@pytest.mark.parametrize(("target", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_target_that_no_link_may_have_is_refused(target: str, reason: str) -> None:
    with pytest.raises(PathRefused, match="path 'latest' refused") as refused:
        check_target("latest", target)
    assert reason in refused.value.reason


@given(targets())
def test_other_targets_are_allowed(target: str) -> None:
    check_target("latest", target)


@pytest.mark.parametrize("target", [target for target, _reason in REFUSED.values()], ids=REFUSED.keys())
def test_a_command_takes_no_link_that_no_manifest_may_hold(target: str) -> None:
    with pytest.raises(InvalidValue, match="link target"):
        check_entry(link_entry("latest", target))
