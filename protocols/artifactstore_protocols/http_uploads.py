"""What the headers of an upload say of the file: its digest and type, and what it may replace.

Header values have the forms of RFC 9651: `?1` is true, and `sha-256=:BASE64:` is a member of a dictionary. A
precondition that is not supported is refused, because a client that sends one relies on it.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.media_types import check_media_type

__all__ = ["FORM_TYPES", "UploadHeaders", "sha256_of", "upload_headers"]

FORM_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
"""The types that clients give to forms. A body with one of them is rarely the file that was meant."""

_EXECUTABLE: Final = "artifactstore-executable"
_BOOLEANS: Final[Mapping[str, bool]] = {"?1": True, "?0": False}
_DIGESTS: Final = ("content-digest", "repr-digest")
_MEMBER: Final = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):(?:;[^,]*)?")
_UNSUPPORTED: Final = ("if-match", "if-unmodified-since", "content-range")
_SHA256_BYTES: Final = 32


class UploadHeaders(Struct, frozen=True):
    """What the headers of an upload say.

    Attributes:
        media_type: the media type; None if it follows from the path.
        executable: whether the owner of the file may execute it.
        must_be_new: whether nothing may be at the path yet.
        sha256: the SHA-256 digests that the body must have.
    """

    media_type: str | None
    executable: bool
    must_be_new: bool
    sha256: frozenset[bytes]


def upload_headers(headers: Mapping[str, str]) -> UploadHeaders:
    """Return what headers say, by their lower-case names.

    Raises:
        InvalidValue: a header has a value that is not supported, or asks for what is not supported.
    """
    for name in _UNSUPPORTED:
        if name in headers:
            raise InvalidValue(name, headers[name][:60], "leave it out; this request takes `If-None-Match: *` alone")
    if (condition := headers.get("if-none-match")) not in {None, "*"}:
        raise InvalidValue("if-none-match", str(condition)[:60], "write `*`, or leave it out to replace the file")
    given = headers.get(_EXECUTABLE, "?0")
    if given not in _BOOLEANS:
        raise InvalidValue(_EXECUTABLE, given[:60], "write ?1 for a program, or ?0")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return UploadHeaders(
        media_type=check_media_type(media_type) if media_type else None,
        executable=_BOOLEANS[given],
        must_be_new=condition == "*",
        sha256=frozenset(sha256_of(name, headers[name]) for name in _DIGESTS if name in headers),
    )


def sha256_of(name: str, value: str) -> bytes:
    """Return the SHA-256 digest that a header by RFC 9530 has. Digests of other algorithms beside it do not count.

    Args:
        name: the name of the header.
        value: its value.

    Raises:
        InvalidValue: the header has another form, or no such digest.
    """
    found: dict[str, str] = {}
    for part in value.split(","):
        member = _MEMBER.fullmatch(part.strip())
        if member is None:
            raise InvalidValue(name, part.strip()[:60], "write sha-256=:BASE64: with the digest in base64")
        found[member[1]] = member[2]
    if "sha-256" not in found:
        raise InvalidValue(name, value[:60], "give the digest as sha-256; no other algorithm is compared")
    try:
        digest = b64decode(found["sha-256"], validate=True)
    except ValueError as error:
        raise InvalidValue(name, value[:60], "the digest is no base64") from error
    if len(digest) != _SHA256_BYTES:
        raise InvalidValue(name, value[:60], f"a SHA-256 digest has {_SHA256_BYTES} bytes, and this one {len(digest)}")
    return digest
