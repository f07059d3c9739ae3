"""Ranges, conditions and headers of downloads mean what a plain reading of the RFCs says."""

import base64
import hashlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from artifactstore_protocols.http_conditions import Conditions, Decision, decide, names_tag
from artifactstore_protocols.http_content import content_disposition, entity_tag, is_shown, repr_digest
from artifactstore_protocols.http_ranges import RANGES_MAX, ByteRange, requested_ranges
from artifactstore_protocols.media_types import MEDIA_TYPES

type Spec = tuple[int | None, int | None]

SIZES = st.integers(1, 40)
NUMBERS = st.one_of(st.integers(0, 45), st.just(10**5000))
SPECS = st.one_of(
    st.tuples(NUMBERS, st.none()),
    st.tuples(st.none(), NUMBERS),
    st.tuples(NUMBERS, NUMBERS),
)


def written(specs: Sequence[Spec]) -> str:
    return "bytes=" + ", ".join(f"{_digits(first)}-{_digits(last)}" for first, last in specs)


def _digits(number: int | None) -> str:
    if number is None:
        return ""
    return "1" + "0" * 5000 if number == 10**5000 else f"{number:03}"


def positions(specs: Sequence[Spec], size_bytes: int) -> set[int]:
    """The plain definition: every position of the file, asked of every range."""
    return {
        at
        for at in range(size_bytes)
        for first, last in specs
        if (at >= size_bytes - (last or 0) if first is None else first <= at and (last is None or at <= last))
    }


@given(st.lists(SPECS, min_size=1, max_size=RANGES_MAX), SIZES)
@example([(0, 0), (1, 1)], 2)
@example([(None, 0)], 5)
@example([(5, 9), (0, 30)], 20)
def test_ranges_are_the_positions_that_the_header_names(specs: list[Spec], size_bytes: int) -> None:
    found = requested_ranges(written(specs), size_bytes)
    if any(first is not None and last is not None and last < first for first, last in specs):
        assert found is None
        return
    assert found is not None
    listed = [at for each in found for at in range(each.offset, each.last + 1)]
    assert listed == sorted(positions(specs, size_bytes)), "in order, and no byte twice"
    gaps = [after.offset - before.last for before, after in pairwise(found)]
    assert all(gap > 1 for gap in gaps), "adjacent ranges are one"


@given(st.text("bytes=0123456789-, \t٣", max_size=20), st.integers(0, 20))
def test_any_header_has_an_answer_within_the_file(header: str, size_bytes: int) -> None:
    for each in requested_ranges(header, size_bytes) or ():
        assert 0 <= each.offset <= each.last < size_bytes


