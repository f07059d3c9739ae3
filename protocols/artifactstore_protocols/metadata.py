"""Metadata: what callers say about a package, as values by key.

A value is text, a whole number, true or false, a list of values, or a map of values by text. There are no fractions,
since canonical CBOR has none here, and no null: a key without a value is left out. The events and the manifest hold
metadata as canonical CBOR, and JSON output holds the same values.

Keys, depth and size are bounded, because a list of packages loads the metadata of each of them.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final, Never, cast

from blake3 import blake3

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import INTEGER_MAX, CanonicalValue
from artifactstore_protocols.errors import InvalidValue

__all__ = [
    "METADATA_BYTES_MAX",
    "METADATA_DEPTH_MAX",
    "METADATA_KEYS_MAX",
    "METADATA_TEXT_MAX",
    "UNREADABLE",
    "Metadata",
    "MetadataValue",
    "check_keys",
    "check_metadata",
    "is_metadata",
    "metadata_bytes",
    "metadata_from_json",
    "metadata_from_pairs",
    "pair_text",
    "pointer_to",
    "scalar_text",
    "search_term",
    "value_from_json",
    "value_matches",
]

type MetadataValue = bool | int | str | list[MetadataValue] | dict[str, MetadataValue]
"""A value of metadata. Integers are within ±(2^53-1), which JSON holds exactly."""

type Metadata = Mapping[str, MetadataValue]
"""Values by key."""

UNREADABLE: Final = "artifactstore.unreadable"
"""The annotation of a package whose ingest left out paths because they could not be read.

It is a map of their number, `count`, and of as many of them as fit, `paths`. Schemas do not apply to it.
"""

METADATA_KEYS_MAX: Final = 256
"""The most keys of the metadata, and of each map in it."""

METADATA_TEXT_MAX: Final = 4096
"""The most characters of a text."""

METADATA_DEPTH_MAX: Final = 8
"""How deep lists and maps may be nested in a value."""

METADATA_BYTES_MAX: Final = 64 << 10
"""The most bytes of the metadata as canonical CBOR."""

_KEY_CHARACTERS_MAX = 200
_SHOWN_CHARACTERS = 60
_JSON_CHARACTERS_MAX = 16 * METADATA_BYTES_MAX
"""The most characters of JSON that are parsed. JSON can take several for one byte: spaces, and escapes."""

_TERM_BYTES = 16
_INTEGER_CHARACTERS_MAX = len(str(-INTEGER_MAX))


def metadata_bytes(metadata: Metadata) -> bytes:
    """Return metadata as canonical CBOR."""
    return canonical.encode(cast("dict[str, CanonicalValue]", dict(metadata)))


def check_keys(keys: Iterable[str], what: str) -> None:
    """Refuse a text that is no key.

    Raises:
        InvalidValue: a text is not 1 to 200 printable characters, or has a space at an end.
    """
    for key in keys:
        _check_key(what, key)


def check_metadata(metadata: Metadata, what: str = "metadata") -> None:
    """Refuse metadata that breaks a rule.

    Args:
        metadata: plain values, as `typed.check_fields` leaves them.
        what: how an error calls the metadata.

    Raises:
        InvalidValue: a key or a value is not allowed, or there is too much of them.
    """
    _check_map(metadata, what, "", 0)
    try:
        size = len(metadata_bytes(metadata))
    except canonical.NotEncodable as error:
        raise InvalidValue(f"{what} value", ascii(error.where[:_SHOWN_CHARACTERS]), error.reason) from None
    if size > METADATA_BYTES_MAX:
        reason = f"use at most {METADATA_BYTES_MAX}; store larger things as a file of the package"
        raise InvalidValue(what, f"{size} bytes", reason)


def _check_map(values: Metadata, what: str, pointer: str, depth: int) -> None:
    if len(values) > METADATA_KEYS_MAX:
        where = f" at {pointer}" if pointer else ""
        raise InvalidValue(what, f"{len(values)} entries{where}", f"use at most {METADATA_KEYS_MAX}")
    for key, value in values.items():
        _check_key(f"{what} key", key)
        _check_value(value, what, pointer_to(pointer, key), depth)


def _check_value(value: object, what: str, pointer: str, depth: int) -> None:
    if isinstance(value, str):
        if len(value) > METADATA_TEXT_MAX:
            reason = f"use at most {METADATA_TEXT_MAX} characters at {pointer}"
            raise InvalidValue(f"{what} value", value[:_SHOWN_CHARACTERS], reason)
        try:
            value.encode()
        except UnicodeEncodeError:
            shown = ascii(value[:_SHOWN_CHARACTERS])
            raise InvalidValue(f"{what} value", shown, f"use text that UTF-8 can hold at {pointer}") from None
    elif isinstance(value, list | dict):
        if depth == METADATA_DEPTH_MAX:
            reason = f"nest at most {METADATA_DEPTH_MAX} lists and maps at {pointer}"
            raise InvalidValue(f"{what} value", "map" if isinstance(value, dict) else "list", reason)
        if isinstance(value, dict):
            _check_map(cast("Metadata", value), what, pointer, depth + 1)
        else:
            for index, item in enumerate(cast("list[object]", value)):
                _check_value(item, what, pointer_to(pointer, index), depth + 1)
    elif not isinstance(value, int):
        reason = f"use text, whole numbers, true, false, lists and maps at {pointer}"
        raise InvalidValue(f"{what} value", "null" if value is None else type(value).__name__, reason)
    elif not -INTEGER_MAX <= value <= INTEGER_MAX:
        raise InvalidValue(f"{what} value", f"{value:.3e}", f"use an integer within ±(2^53-1) at {pointer}")


def _check_key(what: str, key: object) -> None:
    if not isinstance(key, str):
        raise InvalidValue(what, type(key).__name__, "use text")
    if not key or len(key) > _KEY_CHARACTERS_MAX:
        raise InvalidValue(what, key[:_SHOWN_CHARACTERS], f"use 1 to {_KEY_CHARACTERS_MAX} characters")
    if key != key.strip() or not key.isprintable():
        reason = "use printable characters, with no space at either end"
        raise InvalidValue(what, key[:_SHOWN_CHARACTERS], reason)


def scalar_text(value: MetadataValue) -> str | None:
    """Return the text by which a value is searched: a text itself, 412, true, false; None for a list or a map."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            return None


