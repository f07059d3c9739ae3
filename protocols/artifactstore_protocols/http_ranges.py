"""`Range` of an HTTP request (RFC 9110 section 14): which bytes of a file a client asks for.

Overlapping and adjacent ranges become one, and the rest keeps the order of the file. So an answer never has more bytes
than the file, whatever the header says. A header that this module does not understand is ignored, as the RFC allows;
the client then gets the whole file.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["RANGES_MAX", "ByteRange", "requested_ranges"]

RANGES_MAX: Final = 16
"""The most ranges that one request may name. A header with more is ignored."""

_HEADER: Final = re.compile(r"[ \t]*bytes=(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)
_RANGE: Final = re.compile(r"(?P<first>[0-9]*)-(?P<last>[0-9]*)", re.ASCII)
_DIGITS_MAX: Final = 20
_BEYOND_ANY_FILE: Final = 10**_DIGITS_MAX


class ByteRange(NamedTuple):
    """A range of the bytes of a file; it has at least one.

    Attributes:
        offset: the position of the first byte.
        length: the number of bytes.
    """

    offset: int
    length: int

    @property
    def last(self) -> int:
        """The position of the last byte."""
        return self.offset + self.length - 1


def requested_ranges(header: str, size_bytes: int) -> tuple[ByteRange, ...] | None:
    """Return the ranges that a `Range` header names, in the order of the file, none of them overlapping or adjacent.

    Args:
        header: the value of the header.
        size_bytes: the length of the file.

    Returns:
        No range if the file has none of the bytes: the answer is 416. None if the header is to be ignored, since it is
        malformed, has another unit or too many ranges, or the file is empty.
    """
    found = _HEADER.fullmatch(header)
    if found is None or not size_bytes:
        return None
    specs = [spec for each in found[1].split(",") if (spec := each.strip(" \t"))]
    if not 0 < len(specs) <= RANGES_MAX:
        return None
    ranges: list[ByteRange] = []
    for spec in specs:
        named = _RANGE.fullmatch(spec)
        if named is None or not (named["first"] or named["last"]):
            return None
        if not named["first"]:
            length = min(_number(named["last"]), size_bytes)
            offset = size_bytes - length
        else:
            offset = _number(named["first"])
            last = _number(named["last"]) if named["last"] else _BEYOND_ANY_FILE
            if last < offset:
                return None
            length = min(last + 1, size_bytes) - offset
        if length > 0:
            ranges.append(ByteRange(offset, length))
    return tuple(_joined(sorted(ranges)))


def _number(digits: str) -> int:
    """Return a number; a huge one as `_BEYOND_ANY_FILE`, since Python reads at most 4,300 digits."""
    digits = digits.lstrip("0")
    return _BEYOND_ANY_FILE if len(digits) > _DIGITS_MAX else int(digits or "0")


def _joined(ranges: Iterable[ByteRange]) -> list[ByteRange]:
    joined: list[ByteRange] = []
    for each in ranges:
        if joined and each.offset <= joined[-1].last + 1:
            before = joined.pop()
            each = ByteRange(before.offset, max(before.last, each.last) + 1 - before.offset)  # noqa: PLW2901
        joined.append(each)
    return joined
