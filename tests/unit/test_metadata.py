"""Metadata: which values it has, what is refused, and how texts state it."""

import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from artifactstore_protocols.canonical import INTEGER_MAX, RecordValue, decode, encode_record
from artifactstore_protocols.commands import CreatePackage
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import PACKAGE_CREATED, PackageCreated, decode_payload, encode_payload
from artifactstore_protocols.event_types.base import PayloadInvalid
from artifactstore_protocols.manifest import ManifestInvalid, encode, jcs, jcs_to_cbor
from artifactstore_protocols.manifest import decode as decode_manifest
from artifactstore_protocols.metadata import (
    METADATA_BYTES_MAX,
    METADATA_DEPTH_MAX,
    Metadata,
    MetadataValue,
    check_metadata,
    metadata_bytes,
    metadata_from_json,
    metadata_from_pairs,
    pointer_to,
    scalar_text,
    value_matches,
)
from artifactstore_protocols.package_listing import PackageFilter
from command_strategies import created
from manifest_samples import sample_manifest, sample_package
from strategies import metadata_maps

EVERY_TYPE: Metadata = {
    "branch": "main",
    "tests": 412,
    "below": -INTEGER_MAX,
    "passed": True,
    "hosts": ["a", 1, False, [], {"n": [{}]}],
    "build": {"zz": 1, "a": {"deep": ["é", "\x00"]}},
}


def nested(depth: int, *, of: Callable[[Any], MetadataValue] = lambda inner: [inner]) -> MetadataValue:
    value: MetadataValue = "leaf"
    for _ in range(depth):
        value = of(value)
    return value


@given(metadata_maps())
def test_metadata_survives_command_event_and_manifest(metadata: Metadata) -> None:
    assert created(metadata=metadata).metadata == metadata
    payload = PackageCreated("p", "nightly", "short", 5, metadata)
    assert decode_payload(PACKAGE_CREATED.name, encode_payload(payload)) == payload
    manifest = replace(sample_manifest(), package=replace(sample_package(), metadata=metadata))
    assert decode_manifest(encode(manifest)) == manifest
    assert decode_manifest(jcs_to_cbor(jcs(manifest))) == manifest
    assert decode(metadata_bytes(metadata)) == metadata
    assert metadata_from_json(json.dumps(metadata)) == metadata


def test_every_type_has_one_form() -> None:
    assert metadata_bytes(EVERY_TYPE) == metadata_bytes(dict(reversed(list(EVERY_TYPE.items()))))
    manifest = replace(sample_manifest(), package=replace(sample_package(), metadata=EVERY_TYPE))
    assert b'"build":{"a":{"deep":["\xc3\xa9","\\u0000"]},"zz":1}' in jcs(manifest)


def test_a_command_keeps_its_own_copy() -> None:
    inner: list[MetadataValue] = [1]
    command = created(metadata=MappingProxyType({"list": inner}))
    inner.append(2)
    assert command.metadata == {"list": [1]}
    assert created(metadata={"t": cast("Any", (1, 2))}).metadata == {"t": [1, 2]}


WRONG: dict[str, tuple[object, str]] = {
    "fraction": ({"a": {"b": [1, 1.5]}}, r"metadata\['a'\]\['b'\]\[1\] '1.5': give text, an integer, True"),
    "null": ({"a": None}, r"metadata\['a'\] 'None'"),
    "bytes": ({"a": b"x"}, r"metadata\['a'\] 'bytes'"),
    "set": ({"a": {1}}, r"metadata\['a'\] 'set'"),
    "key in a map": ({"a": {1: "x"}}, r"metadata\['a'\] key \[1\]"),
    "long integer": ({"a": INTEGER_MAX + 1}, r"within ±\(2\^53-1\)"),
    "too deep": ({"a": nested(METADATA_DEPTH_MAX + 1)}, "nest at most 8"),
    "too deep maps": ({"a": nested(METADATA_DEPTH_MAX + 1, of=lambda inner: {"k": inner})}, "nest at most 8"),
    "too many keys": ({"a": {str(number): 1 for number in range(257)}}, "'257 entries at /a': use at most 256"),
    "key": ({"a": {" b": 1}}, "metadata key ' b': use printable characters"),
    "long text": ({"a": ["x" * 4097]}, "at most 4096 characters at /a/0"),
    "surrogate": ({"a": {"b/c": "\ud800"}}, r"UTF-8 can hold at /a/b~1c"),
    "too large": ({str(number): "x" * 4096 for number in range(16)}, f"use at most {METADATA_BYTES_MAX}"),
    "many items": ({"a": [0] * (METADATA_BYTES_MAX + 1)}, "store larger things as a file"),
}


