"""Deterministic CBOR written from RFC 8949 alone, for tests to compare with: slow, small, and without cbor2."""

from typing import cast

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)


def head(major: int, argument: int) -> bytes:
    """The shortest head (RFC 8949 §3) of a major type with its argument."""
    if argument < 24:
        return bytes([major << 5 | argument])
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * width:
            return bytes([major << 5 | info]) + argument.to_bytes(width)
    raise ValueError(argument)


def encode(value: object) -> bytes:
    """The core deterministic encoding (RFC 8949 §4.2.1): keys in bytewise order of their own encodings."""
    if isinstance(value, list):
        items = cast("list[object]", value)
        return head(_ARRAY, len(items)) + b"".join(map(encode, items))
    if isinstance(value, dict):
        mapping = cast("dict[object, object]", value)
        pairs = sorted((encode(key), encode(item)) for key, item in mapping.items())
        return head(_MAP, len(pairs)) + b"".join(key + item for key, item in pairs)
    return _scalar(value)


def _scalar(value: object) -> bytes:
    if isinstance(value, bool) or value is None:
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return head(_UNSIGNED, value) if value >= 0 else head(_NEGATIVE, -1 - value)
    content = value.encode() if isinstance(value, str) else cast("bytes", value)
    return head(_TEXT if isinstance(value, str) else _BYTES, len(content)) + content
