"""The JSON form of a manifest by RFC 8785 (JCS), for people and for tools without CBOR.

The JSON and the CBOR form hold the same values. They differ only in byte strings: the digests in `entries` and
`storage_receipts` are lower-case hex text in JSON. Manifests have no other byte strings.

`jcs_to_cbor` requires the exact JCS form, not any JSON with the same meaning. So each JSON document corresponds to
exactly one CBOR document. JSON that two parsers could read differently (repeated keys, 1e2, -0, large integers, lone
surrogates) is refused. To check a manifest in JSON form, call `decode` with the result of `jcs_to_cbor`.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Final, Never, cast

import rfc8785

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import CanonicalValue, NotEncodable, RecordValue
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.manifest.codec import MANIFEST_BYTES_MAX, to_value
from artifactstore_protocols.manifest.model import Manifest

__all__ = ["NotCanonicalJson", "jcs", "jcs_to_cbor", "read_jcs"]

_BYTES_PER_ITEM: Final = 4
"""The minimum average bytes of an item beyond `canonical.ITEMS_FREE`.

It is less than `canonical.BYTES_PER_ITEM`, since `read_jcs` also reads schemas, whose members can have about 5 bytes.
"""

_OPENING: Final = (b":", b",", b"[", b"{")
"""Each byte stands for one item: the key before a colon, the item after a comma, or the first item in a bracket."""
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[:,[{]', re.DOTALL)
_QUOTE: Final = ord('"')
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*")
_DIGESTS: Final[dict[str, tuple[int, ...]]] = {"file": (5, 6)}
"""The indexes of the digests in an entry, by the entry's kind."""
_INTEGER_CHARS_MAX = len(str(-canonical.INTEGER_MAX))


class NotCanonicalJson(ArtifactStoreError):
    """The bytes are not the RFC 8785 form of a canonical value.

    Attributes:
        reason: what is wrong with the bytes, and where.
    """

    reason: str
    template = "not canonical JSON (RFC 8785): {self.reason}"


def jcs(manifest: Manifest) -> bytes:
    """Return a manifest in RFC 8785 JSON. It has the fields and values of the CBOR, with digests as hex."""
    rows = {"entries": manifest.entries, "storage_receipts": manifest.storage_receipts}
    value = to_value(manifest) | {name: list(map(list[object], of)) for name, of in rows.items()}
    return rfc8785.dumps(cast("dict[str, CanonicalValue]", _replace_digests(cast("RecordValue", value), _hex_of)))


def jcs_to_cbor(payload: bytes, *, max_bytes: int = MANIFEST_BYTES_MAX) -> bytes:
    """Return the canonical CBOR of the manifest whose RFC 8785 form is `payload`.

    The rules of manifests are not checked; `decode` checks them.

    Raises:
        NotCanonicalJson: as for `read_jcs`, or a digest is not lower-case hex.
    """
    return canonical.encode_record(
        _replace_digests(cast("RecordValue", read_jcs(payload, max_bytes=max_bytes)), _bytes_of)
    )


def read_jcs(payload: bytes, *, max_bytes: int = MANIFEST_BYTES_MAX) -> CanonicalValue:
    """Return the value whose RFC 8785 form is `payload`.

    Raises:
        NotCanonicalJson: the payload is not UTF-8, not JSON, not in RFC 8785 form or larger than `max_bytes`; or it has
            repeated keys, floats, NaN, integers beyond ±(2^53-1), lone surrogates, nesting deeper than
            `canonical.MAX_DEPTH`, or more items than a payload of this length may have.
    """
    if len(payload) > max_bytes:
        raise NotCanonicalJson(f"it has {len(payload)} bytes, and at most {max_bytes} are read here")
    _check_items(payload)
    try:
        value = _parse(payload.decode())
        canonical.encode(value)
    except UnicodeDecodeError as error:
        raise NotCanonicalJson(f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise NotCanonicalJson(f"{error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise NotCanonicalJson(f"nested deeper than {canonical.MAX_DEPTH} arrays and objects") from error
    except NotEncodable as error:
        raise NotCanonicalJson(f"at {error.where}: {error.reason}") from error
    if rfc8785.dumps(value) != payload:
        raise NotCanonicalJson("spaces, escapes or the order of keys are not those that RFC 8785 prescribes")
    return value


def _replace_digests(value: RecordValue, replace: Callable[[RecordValue], RecordValue]) -> RecordValue:
    """Replace the digests of a manifest's plain value in place. Skip malformed parts, which `decode` refuses."""
    if not isinstance(value, dict):
        return value
    for row in _rows(value, "entries"):
        for place in _DIGESTS.get(row[0] if row and isinstance(row[0], str) else "", ()):
            if place < len(row):
                row[place] = replace(row[place])
    for row in _rows(value, "storage_receipts"):
        row[:1] = map(replace, row[:1])
    return value


def _rows(value: dict[str, RecordValue], name: str) -> Iterator[list[RecordValue]]:
    rows = value.get(name)
    return (row for row in rows if isinstance(row, list)) if isinstance(rows, list) else iter(())


def _hex_of(digest: RecordValue) -> RecordValue:
    return digest.hex() if isinstance(digest, bytes) else digest


def _bytes_of(digest: RecordValue) -> RecordValue:
    if not isinstance(digest, str):
        return digest
    if _HEX.fullmatch(digest) is None:
        raise NotCanonicalJson(f"{digest[:80]!r} stands where a digest in lower-case hex does")
    return bytes.fromhex(digest)


def _check_items(payload: bytes) -> None:
    """Count the items of a payload without creating them, and refuse too many."""
    items_max = canonical.ITEMS_FREE + len(payload) // _BYTES_PER_ITEM
    if sum(map(payload.count, _OPENING)) < items_max:
        return  # this count includes bytes within strings, so it is an upper bound
    items = 1
    for token in _TOKEN.finditer(payload):
        items += payload[token.start()] != _QUOTE
        if items > items_max:
            raise NotCanonicalJson(f"it has more than {items_max} items in {len(payload)} bytes")


def _parse(text: str) -> CanonicalValue:
    return cast(
        "CanonicalValue",
        json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_refuse_float,
            parse_constant=_refuse_float,
        ),
    )


def _object(pairs: list[tuple[str, CanonicalValue]]) -> CanonicalValue:
    value: dict[str, CanonicalValue] = {}
    for key, item in pairs:
        if key in value:
            raise NotCanonicalJson(f"key {key[:80]!r} occurs twice in one object")
        value[key] = item
    return value


def _integer(digits: str) -> int:
    # Python parses long integers slowly, and refuses very long ones with a different error.
    if len(digits) > _INTEGER_CHARS_MAX:
        raise NotCanonicalJson(f"integer {digits[:20]}… is beyond ±{canonical.INTEGER_MAX} (2^53-1)")
    return int(digits)


def _refuse_float(text: str) -> Never:
    raise NotCanonicalJson(f"number {text[:40]} is not an integer")