def search_term(key: str, value: MetadataValue) -> str | None:
    """Return the digest by which an index finds a key with a value; None for a list or a map.

    A digest, since values can be longer than an index allows. Equal texts of different types have the same term. A
    search compares the values that it finds, so 128 bits are enough.
    """
    text = scalar_text(value)
    return None if text is None else blake3(canonical.encode([key, text])).hexdigest(length=_TERM_BYTES)


def pair_text(key: str, value: MetadataValue) -> str:
    """Return a key and its value as `metadata_from_pairs` takes them."""
    return f"{key}={value}" if isinstance(value, str) else f"{key}:={json.dumps(value, ensure_ascii=False)}"


def value_from_json(text: str) -> MetadataValue:
    """Return a value whose JSON artifactstore wrote.

    Raises:
        InvalidValue: the text is no JSON of a value.
    """
    value = _parse(text, "value")
    if not is_metadata({"value": value}):
        raise InvalidValue("value", text[:_SHOWN_CHARACTERS], "metadata has no such value")
    return cast("MetadataValue", value)


def value_matches(wanted: MetadataValue, value: MetadataValue | None) -> bool:
    """Return whether a value is the wanted one. A wanted text also matches an integer or boolean written like it."""
    if value is None:
        return False
    return scalar_text(value) == wanted if isinstance(wanted, str) else type(value) is type(wanted) and value == wanted


def is_metadata(value: object) -> bool:
    """Return whether a value is a map of which all parts have types that metadata can have."""
    if not isinstance(value, dict):
        return False
    pending: list[object] = [cast("object", value)]
    while pending:
        part = pending.pop()
        if type(part) is dict:
            pending += cast("dict[str, object]", part).values()
        elif type(part) is list:
            pending += cast("list[object]", part)
        elif type(part) not in {str, int, bool}:
            return False
    return True


def pointer_to(pointer: str, step: str | int) -> str:
    """Return the JSON pointer (RFC 6901) of a member or an item of the value at a pointer."""
    return f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}"


def metadata_from_pairs(pairs: Iterable[str], what: str = "metadata") -> dict[str, MetadataValue]:
    """Return the metadata that texts state: `KEY=TEXT`, or `KEY:=JSON` for a value of another type.

    The code that uses the metadata checks its keys and values.

    Raises:
        InvalidValue: a text has no `=` or no key, a key is repeated, or what should be JSON is none.
    """
    metadata: dict[str, MetadataValue] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        typed = key.endswith(":")
        key = key.removesuffix(":")
        if not separator or not key:
            raise InvalidValue(what, pair[:_SHOWN_CHARACTERS], "write KEY=TEXT, or KEY:=JSON for a number or a list")
        if key in metadata:
            raise InvalidValue(what, pair[:_SHOWN_CHARACTERS], f"{key!r} is given twice")
        metadata[key] = cast("MetadataValue", _parse(text, f"{what} {key}")) if typed else text
    return metadata


def metadata_from_json(text: str, what: str = "metadata") -> dict[str, MetadataValue]:
    """Return the metadata in a JSON object.

    The code that uses the metadata checks its keys and values.

    Raises:
        InvalidValue: the text is no JSON object, or has a fraction, a long integer or a key twice.
    """
    metadata = _parse(text, what)
    if not isinstance(metadata, dict):
        raise InvalidValue(what, text[:_SHOWN_CHARACTERS], "write a JSON object of values by key")
    return cast("dict[str, MetadataValue]", metadata)


class _NotAllowed(Exception):
    """JSON that metadata has no form for, and why."""


def _parse(text: str, what: str) -> object:
    shown = text[:_SHOWN_CHARACTERS]
    if len(text) > _JSON_CHARACTERS_MAX:
        raise InvalidValue(what, shown, f"write at most {_JSON_CHARACTERS_MAX} characters of JSON")
    try:
        value: object = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_refuse, parse_constant=_refuse
        )
    except json.JSONDecodeError as error:
        reason = f"it is no JSON ({error.msg} at character {error.pos}); JSON has text in double quotes"
        raise InvalidValue(what, shown, reason) from None
    except RecursionError:
        raise InvalidValue(what, shown, f"nest at most {METADATA_DEPTH_MAX} lists and maps") from None
    except _NotAllowed as error:
        raise InvalidValue(what, shown, str(error)) from None
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _NotAllowed("a key occurs twice in one object")
    return value


def _integer(digits: str) -> int:
    if len(digits) > _INTEGER_CHARACTERS_MAX:  # Python parses long integers slowly
        raise _NotAllowed("use integers within ±(2^53-1)")
    return int(digits)


def _refuse(number: str) -> Never:
    reason = f"{number[:_SHOWN_CHARACTERS]} is not an integer; write a fraction as text, or in a smaller unit"
    raise _NotAllowed(reason)
