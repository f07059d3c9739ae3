"""Canonical bytes for values: CBOR in the core deterministic encoding of RFC 8949 §4.2.1.

A value has exactly one encoding, so a digest of the bytes identifies the value. `encode` and `decode` support the
values that JSON can hold too: null, booleans, text, integers within ±(2^53-1), arrays, and maps with text keys.
`encode_record` and `decode_record` also support byte strings, for the event log, which needs no JSON form.

A payload that `decode` accepts re-encodes to the same bytes. Tags are refused, since cbor2 would create dates, patterns
and addresses from them. No code recurses deeper than `MAX_DEPTH` containers. Callers check the meaning of the values.

An empty map takes one byte as CBOR and 72 bytes in memory. So the items of a payload are counted before any item is
created, and a payload with more items than `items_allowed` returns is refused.
"""

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from typing import Never, cast

import cbor2

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = [
    "BYTES_PER_ITEM",
    "DECODED_BYTES_MAX",
    "INTEGER_MAX",
    "ITEMS_FREE",
    "MAX_DEPTH",
    "CanonicalValue",
    "NotCanonical",
    "NotEncodable",
    "RecordValue",
    "decode",
    "decode_record",
    "decoder",
    "encode",
    "encode_checked",
    "encode_record",
    "items_allowed",
    "load",
    "require_canonical",
]

type CanonicalValue = bool | int | str | list[CanonicalValue] | dict[str, CanonicalValue] | None
"""A value that canonical CBOR and JSON can both hold."""

type RecordValue = bool | int | str | bytes | list[RecordValue] | dict[str, RecordValue] | None
"""A canonical value that may hold byte strings as well."""

MAX_DEPTH = 32
"""How deep arrays and maps may be nested."""

INTEGER_MAX = 2**53 - 1
"""The largest magnitude of an integer. An IEEE 754 double, and so JSON, holds all integers up to it exactly."""

DECODED_BYTES_MAX = 64 * 1024 * 1024
"""The largest payload that is decoded, in bytes, unless the caller sets another limit."""

ITEMS_FREE = 4096
"""How many items a payload of any length may have. An event that lists no files has a few hundred at most."""

BYTES_PER_ITEM = 8
"""The least average length of each further item. In a manifest with the shortest names, it is 16 bytes."""

_SHOWN_CHARS = 80
_INTEGERS = f"integers stay within ±{INTEGER_MAX} (2^53-1)"
_BYTES, _TEXT, _ARRAY, _MAP = 2, 3, 4, 5
_ONE_BYTE = 24
_NEXT_BYTE = -1
_RESERVED = 28


class NotEncodable(ArtifactStoreError):
    """The value has no canonical encoding.

    Attributes:
        where: the place in the value, such as `$.files[3].size_bytes`.
        reason: what the value has at this place, and what is allowed.
    """

    where: str
    reason: str
    template = "cannot be encoded at {self.where}: {self.reason}"


class NotCanonical(ArtifactStoreError):
    """The bytes are not the canonical encoding of any value.

    Attributes:
        reason: what is wrong with the bytes, and where.
    """

    reason: str
    template = "not canonical CBOR: {self.reason}"


def encode(value: CanonicalValue) -> bytes:
    """Return the canonical encoding of `value`.

    Types are matched exactly. Subclasses are refused, since their bytes would not record the class.

    Raises:
        NotEncodable: the value has a float, byte string, set, tuple or another type, a key that is not text, an integer
            beyond `INTEGER_MAX`, text with a lone surrogate, or nesting beyond `MAX_DEPTH`, as a cycle has.
    """
    return _encode(value, bytes_allowed=False)


def encode_record(value: RecordValue) -> bytes:
    """Return the canonical encoding of a value that may hold `bytes`.

    Raises:
        NotEncodable: as for `encode`, except for `bytes`.
    """
    return _encode(value, bytes_allowed=True)


def encode_checked(value: Mapping[str, RecordValue] | list[RecordValue]) -> bytes:
    """Encode like `encode_record`, but do not walk arrays, which the caller has already checked item by item.

    The value is such an array, or a map of such arrays and of scalars. The arrays must hold no map, and no integer
    beyond `INTEGER_MAX`.

    Raises:
        NotEncodable: a value of the map is an integer beyond `INTEGER_MAX`, or a text has a lone surrogate.
    """
    ordered = value if isinstance(value, list) else {key: value[key] for key in _ordered(tuple(value))}
    for key, item in () if isinstance(ordered, list) else ordered.items():
        if type(item) is int and not -INTEGER_MAX <= item <= INTEGER_MAX:
            raise NotEncodable(f"$.{key}", _INTEGERS)
    try:
        return cbor2.dumps(ordered)
    except UnicodeEncodeError:
        raise NotEncodable("$", "a text holds a lone surrogate, which UTF-8 has no form for") from None


