"""PACKAGE:SUBTREE is divided where the package ends, in every form that names one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.package_subtrees import split_subtree

HEX = "0" * 64
ID = "01a22511-edc5-7aac-b1d7-9cd987348bc4"


@pytest.mark.parametrize(
    ("text", "package", "subtree"),
    [
        ("nightly", "nightly", ""),
        ("nightly:", "nightly", ""),
        ("nightly:docs", "nightly", "docs"),
        ("nightly:docs/", "nightly", "docs"),
        ("nightly:docs/a:b", "nightly", "docs/a:b"),
        ("nightly:tag:x", "nightly", "tag:x"),
        ("nightly@latest:docs", "nightly@latest", "docs"),
        ("nightly@{1}:docs", "nightly@{1}", "docs"),
        ("nightly@2026-11-28:docs", "nightly@2026-11-28", "docs"),
        ("nightly@2026-11-28T14:30", "nightly@2026-11-28T14:30", ""),
        ("nightly@2026-11-28T14:30:docs", "nightly@2026-11-28T14:30", "docs"),
        ("nightly@2026-11-28T14:30:05", "nightly@2026-11-28T14:30:05", ""),
        ("nightly@2026-11-28T14:30:05.25Z:docs", "nightly@2026-11-28T14:30:05.25Z", "docs"),
        ("nightly@2026-11-28T14:30+01:00:docs", "nightly@2026-11-28T14:30+01:00", "docs"),
        ("nightly@2026-11-28T14:30:2026", "nightly@2026-11-28T14:30", "2026"),
        ("tag:release-4", "tag:release-4", ""),
        ("tag:release-4:docs/a:b", "tag:release-4", "docs/a:b"),
        (f"manifest:{HEX}", f"manifest:{HEX}", ""),
        (f"manifest:{HEX}:docs", f"manifest:{HEX}", "docs"),
        (f"manifest:blake3:{HEX}", f"manifest:blake3:{HEX}", ""),
        (f"manifest:blake3:{HEX}:docs", f"manifest:blake3:{HEX}", "docs"),
        (f"tree:sha256:{HEX}:docs", f"tree:sha256:{HEX}", "docs"),
        (f"tree:{HEX}:docs", f"tree:{HEX}", "docs"),
        ("tree@latest:docs", "tree@latest", "docs"),
        (f"{ID}:docs", ID, "docs"),
        ("7348bc4:docs", "7348bc4", "docs"),
        (":docs", "", "docs"),
        ("nightly:new\nline", "nightly", "new\nline"),
    ],
)
def test_the_package_ends_at_the_first_colon_that_is_not_its_own(text: str, package: str, subtree: str) -> None:
    assert split_subtree(text) == (package, subtree)


PACKAGES = st.one_of(
    st.from_regex(r"[^@:{}\s]{1,9}", fullmatch=True).filter(lambda name: name not in {"tag", "manifest", "tree"}),
    st.sampled_from(
        [
            f"tag:{'x' * 3}",
            f"tree:{HEX}",
            f"manifest:blake3:{HEX}",
            "n@{3}",
            "n@latest",
            "n@2026-01-01",
            "n@2026-01-01T10:00~2",
            f"{ID}~",
            ID,
        ]
    ),
)


@given(package=PACKAGES, subtree=st.text(min_size=1).filter(lambda text: not text.endswith("/")))
def test_a_package_and_a_subtree_that_are_joined_are_found_again(package: str, subtree: str) -> None:
    assert split_subtree(f"{package}:{subtree}") == (package, subtree)
