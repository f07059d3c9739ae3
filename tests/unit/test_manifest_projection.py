import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import MAX_DEPTH, CanonicalValue, RecordValue
from artifactstore_protocols.manifest import (
    Manifest,
    ManifestInvalid,
    NotCanonicalJson,
    decode,
    encode,
    jcs,
    jcs_to_cbor,
    read_jcs,
)
from manifest_samples import sample_manifest, sample_package
from strategies import canonical_values, manifests, mutations

SAMPLE = sample_manifest()
SAMPLE_JSON = jcs(SAMPLE)

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "Expecting value at character 0"),
    "not JSON": (b"{]", "at character 1"),
    "cut short": (b'{"a":', "at character"),
    "trailing value": (b"1 2", "Extra data at character 2"),
    "trailing newline": (b"{}\n", "spaces, escapes or the order"),
    "byte order mark": (b"\xef\xbb\xbf{}", "Unexpected UTF-8 BOM"),
    "UTF-16": ("{}".encode("utf-16"), "byte 0 is not UTF-8"),
    "not UTF-8": (b'"\xff"', "byte 1 is not UTF-8"),
    "surrogate in UTF-8": (b'"\xed\xa0\x80"', "byte 1 is not UTF-8"),
    "key twice": (b'{"a":1,"a":1}', "key 'a' occurs twice"),
    "key twice, once escaped": (b'{"a":1,"\\u0061":2}', "key 'a' occurs twice"),
    "key twice, inside": (b'[{"x":{"b":0,"a":1,"b":2}}]', "key 'b' occurs twice"),
    "lone surrogate": (b'["\\ud800"]', "at $[0]: text '\\ud800' holds a lone surrogate"),
    "lone surrogate as a key": (b'{"\\udfff":1}', "at $: text '\\udfff' holds a lone surrogate"),
    "fraction": (b"1.5", "number 1.5 is not an integer"),
    "integer as a fraction": (b"1.0", "number 1.0 is not an integer"),
    "integer with an exponent": (b"1e2", "number 1e2 is not an integer"),
    "endless fraction": (b"0." + b"1" * 100_000, "number 0.11111"),
    "NaN": (b"NaN", "number NaN is not an integer"),
    "Infinity": (b"[-Infinity]", "number -Infinity is not an integer"),
    "minus zero": (b"-0", "spaces, escapes or the order"),
    "leading zero": (b"01", "Extra data"),
    "plus": (b"+1", "Expecting value"),
    "one too large": (b"9007199254740992", "at $: integers stay within"),
    "one too small": (b"-9007199254740992", "at $: integers stay within"),
    "far too large": (b"1" * 18, "is beyond"),
    "endless": (b"-" + b"1" * 100_000, "integer -1111111111111111111… is beyond"),
    "spaces": (b'{"a": 1}', "spaces, escapes or the order"),
    "keys out of order": (b'{"b":1,"a":2}', "spaces, escapes or the order"),
    "keys in UTF-8 order": ('{"\ufb33":1,"\U0001f600":2}'.encode(), "spaces, escapes or the order"),
    "needless escape": (b'"\\u0061"', "spaces, escapes or the order"),
    "escape in capitals": (b'"\\u000F"', "spaces, escapes or the order"),
    "escaped slash": (b'"\\/"', "spaces, escapes or the order"),
    "escaped pair": (b'"\\ud83d\\ude00"', "spaces, escapes or the order"),
    "bare control character": (b'"\x01"', "Invalid control character"),
    "single quotes": (b"'a'", "Expecting value"),
    "comment": (b"[1/**/]", "delimiter"),
    "trailing comma": (b"[1,]", "at character"),
    "too deep": (b"[" * 33 + b"]" * 33, "nested deeper than 32"),
    "far too deep": (b"[" * 4_000 + b"]" * 4_000, "nested deeper than 32"),
    "objects far too deep": (b'{"":' * 3_000 + b"0" + b"}" * 3_000, "nested deeper than 32"),
    "too many arrays": (b"[" * 1_000_000, "more than 254096 items"),
    "too many objects": (b'{"":' * 1_000_000, "more than 1004096 items"),
}


@pytest.mark.slow
@given(manifests())
def test_json_and_cbor_stand_for_each_other(manifest: Manifest) -> None:
    payload = encode(manifest)
    text = jcs(manifest)
    assert jcs_to_cbor(text) == payload
    assert encode(decode(jcs_to_cbor(text))) == payload
    assert jcs(decode(payload)) == text


