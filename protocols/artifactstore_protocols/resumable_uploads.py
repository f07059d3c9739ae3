"""Resumable uploads by tus 1.0: their headers, their state, and what may happen to them next.

An upload is complete once its file is in a package. Until then its offset is the number of bytes that are durable. The
bytes of a part with a checksum count only as a whole.
"""

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.media_types import check_media_type
from artifactstore_protocols.paths import check_path
from artifactstore_protocols.records import FileRecord

__all__ = [
    "CHECKSUM_ALGORITHMS",
    "EXTENSIONS",
    "METADATA_CHARS_MAX",
    "RESUMABLE_LIMITS",
    "TUS_VERSION",
    "Checksum",
    "Destination",
    "Part",
    "PartRefusal",
    "ResumableLimits",
    "Upload",
    "decode_upload",
    "destination_of",
    "encode_upload",
    "has_room",
    "next_part",
    "parse_checksum",
    "parse_count",
    "parse_length",
    "parse_metadata",
    "resumed",
]

TUS_VERSION: Final = "1.0.0"
EXTENSIONS: Final = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "checksum",
    "expiration",
    "termination",
)
CHECKSUM_ALGORITHMS: Final = ("sha1", "sha256")

METADATA_CHARS_MAX: Final = 8192
"""The most characters of `Upload-Metadata`."""

_COUNT: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_KEY: Final = re.compile(r"[!-+\--~]+", re.ASCII)
_DIGEST_BYTES: Final = {"sha1": 20, "sha256": 32}
_FLAGS: Final = {"": True, "true": True, "false": False}


class ResumableLimits(Struct, frozen=True):
    """How much the uploads of one principal may hold that are not complete.

    Attributes:
        uploads_max: the most uploads, complete ones included until they expire.
        bytes_max: the most bytes of all that are not complete, each counted with its length.
        upload_bytes_max: the most bytes of one upload.
        deferred_bytes_max: the most bytes of an upload whose length is not known when it begins. It is counted so.
        kept_us: how long an upload is kept after its last request, in microseconds.
    """

    uploads_max: int = 1000
    bytes_max: int = 2 << 40
    upload_bytes_max: int = 1 << 40
    deferred_bytes_max: int = 64 << 30
    kept_us: int = 24 * 3_600_000_000


RESUMABLE_LIMITS: Final = ResumableLimits()
"""The limits of a service."""


class Checksum(Struct, frozen=True):
    """The checksum of a part.

    Attributes:
        algorithm: one of `CHECKSUM_ALGORITHMS`.
        digest: the digest of the bytes.
    """

    algorithm: str
    digest: bytes


class Destination(Struct, frozen=True):
    """Where the bytes of an upload go, and as what.

    Attributes:
        package: what names the package.
        path: the path of the file in the package.
        media_type: the media type of the file; None derives it from the path.
        executable: whether the file's owner may execute it.
        replace: whether the file replaces another one at its path.
    """

    package: str
    path: str
    media_type: str | None = None
    executable: bool = False
    replace: bool = False


