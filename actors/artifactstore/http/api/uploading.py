"""The route that puts one file into an open package: its body goes straight into the store, in bounded memory.

The package is unchanged until the whole body is there, has the digest that the client gave, and the token is still
valid. The size of a body, the number of uploads at once and the space that they leave free are limited.
"""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Final

from artifactstore.http.api.bodies import cut_problem
from artifactstore.http.api.model import Answer, Call, NoQuery
from artifactstore.http.api.problems import Problem
from artifactstore.http.api.room import RECEIVING, UPLOADS_MAX, check_room
from artifactstore.http.request_body import BodyCut
from artifactstore.registry import package_reads
from artifactstore_protocols.http_content import entity_tag, repr_digest
from artifactstore_protocols.http_uploads import FORM_TYPES, UploadHeaders, upload_headers
from artifactstore_protocols.packages import PackageFinalizedAlready, PathTaken
from artifactstore_protocols.paths import check_path, path_key
from artifactstore_protocols.purging import ContentPurged

__all__ = ["UPLOADS_MAX", "UPLOAD_HEADERS", "UPLOAD_STATUSES", "put_file"]

_LOOK_AGAIN_BYTES: Final = 64 << 20
"""After so many bytes of an upload the free space is measured again."""

UPLOAD_HEADERS: Final[Mapping[str, str]] = {
    "Content-Digest": "The SHA-256 of the body, as `sha-256=:BASE64:` (RFC 9530). Another body is refused.",
    "Repr-Digest": "The same, since a body is never encoded.",
    "Artifactstore-Executable": "`?1` if the owner of the file may execute it.",
    "If-None-Match": "`*` to put the file only if nothing is at its path. Without it, the file replaces another.",
}
"""The headers of an upload, with their descriptions."""

UPLOAD_STATUSES: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.OK: "The file has replaced another, or was there already.",
    HTTPStatus.PRECONDITION_FAILED: "Something is at the path, and `If-None-Match` is `*`.",
    HTTPStatus.INSUFFICIENT_STORAGE: "The store has no room for the file.",
}
"""What an upload can get beside 201, with the meanings."""


async def put_file(call: Call, _query: NoQuery) -> Answer:
    """Put a file into an open package. The body is its content."""
    path, asked = check_path(call.path["path"]), _headers(call)
    package = call.package
    package.check_not_gone()
    if package.status != "open":
        raise PackageFinalizedAlready(package.package_id)
    _check_length(call, call.body.length or 0)
    await check_room(call, call.body.length or 0)
    existing = await package_reads(call.registry).entry(package.package_id, path_key(path))
    if existing is not None and asked.must_be_new:
        raise _taken(existing.path)
    async with RECEIVING.taken(call.principal):
        try:
            record = await call.registry.ingest_file(
                package.package_id,
                path,
                _content(call, asked),
                expected_size=call.body.length,
                executable=asked.executable,
                media_type=asked.media_type,
                replace=not asked.must_be_new,
                principal=call.principal,
            )
        except PathTaken as error:
            if asked.must_be_new:
                raise _taken(error.existing) from error
            raise
        except ContentPurged as error:
            detail = "This content was purged, and the store does not take it again; leave the file out."
            raise Problem(HTTPStatus.GONE, "content_purged", detail) from error
    status = HTTPStatus.CREATED if existing is None else HTTPStatus.OK
    return Answer(
        record, status, {"ETag": entity_tag(record.content_address), "Repr-Digest": repr_digest(record.sha256)}
    )


def _headers(call: Call) -> UploadHeaders:
    """Return what the headers say.

    Raises:
        InvalidValue: a header is not valid.
        Problem: the body is a form.
    """
    if call.headers.get("content-type", "").partition(";")[0].strip().lower() in FORM_TYPES:
        detail = "The body is the file alone, and no form: with curl, use `-T FILE`, or name its Content-Type."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media_type_refused", detail)
    return upload_headers(call.headers)


def _taken(path: str) -> Problem:
    detail = f"The package has {path!r} already; leave out `If-None-Match: *` to replace it."
    return Problem(HTTPStatus.PRECONDITION_FAILED, "path_taken", detail)


async def _content(call: Call, asked: UploadHeaders) -> AsyncGenerator[bytes]:
    """Yield the body, and end only if it is as the client and the limits say and the token is still valid.

    Raises:
        Problem: the body is cut, is too long, leaves too little room, or has another digest.
        TokenInvalid: the token is not valid any more.
    """
    hasher = hashlib.sha256() if asked.sha256 else None
    received, look_at = 0, _LOOK_AGAIN_BYTES
    try:
        async with aclosing(call.body.pieces()) as pieces:
            async for piece in pieces:
                received += len(piece)
                _check_length(call, received)
                if received >= look_at:
                    look_at += _LOOK_AGAIN_BYTES
                    await check_room(call, 0)
                if hasher is not None:
                    hasher.update(piece)
                yield piece
    except BodyCut as error:
        raise cut_problem(error) from error
    if hasher is not None and asked.sha256 != frozenset({hasher.digest()}):
        detail = f"The body has {repr_digest(hasher.hexdigest())}, and its headers have another digest; send it again."
        raise Problem(HTTPStatus.BAD_REQUEST, "digest_differs", detail)
    await call.recheck()


def _check_length(call: Call, size_bytes: int) -> None:
    most = call.limits.file_bytes_max
    if size_bytes > most:
        detail = f"A file has at most {most} bytes; raise ARTIFACTSTORE_UPLOAD_MAX_MIB of the service."
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_long", detail)