@pytest.mark.parametrize(
    "header",
    [
        *("", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=1", "bytes=a-b", "bytes=5-4", "lines=0-1", "bytes = 0-1"),
        *("bytes=0-1;2-3", "bytes=+1-2", "bytes=1-2-3", "bytes=٣-", "bytes=" + ",".join(["0-0"] * (RANGES_MAX + 1))),
    ],
)
def test_a_header_that_means_nothing_is_ignored(header: str) -> None:
    assert requested_ranges(header, 10) is None


def test_an_empty_file_has_no_ranges() -> None:
    assert requested_ranges("bytes=0-", 0) is None
    assert requested_ranges("bytes=-5", 0) is None


def test_empty_elements_spaces_and_case_do_not_matter() -> None:
    assert requested_ranges("Bytes=,0-0 ,\t, 4-,", 9) == (ByteRange(0, 1), ByteRange(4, 5))


TAG = '"blake3:ab"'
TAGS = st.sampled_from([TAG, f"W/{TAG}", '"other"', 'W/"other"', '""', '"a,b"', '"*"'])


@given(st.lists(TAGS, max_size=4), st.sampled_from([",", ", ", " ,\t,"]), st.booleans())
def test_a_list_names_a_tag_that_is_in_it(tags: list[str], separator: str, strongly: bool) -> None:
    named = {TAG} if strongly else {TAG, f"W/{TAG}"}
    assert names_tag(separator.join(tags), TAG, strongly=strongly) is bool(named & set(tags))


@pytest.mark.parametrize("header", ["", ",", TAG[:-1], TAG[1:], f"{TAG} {TAG}", f"{TAG};", f"{TAG}, *", "w/" + TAG])
def test_a_malformed_list_names_nothing(header: str) -> None:
    assert not names_tag(header, TAG, strongly=False)


def test_a_star_names_whatever_there_is() -> None:
    assert names_tag(" * ", TAG, strongly=True)
    assert names_tag("*", None, strongly=True)


PART = Decision(206, (ByteRange(2, 3),))
DECISIONS: Sequence[tuple[Conditions, Decision]] = (
    (Conditions(), Decision(200)),
    (Conditions(range="bytes=2-4"), PART),
    (Conditions(range="bytes=10-"), Decision(416)),
    (Conditions(range="bytes=x"), Decision(200)),
    (Conditions(if_none_match=TAG, range="bytes=2-4"), Decision(304)),
    (Conditions(if_none_match=f"W/{TAG}"), Decision(304)),
    (Conditions(if_none_match="*"), Decision(304)),
    (Conditions(if_none_match='"other"', range="bytes=2-4"), PART),
    (Conditions(if_match='"other"', if_none_match=TAG), Decision(412)),
    (Conditions(if_match=f"W/{TAG}"), Decision(412)),
    (Conditions(if_match=TAG, range="bytes=2-4"), PART),
    (Conditions(if_range=TAG, range="bytes=2-4"), PART),
    (Conditions(if_range='"other"', range="bytes=2-4"), Decision(200)),
    (Conditions(if_range=f"W/{TAG}", range="bytes=2-4"), Decision(200)),
    (Conditions(if_range="Tue, 01 Dec 2026 00:00:00 GMT", range="bytes=2-4"), Decision(200)),
    (Conditions(if_range='"other"', range="bytes=10-"), Decision(200)),
)


@pytest.mark.parametrize(("conditions", "decision"), DECISIONS)
def test_conditions_are_asked_in_their_order(conditions: Conditions, decision: Decision) -> None:
    assert decide(conditions, TAG, 10) == decision
    if decision.status in {206, 416}:
        assert decide(conditions, TAG, 10, reads=False) == Decision(200), "HEAD has no ranges"


NAMES = st.text(st.characters(exclude_characters="/\\", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


@given(NAMES, st.booleans())
@example('a"; filename=evil.exe; x="', False)
@example("100%41.txt", False)
@example("Übersicht 2026.pdf", False)
@example("=?utf-8?q?a?=.txt", True)
def test_a_name_arrives_as_it_is(name: str, shown: bool) -> None:
    header = content_disposition(name, shown=shown)
    assert header.isascii()
    assert header.isprintable()
    kind, options = parse_options_header(header)
    assert (kind, options["filename"]) == ("inline" if shown else "attachment", name)
    fallback = header.split('filename="')[1].split('"')[0]
    assert "%" not in fallback, "some clients decode it"
    assert len(fallback) == len(name)


def test_types_that_can_hold_a_script_are_saved_and_not_shown() -> None:
    shown = {each for each in MEDIA_TYPES.values() if is_shown(each)}
    assert {"text/plain", "image/png", "application/json"} <= shown
    for scripted in ("html", "svg", "pdf", "xml", "javascript", "css", "wasm", "font", "zip", "octet-stream"):
        assert not [each for each in shown if scripted in each]
    assert not is_shown("text/html; charset=utf-8")
    assert is_shown("Text/Plain; charset=utf-8")
    assert not is_shown("text/plain,text/html")


@given(st.binary(max_size=50))
def test_digests_are_those_of_the_bytes(content: bytes) -> None:
    sha256 = hashlib.sha256(content)
    assert repr_digest(f"sha256:{sha256.hexdigest()}") == f"sha-256=:{base64.b64encode(sha256.digest()).decode()}:"
    assert entity_tag("blake3:00ff") == '"blake3:00ff"'