class Upload(Struct, frozen=True):
    """The state of an upload.

    Attributes:
        upload_id: its id.
        principal: who began it. For others it is not there.
        destination: where its bytes go; `package` is the id of the package.
        metadata: `Upload-Metadata` as the client sent it.
        length: the number of bytes that it will have; None if that is not known yet.
        deferred: whether its length was not known when it began.
        offset: the number of bytes that are durable.
        last_offset: where the last part began that was received as a whole.
        expires_at_us: when it is removed, in microseconds since the epoch.
        file: the file in the package, once the upload is complete.
    """

    upload_id: str
    principal: str
    destination: Destination
    metadata: str
    length: int | None
    deferred: bool
    expires_at_us: int
    offset: int = 0
    last_offset: int = 0
    file: FileRecord | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are there. The file may still be on its way into the package."""
        return self.offset == self.length


class PartRefusal(StrEnum):
    """Why a part of an upload is refused."""

    WRONG_OFFSET = "wrong_offset"
    LENGTH_SET = "length_set"
    TOO_LONG = "too_long"


class Part(Struct, frozen=True):
    """A part of an upload that may be received.

    Attributes:
        upload: the upload, with the length that the request may have told.
        most: the most bytes that the part may have.
        is_repeated: whether the upload is complete, and this is its last part again. Its bytes are not written.
    """

    upload: Upload
    most: int
    is_repeated: bool = False


def parse_count(name: str, text: str | None) -> int:
    """Return the value of a header that is a number of bytes.

    Raises:
        InvalidValue: it is missing or is no number from 0 to 10^18 - 1.
    """
    if text is None or _COUNT.fullmatch(text) is None:
        raise InvalidValue("header", name, "send it as a number of bytes, such as 1024")
    return int(text)


def parse_length(headers: Mapping[str, str]) -> int | None:
    """Return the length of a new upload from its headers; None if it comes later.

    Args:
        headers: the headers, by lower-case names.

    Raises:
        InvalidValue: there is no length, or more than one, or the upload is a part of several to be joined.
    """
    if "upload-concat" in headers:
        raise InvalidValue("header", "Upload-Concat", "this service joins no uploads; send the file as one")
    deferred, length = headers.get("upload-defer-length"), headers.get("upload-length")
    if (deferred is None) == (length is None) or deferred not in {None, "1"}:
        raise InvalidValue("header", "Upload-Length", "send either Upload-Length or Upload-Defer-Length: 1")
    return None if length is None else parse_count("Upload-Length", length)


def parse_metadata(text: str) -> dict[str, str]:
    """Return the values of `Upload-Metadata` by their keys.

    Raises:
        InvalidValue: it is too long, a pair is not a key and base64, a value is no UTF-8, or a key is repeated.
    """
    if len(text) > METADATA_CHARS_MAX:
        raise InvalidValue("header", "Upload-Metadata", f"send at most {METADATA_CHARS_MAX} characters")
    found: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else ():
        key, _space, encoded = pair.strip().partition(" ")
        try:
            value = b64decode(encoded.strip(), validate=True).decode()
        except ValueError as error:
            raise InvalidValue("header", "Upload-Metadata", "separate KEY BASE64 pairs by commas, in UTF-8") from error
        if _KEY.fullmatch(key) is None or key in found:
            raise InvalidValue("header", "Upload-Metadata", "use keys of ASCII without spaces and commas, each once")
        found[key] = value
    return found


def destination_of(metadata: Mapping[str, str]) -> Destination:
    """Return where the bytes of an upload go, by the keys `package`, `path`, `media_type`, `executable` and `replace`.

    Other keys are for the client itself.

    Raises:
        InvalidValue: the package or the path is missing, or a value is invalid.
        PathRefused: no package may have a file at the path.
    """
    for key in ("package", "path"):
        if not metadata.get(key):
            raise InvalidValue("header", "Upload-Metadata", f"it must have the key {key!r}, with its value in base64")
    media_type = metadata.get("media_type") or None
    if media_type is not None:
        check_media_type(media_type)
    return Destination(
        metadata["package"],
        check_path(metadata["path"]),
        media_type,
        executable=_flag(metadata, "executable"),
        replace=_flag(metadata, "replace"),
    )


def _flag(metadata: Mapping[str, str], key: str) -> bool:
    text = metadata.get(key, "false")
    if text not in _FLAGS:
        raise InvalidValue(f"value of {key!r} in Upload-Metadata", text[:60], "write 'true' or 'false', in base64")
    return _FLAGS[text]


def parse_checksum(text: str) -> Checksum:
    """Return the value of `Upload-Checksum`.

    Raises:
        InvalidValue: the algorithm is not offered, or the digest is not base64 of its length.
    """
    algorithm, _space, encoded = text.strip().partition(" ")
    reason = f"send ALGORITHM BASE64, with one of {', '.join(CHECKSUM_ALGORITHMS)}"
    try:
        digest = b64decode(encoded, validate=True)
    except ValueError as error:
        raise InvalidValue("header", "Upload-Checksum", reason) from error
    if _DIGEST_BYTES.get(algorithm) != len(digest):
        raise InvalidValue("header", "Upload-Checksum", reason)
    return Checksum(algorithm, digest)


def has_room(others: Iterable[Upload], length: int | None, limits: ResumableLimits) -> bool:
    """Return whether a principal with these uploads may begin another one of this length."""
    uploads = list(others)
    reserved = sum(_reserved(each.length, limits, each.deferred) for each in uploads if each.file is None)
    wanted = _reserved(length, limits, length is None)
    return len(uploads) < limits.uploads_max and reserved + wanted <= limits.bytes_max


def _reserved(length: int | None, limits: ResumableLimits, deferred: bool) -> int:
    return length if length is not None and not deferred else limits.deferred_bytes_max


def resumed(upload: Upload, on_disk: int) -> Upload:
    """Return an upload as it can be continued: with an offset that the bytes on disk bear out.

    Bytes beyond the recorded offset may be of a part that was never acknowledged, so they do not count.
    """
    return replace(upload, offset=min(upload.offset, on_disk)) if upload.file is None else upload


def next_part(
    upload: Upload, offset: int, told_length: int | None, body_length: int | None, limits: ResumableLimits
) -> Part | PartRefusal:
    """Return what a part may be that a client wants to send, or why it is refused.

    Args:
        upload: the upload.
        offset: where the part begins, by the client.
        told_length: the length of the upload, if the request tells it.
        body_length: the number of bytes of the part; None if it comes in chunks of an unknown number.
        limits: the limits.
    """
    if told_length is not None and upload.length not in {None, told_length}:
        return PartRefusal.LENGTH_SET
    is_repeated = upload.file is not None and offset == upload.last_offset
    if offset != upload.offset and not is_repeated:
        return PartRefusal.WRONG_OFFSET
    length = upload.length if upload.length is not None else told_length
    most_bytes = limits.deferred_bytes_max if upload.deferred else limits.upload_bytes_max
    if length is not None and not upload.offset <= length <= most_bytes:
        return PartRefusal.TOO_LONG
    most = (most_bytes if length is None else length) - offset
    if body_length is not None and body_length > most:
        return PartRefusal.TOO_LONG
    return Part(replace(upload, length=length), most, is_repeated)


def encode_upload(upload: Upload) -> bytes:
    """Return the state of an upload as a line of JSON."""
    return msgspec.json.encode(upload) + b"\n"


def decode_upload(text: bytes) -> Upload:
    """Return the state that `encode_upload` encoded.

    Raises:
        InvalidValue: the text is no state of an upload.
    """
    try:
        return msgspec.json.decode(text, type=Upload)
    except (ValueError, RecursionError) as error:
        raise InvalidValue("state of an upload", repr(text[:80]), f"remove the file ({error})") from error