def decode(payload: bytes, *, max_bytes: int = DECODED_BYTES_MAX) -> CanonicalValue:
    """Return the value whose canonical encoding is `payload`.

    Raises:
        NotCanonical: the payload has other types, tags, indefinite lengths, longer heads than needed, keys out of order
            or repeated, trailing or missing bytes, nesting beyond `MAX_DEPTH`, more than `max_bytes` bytes, or more
            items than `items_allowed` returns.
    """
    return cast("CanonicalValue", _decode(payload, max_bytes, items_allowed(len(payload)), bytes_allowed=False))


def decode_record(payload: bytes, *, max_bytes: int = DECODED_BYTES_MAX, items_max: int | None = None) -> RecordValue:
    """Return the value, which may hold `bytes`, whose canonical encoding is `payload`.

    Args:
        payload: the encoding.
        max_bytes: the largest length of the payload.
        items_max: the largest number of items, if the form of the payload sets it; None for `items_allowed`.

    Raises:
        NotCanonical: as for `decode`, except for byte strings.
    """
    allowed = items_allowed(len(payload)) if items_max is None else items_max
    return _decode(payload, max_bytes, allowed, bytes_allowed=True)


def load(payload: bytes, *, max_bytes: int, items_max: int) -> RecordValue:
    """Decode like `decode_record`, but do not check that `payload` is canonical.

    This is for callers that parse the value anyway. They must encode the parsed value and call `require_canonical`.

    Raises:
        NotCanonical: the payload is not CBOR, is too long or too deep, or has tags, indefinite lengths, repeated keys
            or too many items.
    """
    with decoder(payload, max_bytes=max_bytes, items_max=items_max) as values:
        return cast("RecordValue", values.decode())