@pytest.mark.slow
@given(manifests())
def test_the_json_holds_the_values_that_the_cbor_holds(manifest: Manifest) -> None:
    def as_json(value: RecordValue) -> RecordValue:
        if isinstance(value, dict):
            return {key: as_json(item) for key, item in value.items()}
        if isinstance(value, list):
            return [as_json(item) for item in value]
        return value.hex() if isinstance(value, bytes) else value

    assert json.loads(jcs(manifest)) == as_json(canonical.decode_record(encode(manifest)))


@pytest.mark.slow
@given(canonical_values())
def test_any_canonical_value_goes_through_json(value: CanonicalValue) -> None:
    assert read_jcs(rfc8785.dumps(value)) == value


@given(st.binary(max_size=30) | st.text(max_size=30).map(str.encode) | mutations(SAMPLE_JSON))
def test_any_bytes_are_refused_or_are_the_one_json_of_a_value(payload: bytes) -> None:
    try:
        value = read_jcs(payload)
    except NotCanonicalJson:
        return
    assert rfc8785.dumps(value) == payload


@given(mutations(SAMPLE_JSON))
def test_other_json_is_refused_or_is_another_manifest(payload: bytes) -> None:
    try:
        manifest = decode(jcs_to_cbor(payload))
    except (NotCanonicalJson, ManifestInvalid):
        return
    assert jcs(manifest) == payload


@pytest.mark.parametrize("digest", ["AA" * 32, "a" * 63, "g" * 64, f"{'aa' * 31} a", f"blake3:{'0' * 64}"])
def test_a_digest_in_another_form_is_refused(digest: str) -> None:
    value = json.loads(SAMPLE_JSON)
    value["entries"][0][5] = digest
    with pytest.raises(NotCanonicalJson, match="a digest in lower-case hex"):
        jcs_to_cbor(rfc8785.dumps(value))


@pytest.mark.parametrize("place", [0, 5, 6], ids=["kind", "digest", "sha256"])
@pytest.mark.parametrize("other", [None, 1, "", [], {}], ids=str)
def test_json_that_is_no_manifest_is_refused_by_the_rules_of_manifests(place: int, other: CanonicalValue) -> None:
    value = json.loads(SAMPLE_JSON)
    value["entries"][0][place] = other
    with pytest.raises(ManifestInvalid):
        decode(jcs_to_cbor(rfc8785.dumps(value)))


@pytest.mark.slow
@pytest.mark.parametrize(("payload", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_other_json_is_refused_with_its_own_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(NotCanonicalJson) as refused:
        read_jcs(payload)
    assert reason in refused.value.reason
    assert str(refused.value) == f"not canonical JSON (RFC 8785): {refused.value.reason}"
    assert len(str(refused.value)) < 300


def test_nesting_up_to_the_limit_is_taken() -> None:
    assert json.dumps(read_jcs(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)) == "[" * MAX_DEPTH + "]" * MAX_DEPTH


def test_integers_up_to_the_limit_are_taken() -> None:
    assert read_jcs(b"[9007199254740991,-9007199254740991]") == [2**53 - 1, 1 - 2**53]


def test_the_strings_of_rfc_8785_section_3_2_2() -> None:
    payload = b'{"literals":[null,true,false],"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    value = read_jcs(payload)
    assert value == {"literals": [None, True, False], "string": '\u20ac$\u000f\nA\'B"\\\\"/'}


def test_the_key_order_of_rfc_8785_section_3_2_3() -> None:
    keys = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    texts = [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]
    pairs = [json.dumps(key, ensure_ascii=False) + f':"{text}"' for key, text in zip(keys, texts, strict=True)]
    value = read_jcs(f"{{{','.join(pairs)}}}".encode())
    assert value == dict(zip(keys, texts, strict=True))


def test_json_sorts_keys_by_utf_16_where_cbor_sorts_them_by_bytes() -> None:
    metadata = {"\ufb33": "1", "\U0001f600": "2", "b": "3", "aa": "4"}
    manifest = replace(SAMPLE, package=replace(sample_package(), metadata=metadata))
    assert '"metadata":{"aa":"4","b":"3","\U0001f600":"2","\ufb33":"1"}'.encode() in jcs(manifest)
    decoded = canonical.decode_record(encode(manifest))
    assert isinstance(decoded, dict)
    package = decoded["package"]
    assert isinstance(package, dict)
    inner = package["metadata"]
    assert isinstance(inner, dict)
    assert list(inner) == ["b", "aa", "\ufb33", "\U0001f600"]


def test_json_larger_than_the_caller_wants_is_refused() -> None:
    assert jcs_to_cbor(b"[]", max_bytes=2) == b"\x80"
    with pytest.raises(NotCanonicalJson, match="it has 2 bytes, and at most 1"):
        jcs_to_cbor(b"[]", max_bytes=1)
