"""The routes of resumable uploads (tus 1.0): begin, look, continue, remove.

An upload belongs to the principal that began it, and to one package. For others it is not there. Its last byte is
acknowledged once the file is in the package.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from artifactstore.environment import in_thread
from artifactstore.http.api.model import Answer, Call, NoQuery
from artifactstore.http.api.problems import Problem
from artifactstore.http.api.room import RECEIVING, check_room
from artifactstore.http.api.upload_parts import CHECKSUM_MISMATCH, receive_part, too_long
from artifactstore.http.api.upload_turns import upload_busy
from artifactstore.http.tus import METHOD_OVERRIDE, UPLOADS_PATH
from artifactstore.ids import new_id, now_us
from artifactstore.registry import event_store, object_root
from artifactstore.upload_files import HeldUpload, UploadFiles, UploadHeld
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.http_keys import log_key
from artifactstore_protocols.packages import PackageFinalizedAlready, PackageNotFound
from artifactstore_protocols.records import FileRecord, PackageRecord
from artifactstore_protocols.resumable_uploads import (
    CHECKSUM_ALGORITHMS,
    EXTENSIONS,
    TUS_VERSION,
    Part,
    PartRefusal,
    Upload,
    destination_of,
    next_part,
    parse_checksum,
    parse_count,
    parse_length,
    parse_metadata,
)
from artifactstore_protocols.tokens import Grant

__all__ = [
    "CHANGE_STATUSES",
    "CREATION_HEADERS",
    "CREATION_STATUSES",
    "PART",
    "PART_HEADERS",
    "PART_STATUSES",
    "TUS_HEADERS",
    "UploadStatus",
    "append_upload",
    "create_upload",
    "get_upload",
    "remove_upload",
    "upload_options",
]

PART: Final = "application/offset+octet-stream"
"""The media type of a part of an upload."""

_READ_BYTES: Final = 1 << 20
_AGAIN_AFTER_S: Final = "60"

TUS_HEADERS: Final[Mapping[str, str]] = {"Tus-Resumable": f"The version of tus: {TUS_VERSION}."}
_CHECKSUM: Final = f"Of the bytes of this part: one of {', '.join(CHECKSUM_ALGORITHMS)}, a space, and base64."
CREATION_HEADERS: Final[Mapping[str, str]] = {
    **TUS_HEADERS,
    "Upload-Length": "The number of bytes of the file.",
    "Upload-Defer-Length": "`1` in place of the length: a later request tells it.",
    "Upload-Metadata": "`package` and `path`, and optionally `media_type`, `executable` and `replace`, each in base64.",
    "Upload-Checksum": _CHECKSUM,
}
PART_HEADERS: Final[Mapping[str, str]] = {
    **TUS_HEADERS,
    "Upload-Offset": "Where the part begins: the number of bytes that the service has.",
    "Upload-Length": "The number of bytes of the file, if it was deferred.",
    "Upload-Checksum": _CHECKSUM,
}

CHANGE_STATUSES: Final[Mapping[int, str]] = {
    HTTPStatus.PRECONDITION_FAILED: "`Tus-Resumable` names no version that the service has; `Tus-Version` does.",
    HTTPStatus.LOCKED: "Another request is writing the upload; `Retry-After` says when to ask again.",
}
PART_STATUSES: Final[Mapping[int, str]] = {
    **CHANGE_STATUSES,
    HTTPStatus.CONFLICT: "The offset is not that of the upload, or the package cannot take the file.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The upload would be longer than its length or the limit.",
    CHECKSUM_MISMATCH: "The bytes do not fit `Upload-Checksum`, and are discarded.",
    HTTPStatus.INSUFFICIENT_STORAGE: "The device is full.",
}
CREATION_STATUSES: Final[Mapping[int, str]] = {
    **PART_STATUSES,
    HTTPStatus.TOO_MANY_REQUESTS: "The token has as many uploads as it may; `Retry-After` says when to ask again.",
}


class UploadStatus(Struct, frozen=True):
    """An upload.

    Attributes:
        upload_id: its id.
        package_id: the package.
        path: the path of the file in the package.
        length: the number of bytes that it will have; null if that is not known yet.
        offset: the number of bytes that are durable.
        expires_at_us: when it is removed.
        file: the file in the package, once the upload is complete.
    """

    upload_id: str
    package_id: str
    path: str
    length: int | None
    offset: int
    expires_at_us: int
    file: FileRecord | None


async def upload_options(call: Call, _query: NoQuery) -> Answer:
    """Say which parts of tus there are."""
    headers = {
        "Tus-Version": TUS_VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUM_ALGORITHMS),
        "Tus-Max-Size": str(call.uploads.limits.upload_bytes_max),
    }
    return Answer(None, HTTPStatus.NO_CONTENT, headers)


async def create_upload(call: Call, _query: NoQuery) -> Answer:
    """Begin an upload, and receive its first bytes if the request has some."""
    _check_version(call)
    if METHOD_OVERRIDE in call.headers and call.headers[METHOD_OVERRIDE].upper() != "POST":
        raise InvalidValue("header", "X-HTTP-Method-Override", "send PATCH or DELETE, to the URL of an upload")
    length = parse_length(call.headers)
    limits = call.uploads.limits
    if length is not None and length > limits.upload_bytes_max:
        raise too_long()
    metadata = call.headers.get("upload-metadata", "")
    destination = destination_of(parse_metadata(metadata))
    package = await _package(call, call.grant, destination.package)
    package.check_not_gone()
    if package.status != "open":
        raise PackageFinalizedAlready(package.package_id)
    await check_room(call, length or 0)
    upload = Upload(
        upload_id=new_id(),
        principal=call.principal,
        destination=replace(destination, package=package.package_id),
        metadata=metadata,
        length=length,
        deferred=length is None,
        expires_at_us=_expiry(call),
    )
    if not await in_thread(partial(_files(call).begin, upload, limits)):
        detail = "This token has as many uploads as it may; complete or remove some, or wait until they expire."
        headers = {"Retry-After": _AGAIN_AFTER_S}
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too_many_uploads", detail, headers)
    if call.body.length != 0 or length == 0:
        try:
            upload = await _append(call, upload, 0)
        except Exception:  # the client does not learn where the upload is
            async with call.uploads.turn(upload.upload_id), _held(call, upload.upload_id) as held:
                if held is not None:
                    await in_thread(held.remove)
            raise
    headers = {"Location": f"{UPLOADS_PATH}/{upload.upload_id}", **_headers(upload)}
    return Answer(_status(upload), HTTPStatus.CREATED, headers)


async def get_upload(call: Call, _query: NoQuery) -> Answer:
    """Show an upload. `HEAD` ends a request that is sending a part of it, and keeps the bytes that have arrived."""
    _check_version(call)
    upload = await _found(call)
    if call.is_head and upload.file is None:
        async with call.uploads.turn(upload.upload_id):
            try:
                async with _held(call, upload.upload_id) as held:
                    upload = await _completed(call, held) if held is not None else await _found(call)
            except UploadHeld as error:  # by another server; what it has recorded is true
                upload = await _found(call)
                if upload.is_whole and upload.file is None:  # clients take the whole length for success
                    raise upload_busy() from error
    described = {"Upload-Metadata": upload.metadata} if upload.metadata else {}
    size = {"Upload-Defer-Length": "1"} if upload.length is None else {"Upload-Length": str(upload.length)}
    return Answer(_status(upload), headers={**_headers(upload), **size, **described})


async def append_upload(call: Call, _query: NoQuery) -> Answer:
    """Receive a part of an upload, and put the file into the package after the last one."""
    _check_version(call)
    upload = await _found(call)
    upload = await _append(call, upload, parse_count("Upload-Offset", call.headers.get("upload-offset")))
    return Answer(None, HTTPStatus.NO_CONTENT, _headers(upload))


async def remove_upload(call: Call, _query: NoQuery) -> Answer:
    """Remove an upload. The file of a complete one stays in its package."""
    _check_version(call)
    upload = await _found(call)
    async with call.uploads.turn(upload.upload_id):
        try:
            async with _held(call, upload.upload_id) as held:
                if held is not None:
                    await in_thread(held.remove)
                else:
                    await in_thread(partial(_files(call).forget, call.principal, upload.upload_id))
        except UploadHeld as error:
            raise upload_busy() from error
    return Answer(None, HTTPStatus.NO_CONTENT)


async def _append(call: Call, upload: Upload, offset: int) -> Upload:
    """Receive the part that a request has, and return the upload after it."""
    told = call.headers.get("upload-length")
    length = None if told is None else parse_count("Upload-Length", told)
    given = call.headers.get("upload-checksum")
    checksum = None if given is None else parse_checksum(given)
    async with call.uploads.turn(upload.upload_id, offset) as turn:
        try:
            async with _held(call, upload.upload_id) as held:
                now = await _found(call) if held is None else held.upload
                await check_room(call, call.body.length or 0)
                part = _judged(next_part(now, offset, length, call.body.length, call.uploads.limits), now)
                look = partial(check_room, call, 0)
                await receive_part(call.body, part, held, turn, checksum, _expiry(call), look)
                return now if held is None else await _completed(call, held)
        except UploadHeld as error:
            raise upload_busy() from error


def _judged(judged: Part | PartRefusal, upload: Upload) -> Part:
    match judged:
        case Part():
            return judged
        case PartRefusal.WRONG_OFFSET:
            detail = f"The upload has {upload.offset} bytes; continue there."
            raise Problem(HTTPStatus.CONFLICT, "upload_offset_wrong", detail, _headers(upload))
        case PartRefusal.LENGTH_SET:
            raise InvalidValue("header", "Upload-Length", f"the length of this upload is {upload.length}")
        case PartRefusal.TOO_LONG:
            raise too_long()


async def _completed(call: Call, held: HeldUpload) -> Upload:
    """Put the file of an upload into its package if all bytes are there. Return the upload.

    A repeated call, after a crash in between, finds what the first one did by the idempotency key.
    """
    upload = held.upload
    if not upload.is_whole:
        return upload
    grant = await call.recheck()
    wanted = upload.destination
    if grant.principal != upload.principal:
        raise _no_upload()
    package = await _package(call, grant, wanted.package)
    await check_room(call, upload.offset)
    async with RECEIVING.taken(call.principal):
        file = await call.registry.ingest_file(
            package.package_id,
            wanted.path,
            _bytes_of(held),
            expected_size=upload.offset,
            executable=wanted.executable,
            media_type=wanted.media_type,
            replace=wanted.replace,
            principal=upload.principal,
            idempotency_key=log_key(upload.principal, f"upload:{upload.upload_id}"),
        )
    await in_thread(partial(held.complete, file, _expiry(call)))
    return held.upload


async def _bytes_of(held: HeldUpload) -> AsyncGenerator[bytes]:
    position = 0
    while position < held.upload.offset:
        length = min(_READ_BYTES, held.upload.offset - position)
        data = await in_thread(partial(held.read, position, length))
        if not data:
            return  # the size that the caller expects is not reached
        yield data
        position += len(data)


async def _found(call: Call) -> Upload:
    """Return the upload that the path names.

    Raises:
        Problem: there is none, or it is not for this token.
    """
    upload = await in_thread(partial(_files(call).find, call.principal, call.path["upload"]))
    if upload is None:
        raise _no_upload()
    try:
        await _package(call, call.grant, upload.destination.package)
    except PackageNotFound as error:
        raise _no_upload() from error
    return upload


async def _package(call: Call, grant: Grant, text: str) -> PackageRecord:
    """Return a package that a token may write to."""
    found = await event_store(call.registry).find_package(text, prefer_open=True, within=grant.packages)
    if not grant.allows("write", found.name):
        raise PackageNotFound(text)
    return found


@asynccontextmanager
async def _held(call: Call, upload_id: str) -> AsyncGenerator[HeldUpload | None]:
    """Lock an upload for a block; None if it is complete or gone."""
    held = await in_thread(partial(_files(call).hold, call.principal, upload_id))
    try:
        yield held
    finally:
        if held is not None:
            held.close()


def _check_version(call: Call) -> None:
    if call.headers.get("tus-resumable") != TUS_VERSION:
        detail = f"Send `Tus-Resumable: {TUS_VERSION}`."
        raise Problem(HTTPStatus.PRECONDITION_FAILED, "tus_version_refused", detail, {"Tus-Version": TUS_VERSION})


def _no_upload() -> Problem:
    detail = "There is no such upload: it was removed, has expired, or is not for this token."
    return Problem(HTTPStatus.NOT_FOUND, "upload_not_found", detail)


def _files(call: Call) -> UploadFiles:
    return UploadFiles(object_root(call.registry))


def _expiry(call: Call) -> int:
    return now_us() + call.uploads.limits.kept_us


def _headers(upload: Upload) -> Mapping[str, str]:
    """Return the headers that tell how far an upload is."""
    expires = formatdate(upload.expires_at_us // 1_000_000, usegmt=True)
    return {"Upload-Offset": str(upload.offset), "Upload-Expires": expires}


def _status(upload: Upload) -> UploadStatus:
    wanted = upload.destination
    return UploadStatus(
        upload.upload_id,
        wanted.package,
        wanted.path,
        upload.length,
        upload.offset,
        upload.expires_at_us,
        upload.file,
    )
