"""What each text that names a package means, by example."""

import re
from collections.abc import Generator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.package_references import ByName, PackageQuery, search_package
from artifactstore_protocols.packages import AmbiguousPackage, PackageNotFound
from artifactstore_protocols.records import PackageRecord
from package_queries import find_among

MONDAY_US = 1_795_996_800_000_000  # 2026-11-30T00:00Z
DAY_US = 86_400_000_000
TREE, OTHER_TREE, MANIFEST = (f"sha256:{digit * 64}" for digit in "abc")


def package(number: int, name: str, finalized_day: int | None = None, tree: str = TREE) -> PackageRecord:
    """A package with an id that begins like the others and ends with its number."""
    return PackageRecord(
        package_id=f"0193a7c2-0000-7000-8000-0000{number:08}",
        name=name,
        status="open" if finalized_day is None else "finalized",
        version=1,
        files=0,
        links=0,
        directories=0,
        bytes=0,
        retention_class="standard",
        retention_duration_us=None,
        expires_at_us=None,
        metadata={},
        created_by="ci",
        created_at_us=0,
        finalized_at_us=None if finalized_day is None else MONDAY_US + finalized_day * DAY_US,
        manifest_digest=None if finalized_day is None else f"blake3:{number:064}",
        tree_digest=None if finalized_day is None else tree,
        created_sequence=number,
        finalized_sequence=None if finalized_day is None else 100 + number,
    )


PACKAGES = [
    package(1, "nightly", 0),
    package(2, "nightly", 1),
    package(3, "nightly", 2, OTHER_TREE),
    package(4, "nightly"),
    package(5, "draft"),
    package(6, "twice"),
    package(7, "twice"),
    package(8, "000008", 0, OTHER_TREE),
    package(100_008, "other", 0, OTHER_TREE),
]


def find(text: str, packages: Sequence[PackageRecord] = PACKAGES, *, prefer_open: bool = False) -> int:
    """The number of the package."""
    tags = {"release": PACKAGES[1].package_id}
    return find_among(text, packages, tags, prefer_open=prefer_open).created_sequence


FOUND = {
    "0193a7c2-0000-7000-8000-000000000003": 3,
    "nightly": 3,
    "nightly@latest": 3,
    "nightly@{0}": 3,
    "nightly@{2}": 1,
    "nightly@2026-11-30": 1,
    "nightly@2026-12-01": 2,
    "nightly@2026-12-01T00:00": 2,
    "nightly@2026-11-30T23:59:59.999999": 1,
    "nightly@2026-12-01T01:00+01:00": 2,
    "nightly@2030-01-01": 3,
    "nightly@9999-12-31": 3,
    "nightly@2026-11-30T23:59:59.999999Z": 1,
    "nightly@{00000000002}": 1,
    "draft": 5,
    "000003": 3,
    "8000-000000000002": 2,
    "000008": 8,
    "100008": 100_008,
    "tag:release": 2,
    "000003~": 2,
    "000003~1": 2,
    "000003~0": 3,
    "000003~~": 1,
    "000003~1~01": 1,
    "000004~1": 3,  # it is open
    "nightly@{1}~1": 1,
    "nightly@2026-12-01T00:00~": 1,
    "nightly~2": 1,
    "tag:release~": 1,
    f"manifest:{3:064}~1": 2,
    f"tree:{TREE}": 2,
    f"tree:{'b' * 64}": 100_008,
    f"manifest:blake3:{2:064}": 2,
    f"manifest:{2:064}": 2,
}


@pytest.mark.parametrize(("text", "number"), FOUND.items(), ids=FOUND)
def test_a_text_means_one_package(text: str, number: int) -> None:
    assert find(text) == number


def test_a_command_that_changes_a_package_means_an_open_one_of_a_name() -> None:
    assert find("nightly", prefer_open=True) == 4
    assert find("nightly@latest", prefer_open=True) == 3
    assert find("nightly", PACKAGES[:3], prefer_open=True) == 3


