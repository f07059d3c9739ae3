import datetime as dt
import decimal
import enum
import random
from collections import OrderedDict
from collections.abc import Iterable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_cbor
from artifactstore_protocols.canonical import (
    INTEGER_MAX,
    MAX_DEPTH,
    CanonicalValue,
    NotCanonical,
    NotEncodable,
    RecordValue,
    decode,
    decode_record,
    encode,
    encode_record,
)
from strategies import canonical_values, mutations, record_values
from traced import traced

# RFC 8949 Appendix A, as far as the values are canonical values.
RFC_8949_VALUES: list[tuple[CanonicalValue, str]] = [
    (0, "00"),
    (1, "01"),
    (10, "0a"),
    (23, "17"),
    (24, "1818"),
    (25, "1819"),
    (100, "1864"),
    (1000, "1903e8"),
    (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"),
    (-1, "20"),
    (-10, "29"),
    (-100, "3863"),
    (-1000, "3903e7"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    ("", "60"),
    ("a", "6161"),
    ("IETF", "6449455446"),
    ('"\\', "62225c"),
    ("\u00fc", "62c3bc"),
    ("\u6c34", "63e6b0b4"),
    ("\U00010151", "64f0908591"),
    ([], "80"),
    ([1, 2, 3], "83010203"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
    ({}, "a0"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    (["a", {"b": "c"}], "826161a161626163"),
    ({"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}, "a56161614161626142616361436164614461656145"),
]

# The rest of RFC 8949 Appendix A, with what the refusal says of it.
RFC_8949_REFUSED: list[tuple[str, str]] = [
    ("1bffffffffffffffff", "integers stay within"),
    ("3bffffffffffffffff", "integers stay within"),
    ("c249010000000000000000", "tag 2 "),
    ("c349010000000000000000", "tag 3 "),
    ("f90000", "type float"),
    ("f98000", "type float"),
    ("fb3ff199999999999a", "type float"),
    ("fa47c35000", "type float"),
    ("f97c00", "type float"),
    ("f97e00", "type float"),
    ("f7", "type UndefinedType"),
    ("f0", "type CBORSimpleValue"),
    ("f8ff", "type CBORSimpleValue"),
    ("c074323031332d30332d32315432303a30343a30305a", "tag 0 "),
    ("c11a514b67b0", "tag 1 "),
    ("c1fb41d452d9ec200000", "tag 1 "),
    ("d74401020304", "tag 23 "),
    ("d818456449455446", "tag 24 "),
    ("d82076687474703a2f2f7777772e6578616d706c652e636f6d", "tag 32 "),
    ("4401020304", "type bytes"),
    ("a201020304", "map key"),
    ("5f42010243030405ff", "indefinite length"),
    ("7f657374726561646d696e67ff", "indefinite length"),
    ("9fff", "indefinite length"),
    ("826161bf61626163ff", "indefinite length"),
    ("bf6346756ef563416d7421ff", "indefinite length"),
]

NOT_CANONICAL: dict[str, tuple[str, str]] = {
    "nothing": ("", "premature end"),
    "missing end": ("826161", "premature end"),
    "text cut short": ("636161", "premature end"),
    "trailing byte": ("0000", "1 bytes follow"),
    "trailing break": ("f6ff", "1 bytes follow"),
    "lone break": ("ff", "break code"),
    "one-byte integer as two": ("1800", "byte 0"),
    "two-byte integer as four": ("8200190018", "byte 2"),
    "eight-byte integer for nothing": ("1b0000000000000000", "byte 0"),
    "longer text head": ("780161", "byte 0"),
    "longer array head": ("980100", "byte 0"),
    "longer map head": ("b801616100", "byte 0"),
    "keys out of order": ("a2616200616100", "byte 2"),
    "longer key first": ("a262616100616200", "byte 1"),
    "repeated key": ("a2616100616100", "Duplicate map key: 'a'"),
    "byte-string key": ("a1416100", "map keys are text, not bytes"),
    "null key": ("a1f600", "map key"),
    "array key": ("a18000", "map key"),
    "float inside": ("a16161f93c00", "at $.a: type float"),
    "bytes inside": ("81414f", "at $[0]: type bytes"),
    "integer too large": ("1b0020000000000000", "integers stay within"),
    "reserved head": ("1c", "unknown unsigned integer subtype"),
    "reserved simple value": ("f800", "simple value"),
    "not UTF-8": ("61ff", "can't decode byte 0xff"),
    "surrogate in UTF-8": ("63eda080", "can't decode"),
    "over-long UTF-8": ("62c080", "can't decode"),
    "tag in a map": ("a16161d82361", "tag 35 "),
    "tag as a key": ("a1c16161", "tag 1 "),
    "self-described": ("d9d9f700", "tag 55799 "),
    "shared reference": ("82d81c80d81d00", "tag 28 "),
}


class Text(str):
    __slots__ = ()


class Sequence(list[CanonicalValue]):
    pass


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(("value", "hex_bytes"), RFC_8949_VALUES)
def test_examples_of_rfc_8949(value: CanonicalValue, hex_bytes: str) -> None:
    assert encode(value).hex() == hex_bytes
    decoded = decode(bytes.fromhex(hex_bytes))
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(("hex_bytes", "reason"), RFC_8949_REFUSED)
def test_other_examples_of_rfc_8949_are_refused(hex_bytes: str, reason: str) -> None:
    with pytest.raises(NotCanonical, match=reason):
        decode(bytes.fromhex(hex_bytes))


@pytest.mark.parametrize(("hex_bytes", "reason"), NOT_CANONICAL.values(), ids=NOT_CANONICAL.keys())
def test_what_is_not_canonical_is_refused_with_its_own_reason(hex_bytes: str, reason: str) -> None:
    with pytest.raises(NotCanonical) as refused:
        decode(bytes.fromhex(hex_bytes))
    assert reason in refused.value.reason
    assert str(refused.value) == f"not canonical CBOR: {refused.value.reason}"


@given(record_values())
def test_a_record_has_the_bytes_that_the_rfc_says_and_comes_back(value: RecordValue) -> None:
    payload = encode_record(value)
    assert payload == reference_cbor.encode(value)
    decoded = decode_record(payload)
    assert decoded == value
    assert encode_record(decoded) == payload


@given(canonical_values())
def test_a_value_has_the_same_bytes_as_a_record_of_it(value: CanonicalValue) -> None:
    payload = encode(value)
    assert payload == reference_cbor.encode(value)
    assert decode(payload) == value


@given(st.dictionaries(st.text(), st.integers(0, 9), min_size=2), st.randoms())
def test_the_order_in_which_a_map_was_filled_does_not_matter(mapping: dict[str, int], shuffler: random.Random) -> None:
    items = list(mapping.items())
    shuffler.shuffle(items)
    assert encode(dict[str, CanonicalValue](items)) == reference_cbor.encode(mapping)


def test_keys_sort_by_their_encoded_bytes() -> None:
    # Shorter first, then bytewise UTF-8: neither plain text order nor UTF-16 order would give this.
    keys = ["", "b", "aa", "\u00e9", "\uffff", "\U00010000", "x" * 23, "x" * 24, "a" * 256]
    in_order = decode(encode(dict.fromkeys(reversed(keys))))
    assert isinstance(in_order, dict)
    assert list(in_order) == keys


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_or_are_the_encoding_of_a_value(payload: bytes) -> None:
    _assert_refused_or_canonical(payload)


@pytest.mark.slow
@given(record_values().map(encode_record).flatmap(mutations))
def test_bytes_close_to_an_encoding_are_refused_or_are_one_too(payload: bytes) -> None:
    _assert_refused_or_canonical(payload)


def _assert_refused_or_canonical(payload: bytes) -> None:
    try:
        record = decode_record(payload)
    except NotCanonical:
        with pytest.raises(NotCanonical):
            decode(payload)
        return
    assert reference_cbor.encode(record) == payload
    if _holds_bytes(record):
        with pytest.raises(NotCanonical, match="type bytes"):
            decode(payload)
    else:
        assert decode(payload) == record


def _holds_bytes(value: RecordValue) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_bytes, value.values()))
    return any(map(_holds_bytes, value)) if isinstance(value, list) else isinstance(value, bytes)


@pytest.mark.slow
@pytest.mark.parametrize("tags", [range(70_001), *((2**bits - 1, 2**bits) for bits in (32, 48, 63)), [2**64 - 1]])
def test_no_tag_is_acted_on(tags: Iterable[int]) -> None:
    # The content is missing: a decoder that so much as looks for it says something else.
    for number in tags:
        with pytest.raises(NotCanonical) as refused:
            decode(reference_cbor.head(6, number))
        assert refused.value.reason == f"tag {number} stands where only plain values may"


@pytest.mark.parametrize("content", ["6128", "4101", "00", "80", "820102", "a0", "f6", "fb3ff0000000000000"])
def test_no_tag_is_acted_on_whatever_it_holds(content: str) -> None:
    for number in range(300):
        with pytest.raises(NotCanonical, match=f"tag {number} "):
            decode_record(b"\x81" + reference_cbor.head(6, number) + bytes.fromhex(content))


@pytest.mark.parametrize("major", [2, 3, 4, 5])
@pytest.mark.parametrize("length", [2**16, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_huge_declared_length_is_refused_without_reserving_it(major: int, length: int) -> None:
    with traced() as peak:
        with pytest.raises(NotCanonical):
            decode_record(reference_cbor.head(major, length) + b"\x00")
        assert peak() < 16_000_000  # what is loaded at first use counts, too


def test_nesting_is_limited_on_both_ways() -> None:
    value: CanonicalValue = 0
    for level in range(MAX_DEPTH):
        value = [value] if level % 2 else {"a": value}
    assert decode(encode(value)) == value
    with pytest.raises(NotEncodable, match="nested deeper than 32"):
        encode([value])
    with pytest.raises(NotCanonical, match="nesting depth"):
        decode(b"\x81" + encode(value))
    with pytest.raises(NotCanonical, match="nesting depth"):
        decode(b"\x81" * 1_000)


def test_a_cycle_is_refused() -> None:
    cycle: list[CanonicalValue] = []
    cycle.append(cycle)
    with pytest.raises(NotEncodable, match="nested deeper"):
        encode(cycle)


def test_more_bytes_than_the_caller_wants_are_refused() -> None:
    assert decode(b"\x61a", max_bytes=2) == "a"
    with pytest.raises(NotCanonical, match="it has 2 bytes, and at most 1"):
        decode(b"\x61a", max_bytes=1)
    with pytest.raises(NotCanonical, match="it has 2 bytes, and at most 1"):
        decode_record(b"\x41a", max_bytes=1)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        b"a",
        bytearray(b"a"),
        (1, 2),
        {1},
        frozenset({1}),
        1j,
        decimal.Decimal(1),
        dt.date(2000, 1, 1),
        object(),
        Text("a"),
        Sequence([1]),
        OrderedDict({"a": 1}),
        Colour.RED,
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_types_are_refused_also_where_they_are_subclasses(value: object) -> None:
    with pytest.raises(NotEncodable) as refused:
        encode({"list": [0, cast("CanonicalValue", value)]})
    assert refused.value.where == "$.list[1]"
    assert f"type {type(value).__name__} " in str(refused.value)


@pytest.mark.parametrize("key", [1, None, b"a", Text("a"), True, ("a",)], ids=repr)
def test_keys_that_are_not_text_are_refused(key: object) -> None:
    # The same key as plain text comes first: equal keys of another type must not slip past a cache.
    value = [{"a": 1}, {key: 1}]
    with pytest.raises(NotEncodable, match=r"at \$\[1\]: map keys are text, not"):
        encode(cast("CanonicalValue", value))


@pytest.mark.parametrize("beyond", [INTEGER_MAX + 1, -INTEGER_MAX - 1, 2**64, -(2**200)])
def test_integers_that_json_cannot_hold_are_refused(beyond: int) -> None:
    with pytest.raises(NotEncodable, match=r"at \$\.n: integers stay within"):
        encode({"n": beyond})
    with pytest.raises(NotEncodable, match="integers stay within"):
        encode_record(beyond)


@pytest.mark.parametrize("lone", ["\ud800", "a\udfff", "\udc80name"])
def test_lone_surrogates_are_refused(lone: str) -> None:
    with pytest.raises(NotEncodable, match=r"at \$\.a: text .* lone surrogate"):
        encode({"a": lone})
    with pytest.raises(NotEncodable, match=r"at \$: text .* lone surrogate"):
        encode({lone: 1})


def test_a_refusal_does_not_repeat_what_it_was_given_at_length() -> None:
    key = "k" * 100_000
    twice = reference_cbor.encode({key: None})[1:] * 2
    with pytest.raises(NotCanonical) as refused:
        decode(b"\xa2" + twice)
    assert len(str(refused.value)) < 200
    with pytest.raises(NotEncodable) as not_encodable:
        encode({key: {key: cast("CanonicalValue", 1.0)}})
    assert len(str(not_encodable.value)) < 300


def test_bytes_are_for_records_only() -> None:
    record: RecordValue = {"payload": b"\x00\xff", "at": [b""]}
    assert decode_record(encode_record(record)) == record
    with pytest.raises(NotCanonical, match=r"type bytes"):
        decode(encode_record(record))
    with pytest.raises(NotEncodable, match="type bytearray"):
        encode_record(cast("RecordValue", bytearray(b"a")))
