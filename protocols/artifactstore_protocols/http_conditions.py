"""Conditions of an HTTP request (RFC 9110 section 13): whether a client gets a file, a part of it, or neither.

A file has a strong entity tag, which follows from its digest, and no date. So conditions on dates are ignored, and a
date in `If-Range` never matches.
"""

import re
from typing import Final

from msgspec import Struct

from artifactstore_protocols.http_ranges import ByteRange, requested_ranges

__all__ = ["Conditions", "Decision", "decide", "names_tag"]

_TAG: Final = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_TAGS: Final = re.compile(rf"[ \t,]*(?:{_TAG.pattern}[ \t]*(?:,[ \t,]*|\Z))+")


class Conditions(Struct, frozen=True):
    """The values of the headers with conditions; None for each that the request does not have."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_range: str | None = None
    range: str | None = None


class Decision(Struct, frozen=True):
    """What to answer.

    Attributes:
        status: 200 for the whole file, 206 for `ranges`, 304, 412, or 416 if the file has none of the bytes.
        ranges: for 206, one or more ranges in the order of the file.
    """

    status: int
    ranges: tuple[ByteRange, ...] = ()


def decide(conditions: Conditions, etag: str | None, size_bytes: int, *, reads: bool = True) -> Decision:
    """Return what a `GET` or `HEAD` gets, by the order of RFC 9110 section 13.2.2.

    Args:
        conditions: those of the request.
        etag: the strong entity tag of the file, with its quotes; None if it has none, as an open package.
        size_bytes: the length of the file.
        reads: whether this is a `GET`. `Range` has no meaning for other methods.
    """
    if conditions.if_match is not None and not names_tag(conditions.if_match, etag, strongly=True):
        return Decision(412)
    if conditions.if_none_match is not None and names_tag(conditions.if_none_match, etag, strongly=False):
        return Decision(304)
    if conditions.range is None or not reads:
        return Decision(200)
    if conditions.if_range is not None and (etag is None or conditions.if_range.strip(" \t") != etag):
        return Decision(200)
    ranges = requested_ranges(conditions.range, size_bytes)
    if ranges is None:
        return Decision(200)
    return Decision(206, ranges) if ranges else Decision(416)


def names_tag(header: str, etag: str | None, *, strongly: bool) -> bool:
    """Return whether a list of entity tags names this one; `*` names any. A malformed list names none."""
    header = header.strip(" \t")
    if header == "*":
        return True
    if _TAGS.fullmatch(header) is None:
        return False
    return any(tag == etag and not (strongly and weak) for weak, tag in _TAG.findall(header))