@contextmanager
def decoder(payload: bytes, *, max_bytes: int, items_max: int) -> Generator[cbor2.CBORDecoder]:
    """Decode the items of a payload one by one, by the rules of `load`.

    Raises:
        NotCanonical: as for `load`; also from the body of the `with`.
    """
    if len(payload) > max_bytes:
        raise NotCanonical(f"it has {len(payload)} bytes, and at most {max_bytes} are read here")
    _check_items(payload, items_max)
    try:
        yield cbor2.CBORDecoder(
            BytesIO(payload),
            semantic_decoders=_RefuseTags(),
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except cbor2.CBORDecodeError as error:
        raise NotCanonical(str(error.__cause__ or error)[:_SHOWN_CHARS]) from error


def require_canonical(payload: bytes, canonical: bytes) -> None:
    """Refuse a payload that is not the canonical encoding of its value.

    Raises:
        NotCanonical: `payload` and `canonical` differ. The error says where.
    """
    if canonical != payload:
        raise NotCanonical(_difference(payload, canonical))


def items_allowed(payload_bytes: int) -> int:
    """Return how many items (keys, values, arrays and maps) a payload of this length may hold."""
    return ITEMS_FREE + payload_bytes // BYTES_PER_ITEM


def _encode(value: object, *, bytes_allowed: bool) -> bytes:
    """Check a value, and return its canonical encoding."""
    walk = _Walk(bytes_allowed)
    try:
        walk.check(value, 0)
    except _Misfit as misfit:
        raise NotEncodable(misfit.where(), misfit.reason) from None
    # Sorting in cbor2 costs more than the rest of the encoding, so it is used only if a map is out of order.
    return cbor2.dumps(value, canonical=not walk.sorted())


def _decode(payload: bytes, max_bytes: int, items_max: int, *, bytes_allowed: bool) -> RecordValue:
    """Decode a payload, and check that it is canonical."""
    value = load(payload, max_bytes=max_bytes, items_max=items_max)
    try:
        require_canonical(payload, _encode(value, bytes_allowed=bytes_allowed))
    except NotEncodable as error:
        raise NotCanonical(f"at {error.where}: {error.reason}") from error
    return value


def _steps() -> list[int]:
    """Return the distance from a head to the next one, by the head's first byte; 0 if that byte does not tell.

    The distance is `_NEXT_BYTE` if the next byte holds the length, as for nearly every digest and path.
    """
    steps: list[int] = []
    for first in range(256):
        major, information = first >> 5, first & 0x1F
        if information < _ONE_BYTE:
            steps.append(1 + (information if major in {_BYTES, _TEXT} else 0))
        elif information == _ONE_BYTE:
            steps.append(_NEXT_BYTE if major in {_BYTES, _TEXT} else 2)
        else:
            steps.append(0)
    return steps


_STEPS = _steps()


def _check_items(payload: bytes, items_max: int) -> None:
    """Count the items of a payload without creating any, and refuse too many. The decoder checks the rest."""
    steps, size = _STEPS, len(payload)
    position = items = 0
    last = size - 1
    while position < size:
        first = payload[position]
        items += 1
        if items > items_max:
            raise NotCanonical(f"it has more than {items_max} items in {size} bytes, and no more are read here")
        step = steps[first]
        if step > 0:
            position += step
            continue
        if step and position < last:
            position += 2 + payload[position + 1]
            continue
        major, information = first >> 5, first & 0x1F
        if information >= _RESERVED:
            return  # the decoder stops here at the latest
        body = position + 1 + (1 << (information - _ONE_BYTE))
        argument = int.from_bytes(payload[position + 1 : body])
        position = body
        if major in {_BYTES, _TEXT}:
            position += argument
        elif major in {_ARRAY, _MAP} and argument > items_max:  # the decoder would allocate all at once
            raise NotCanonical(f"an array or a map says that it has {argument} items, and at most {items_max} are read")


def _difference(payload: bytes, canonical: bytes) -> str:
    """Describe where and why a payload differs from the canonical encoding of its value."""
    if payload.startswith(canonical):
        return f"{len(payload) - len(canonical)} bytes follow the value"
    offset = bisect_left(range(len(canonical)), True, key=lambda i: payload[: i + 1] != canonical[: i + 1])
    return f"at byte {offset}: a head is longer than it needs to be, or map keys are out of order"


class _RefuseTags(dict[int, Callable[[object, bool], object]]):
    """A table of tag decoders that refuses every tag.

    cbor2 looks up a tag in this table before its own decoders and before it reads the tag's content. Refusing in the
    lookup covers every tag number, including those that a later cbor2 can decode.
    """

    def __missing__(self, tag: int) -> Never:
        raise ValueError(f"tag {tag} stands where only plain values may")


class _Misfit(Exception):
    """A value that cannot be encoded. Each container that the error passes adds the step that leads to the value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []

    def where(self) -> str:
        """Return the place in the value, such as `$.files[3].size_bytes`."""
        return "$" + "".join(reversed(self.steps))


class _Walk:
    """The check of a whole value. It also notes for each set of keys whether it is in canonical order.

    A manifest has very many maps and very few different sets of keys, so the order is computed once for each set.
    """

    def __init__(self, bytes_allowed: bool) -> None:
        self._bytes_allowed = bytes_allowed
        self._order: dict[tuple[str, ...], bool] = {}

    def sorted(self) -> bool:
        """Return whether all maps have their keys in canonical order."""
        return all(self._order.values())

    def check(self, value: object, depth: int) -> None:
        """Raise `_Misfit` if a value at this depth cannot be encoded."""
        if type(value) is str:
            if not value.isascii():
                _utf8(value)
        elif type(value) is int:
            if not -INTEGER_MAX <= value <= INTEGER_MAX:
                raise _Misfit(_INTEGERS)
        elif type(value) is dict:
            self._check_map(cast("dict[object, object]", value), depth + 1)
        elif type(value) is list:
            self._check_items(enumerate(cast("list[object]", value)), "[{}]", depth + 1)
        elif not (value is None or type(value) is bool or (type(value) is bytes and self._bytes_allowed)):
            raise _Misfit(f"type {type(value).__name__} is not one of those that canonical values are made of")

    def _check_map(self, mapping: dict[object, object], depth: int) -> None:
        for key in mapping:
            if type(key) is not str:
                raise _Misfit(f"map keys are text, not {type(key).__name__}")
        keys = cast("tuple[str, ...]", tuple(mapping))
        if keys not in self._order:
            self._order[keys] = _in_order(keys)
        self._check_items(mapping.items(), ".{}", depth)

    def _check_items(self, items: Iterable[tuple[object, object]], step: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _Misfit(f"nested deeper than {MAX_DEPTH} arrays and maps")
        place: object = None
        try:
            for place, item in items:  # noqa: B007 (the handler names the item that failed)
                # Most items are ASCII text; accept them without a call.
                if type(item) is not str or not item.isascii():
                    self.check(item, depth)
        except _Misfit as misfit:
            misfit.steps.append(step.format(place)[:_SHOWN_CHARS])
            raise


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _Misfit(f"text {text[:_SHOWN_CHARS]!r} holds a lone surrogate, which UTF-8 has no form for") from None


@lru_cache(64)
def _ordered(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return map keys in canonical order."""
    return tuple(sorted(keys, key=lambda key: (len(_utf8(key)), _utf8(key))))


def _in_order(keys: tuple[str, ...]) -> bool:
    """Return whether map keys are in canonical order."""
    # The head of a text string grows with its length, so the bytewise order of encodings puts shorter keys first.
    encoded = [(len(key), key) for key in map(_utf8, keys)]
    return encoded == sorted(encoded)