@pytest.mark.parametrize(
    "text",
    [
        "weekly",
        "nightly@{3}",
        "nightly~3",
        "tag:release~2",
        "draft~",
        "tag:none",
        "nightly@2026-11-29",
        "draft@latest",
        "00003",
        "ffffff",
        f"tree:{'d' * 64}",
        "",
        "\0",
        "\ud800",
    ],
)
def test_a_text_that_no_package_matches_is_not_found(text: str) -> None:
    with pytest.raises(PackageNotFound) as missing:
        find(text)
    assert missing.value.package == text


@pytest.mark.parametrize(
    "text",
    [
        "nightly@",
        "nightly@{x}",
        "nightly@{-1}",
        "nightly@yesterday",
        "node:x",
        "tree:x",
        "tree:sha256:zz",
    ],
)
def test_a_text_that_can_name_no_package_says_what_can(text: str) -> None:
    with pytest.raises(InvalidValue):
        find(text)


@pytest.mark.parametrize(
    ("text", "count", "told"),
    [
        ("nightly@{3}", 3, "further than the 3 finalized packages of this name; write less"),
        ("nightly@{9}", 3, "further than the 3 finalized packages of this name; write less"),
        ("nightly@{999999999999}", 3, "further than the 3 finalized packages of this name; write less"),
        ("nightly~3", 2, "further than the 2 finalized packages of this name before that one; write less"),
        ("nightly@{2}~", 0, "there is no finalized package of this name before that one"),
        ("nightly@1969-12-31", 0, "there is no finalized package of this name by then"),
        ("draft@{1}", 0, "there is no finalized package of this name"),
        ("draft@1969-12-31", None, "`artifactstore package list` shows those that are"),
    ],
)
def test_counting_too_far_back_says_how_many_there_are(text: str, count: int | None, told: str) -> None:
    with pytest.raises(PackageNotFound, match=f"{re.escape(told)}$") as missing:
        find(text)
    assert missing.value.choices == count


@given(finalized=st.integers(1, 40), back=st.integers(0, 60), steps=st.lists(st.integers(0, 30), max_size=3))
def test_steps_before_a_package_add_up(finalized: int, back: int, steps: list[int]) -> None:
    runs = [package(number, "run", number) for number in range(1, finalized + 1)]
    text = f"run@{{{back}}}{''.join(f'~{step}' for step in steps)}"
    if back + sum(steps) < finalized:
        assert find(text, runs) == find(f"run@{{{back + sum(steps)}}}", runs) == finalized - back - sum(steps)
    else:
        with pytest.raises(PackageNotFound) as missing:
            find(text, runs)
        assert missing.value.choices == (finalized if back >= finalized else finalized - 1 - back)


def test_several_packages_are_listed() -> None:
    with pytest.raises(AmbiguousPackage) as ambiguous:
        find("twice")
    assert ambiguous.value.package_ids == (PACKAGES[6].package_id, PACKAGES[5].package_id)
    newer, older = (f"{each.package_id} (twice, open)" for each in (PACKAGES[6], PACKAGES[5]))
    assert str(ambiguous.value).endswith(f"use the id of one: {newer}, {older} (newest first)")
    many = [package(number, "many") for number in range(1, 13)]
    with pytest.raises(AmbiguousPackage) as ambiguous:
        find("0193a7", many)
    assert ambiguous.value.package_ids == tuple(each.package_id for each in many[:1:-1])
    assert ambiguous.value.more
    assert " and others (newest first)" in str(ambiguous.value)


EARLIER = re.compile(r"(.*?)((?:~[0-9]*)+)", re.DOTALL)
"""What the module docstring says of `~`, in a form that takes quadratic time."""


def first_query(text: str) -> PackageQuery:
    search: Generator[PackageQuery, Sequence[PackageRecord], PackageRecord] = search_package(text)
    return next(search)


@given(st.text("a1~\n", min_size=1, max_size=12))
def test_the_steps_back_are_all_that_a_text_ends_with(text: str) -> None:
    earlier = EARLIER.fullmatch(text)
    assert first_query(text) == ByName(text if earlier is None else earlier[1])


def test_a_text_of_tildes_does_not_stop_the_process() -> None:
    # A search that compares each of them with all that follow would take hours.
    for text in ("~" * 1_000_000 + "x", "~1" * 500_000 + "x"):
        assert first_query(text) == ByName(text)
    assert first_query("x" + "~1" * 500_000) == ByName("x")