@pytest.mark.parametrize(("metadata", "reason"), WRONG.values(), ids=WRONG)
def test_what_metadata_cannot_be_is_refused(metadata: Metadata, reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason) as refused:
        created(metadata=metadata)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_a_list_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(InvalidValue, match="nest at most 8"):
        created(metadata={"a": circle})


def test_the_bounds_are_reached() -> None:
    for metadata in ({"a": nested(METADATA_DEPTH_MAX)}, {str(number): "x" * 4000 for number in range(16)}):
        assert created(metadata=metadata).metadata == metadata


@pytest.mark.parametrize("value", [None, b"x", [None], {"a": b""}])
def test_an_event_or_a_manifest_with_another_type_is_refused(value: RecordValue) -> None:
    metadata = cast("Metadata", {"k": value})
    form: dict[str, RecordValue] = {"package_id": "p", "name": "n", "retention_class": "c", "retention_duration_us": 1}
    form |= {"schema": None, "parents": {}}
    with pytest.raises(PayloadInvalid, match="metadata has the wrong type"):
        decode_payload(PACKAGE_CREATED.name, encode_record({**form, "metadata": {"k": value}}))
    with pytest.raises(ManifestInvalid, match=r"invalid manifest at metadata"):
        replace(sample_package(), metadata=metadata)


def test_pairs_are_text_or_json() -> None:
    pairs = [
        "branch=main",
        "url=http://a?b=c",
        "empty=",
        "tests:=412",
        "passed:=true",
        'hosts:=["a", {"b": 1}]',
        "a:b=c",
    ]
    assert metadata_from_pairs(pairs) == {
        "branch": "main",
        "url": "http://a?b=c",
        "empty": "",
        "tests": 412,
        "passed": True,
        "hosts": ["a", {"b": 1}],
        "a:b": "c",
    }


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        ("branch", "write KEY=TEXT, or KEY:=JSON"),
        ("=x", "write KEY=TEXT"),
        (":=1", "write KEY=TEXT"),
        ("a:=main", "it is no JSON .*; JSON has text in double quotes"),
        ("a:=", "it is no JSON"),
        ("a:=1.5", "1.5 is not an integer; write a fraction as text"),
        ("a:=NaN", "NaN is not an integer"),
        ("a:=1e2", "1e2 is not an integer"),
        ("a:=" + "9" * 5000, "within ±"),
        ('a:={"b":1,"b":2}', "a key occurs twice"),
        ("a:=" + "[" * 100_000, "nest at most 8"),
        ("a:=" + " " * 2_000_000, "characters of JSON"),
    ],
)
def test_what_no_pair_can_be_is_refused(pair: str, reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason) as refused:
        metadata_from_pairs([pair])
    assert len(str(refused.value)) < 300


def test_a_key_is_given_once() -> None:
    with pytest.raises(InvalidValue, match="'a' is given twice"):
        metadata_from_pairs(["a=1", "a:=1"])


@pytest.mark.parametrize("text", ["[]", '"a"', "5", "null", "{", ""])
def test_a_file_of_metadata_is_an_object(text: str) -> None:
    with pytest.raises(InvalidValue):
        metadata_from_json(text)


def test_null_has_no_meaning_here() -> None:
    with pytest.raises(InvalidValue, match=r"'null'.* at /a/b"):
        check_metadata(metadata_from_json('{"a": {"b": null}}'))


def test_a_pointer_escapes_what_separates() -> None:
    assert pointer_to(pointer_to("", "a/b~c"), 3) == "/a~1b~0c/3"


@pytest.mark.parametrize(
    ("wanted", "value", "matches"),
    [
        ("412", 412, True),
        ("412", "412", True),
        (412, 412, True),
        (412, "412", False),
        ("true", True, True),
        (True, True, True),
        (True, 1, False),
        (1, True, False),
        ("1", True, False),
        ("", None, False),
        ("[1]", [1], False),
    ],
)
def test_a_text_also_finds_what_is_written_like_it(wanted: MetadataValue, value: MetadataValue, matches: bool) -> None:
    assert value_matches(wanted, value) is matches


def test_lists_and_maps_are_not_searched_for() -> None:
    assert scalar_text([1]) is scalar_text({}) is None
    with pytest.raises(InvalidValue, match="search for text, an integer, true or false"):
        PackageFilter(metadata={"a": [1]})


@given(st.dictionaries(st.text(max_size=3), st.text(max_size=3)))
def test_text_by_text_is_metadata_unless_a_key_is_none(metadata: dict[str, str]) -> None:
    allowed = all(key and key.isprintable() and key == key.strip() for key in metadata)
    try:
        assert CreatePackage(created().package_id, "n", "short", metadata).metadata == metadata
    except InvalidValue:
        assert not allowed or any(not text.isprintable() for text in metadata.values())
    else:
        assert allowed
