"""The routes for bytes: one file of a package, with ranges and conditions, and a package or a part of it as an archive.

The headers say how many bytes follow. If an object turns out to be damaged meanwhile, the connection ends before the
last of them, so no client takes a damaged file or a cut archive for a whole one.
"""

from collections.abc import Mapping
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from itertools import batched
from typing import Annotated, Final
from urllib.parse import quote

from msgspec import Meta

from artifactstore.environment import in_thread
from artifactstore.http.api.file_bytes import bytes_of_ranges, parts_boundary, parts_bytes
from artifactstore.http.api.model import Call, FreshQuery, RawReply
from artifactstore.http.api.problems import Problem
from artifactstore.http.api.sending import Places, send_body, send_head, while_allowed, while_connected
from artifactstore.http.shortcut import HEADERS, Receive, Scope, Send
from artifactstore.package_export import ArchiveForm, archive, outline
from artifactstore.refusals import FileNotInPackage, LinkLeadsNowhere
from artifactstore.registry import event_store, package_reads
from artifactstore_protocols.export_choice import ExportChoice
from artifactstore_protocols.http_conditions import Conditions, Decision, decide
from artifactstore_protocols.http_content import (
    CONTENT_POLICY,
    content_disposition,
    entity_tag,
    is_shown,
    repr_digest,
)
from artifactstore_protocols.http_ranges import ByteRange
from artifactstore_protocols.package_tree import Dead
from artifactstore_protocols.paths import check_path, path_key
from artifactstore_protocols.records import FileRecord

__all__ = [
    "ARCHIVES_MAX",
    "ARCHIVE_TYPES",
    "CONDITIONS",
    "FILES_MAX",
    "OTHER_STATUSES",
    "RANGES",
    "RANGE_STATUSES",
    "ArchiveQuery",
    "get_file",
    "get_tar",
    "get_zip",
]

FILES_MAX: Final = 64
"""The most files that are sent at once. Each holds up to 3 MiB."""

ARCHIVES_MAX: Final = 4
"""The most archives that are sent at once. Each holds up to 24 MiB, and 2 KB for each entry of its package."""

_LOOKUPS_MAX: Final = 2
"""The most packages whose entries are read at once to follow a link."""

_CHECKED_AT_ONCE: Final = 500

_HEADERS: Final = {
    **HEADERS,
    # A browser may keep a file, and asks each time whether it is still the same and may still be read.
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": CONTENT_POLICY,
}
CONDITIONS: Final[Mapping[str, str]] = {
    "If-None-Match": "Entity tags that the client has; 304 if one of them is current.",
    "If-Match": "Entity tags that the client needs; 412 if none of them is current.",
}
"""The headers with conditions, with their descriptions."""

RANGES: Final[Mapping[str, str]] = {
    "Range": "Up to 16 ranges of bytes. Several are answered as multipart/byteranges.",
    "If-Range": "The entity tag that the ranges are of; the whole file if it is not current.",
}
"""The headers for parts of a file, with their descriptions."""

ARCHIVE_TYPES: Final[Mapping[ArchiveForm, str]] = {"tar": "application/x-tar", "zip": "application/zip"}

OTHER_STATUSES: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.NOT_MODIFIED: "The client has it.",
    HTTPStatus.PRECONDITION_FAILED: "It is not what `If-Match` names.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The service sends as much as it may, or the database is down.",
}
"""What a request for bytes can get beside 200, with the meanings."""

RANGE_STATUSES: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.PARTIAL_CONTENT: "A part of the file.",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "The file has none of these bytes.",
}
"""What a request for a part of a file can get too, with the meanings."""

# They bound the memory of the process, so all servers in it share them.
_files, _archives, _lookups = Places(FILES_MAX), Places(ARCHIVES_MAX), Places(_LOOKUPS_MAX)


class ArchiveQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """The query of an archive."""

    subtree: Annotated[str, Meta(description="A directory or a file; the path above it is left out.")] = ""


async def get_file(call: Call, _query: FreshQuery) -> RawReply:
    """Answer with the bytes of a file, or with a part of them."""
    path = check_path(call.path["path"])
    reads = package_reads(call.registry)

    async def work(send: Send) -> None:
        file = await _file_at(call, path)
        decision = _decided(call, entity_tag(file.content_address), file.size_bytes, ranges=True)
        headers = _file_headers(file, path.rpartition("/")[2], decision)
        if call.is_head or decision.status == HTTPStatus.NOT_MODIFIED:
            await reads.check_contents([file.content_address])  # as for the bytes
            await send_head(send, HTTPStatus(decision.status), headers)
            return
        ranges = decision.ranges or (ByteRange(0, file.size_bytes),)
        pieces = bytes_of_ranges(file, ranges, reads)
        async with _files.taken(call.principal), aclosing(pieces):
            await send_body(send, HTTPStatus(decision.status), headers, pieces)

    async def reply(_scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, partial(work, while_allowed(send, call.recheck)))

    return reply


async def get_tar(call: Call, query: ArchiveQuery) -> RawReply:
    """Answer with a package, or a part of it, as a tar archive."""
    return _archived("tar", call, query)


async def get_zip(call: Call, query: ArchiveQuery) -> RawReply:
    """Answer with a package, or a part of it, as a zip archive."""
    return _archived("zip", call, query)


def _archived(form: ArchiveForm, call: Call, query: ArchiveQuery) -> RawReply:
    reads = package_reads(call.registry)
    name = (query.subtree or call.package.name).rpartition("/")[2]

    async def work(send: Send) -> None:
        async with _archives.taken(call.principal):
            entries = await reads.chosen_entries(call.package.package_id, ExportChoice(query.subtree))
            known = await in_thread(partial(outline, entries, form))
            etag = entity_tag(f"{form}:{known.digest}")
            decision = _decided(call, etag, known.size_bytes, ranges=False)
            headers = {
                **_HEADERS,
                "Accept-Ranges": "none",
                "Content-Disposition": content_disposition(f"{name}.{form}", shown=False),
                "Content-Length": str(known.size_bytes),
                "Content-Type": ARCHIVE_TYPES[form],
                "ETag": etag,
            }
            if call.is_head or decision.status == HTTPStatus.NOT_MODIFIED:
                for some in batched(
                    (each.content_address for each in entries if each.kind == "file"), _CHECKED_AT_ONCE
                ):
                    await reads.check_contents(some)
                await send_head(send, HTTPStatus(decision.status), headers)
                return
            pieces = archive(entries, form, reads.whole_object, reads.read_objects, None)
            async with aclosing(pieces):
                await send_body(send, HTTPStatus.OK, headers, pieces)

    async def reply(_scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, partial(work, while_allowed(send, call.recheck)))

    return reply


async def _file_at(call: Call, path: str) -> FileRecord:
    """Return the file that a path leads to, through links if need be.

    Raises:
        FileNotInPackage, LinkLeadsNowhere: it leads to nothing.
        Problem: it leads to a directory.
    """
    package_id = call.package.package_id
    found = await package_reads(call.registry).entry(package_id, path_key(path))
    if found is not None and found.kind == "file":
        return found
    if not await _meets_a_link(call, path):
        raise _no_file(package_id, path) if await _is_directory(call, path) else FileNotInPackage(package_id, path)
    async with _lookups.taken(call.principal):
        package = await call.registry.open_package(package_id)
        place = await in_thread(partial(package.opened.tree.resolve, path))
    if isinstance(place, Dead):
        if place.link:
            raise LinkLeadsNowhere(package_id, path, place.link, is_loop=place.reason == "loop")
        raise FileNotInPackage(package_id, path)
    if place.entry is None or place.kind != "file":
        raise _no_file(package_id, place.path)
    return place.entry


async def _meets_a_link(call: Call, path: str) -> bool:
    """Return whether a link is at a path or above it. Only then the whole package is needed to follow it."""
    above = ""
    for part in path.split("/"):
        above = f"{above}/{part}" if above else part
        found = await package_reads(call.registry).entry(call.package.package_id, path_key(above))
        if found is not None:
            return found.kind == "link"
        if not await _is_directory(call, above):
            return False
    return False


async def _is_directory(call: Call, path: str) -> bool:
    """Return whether a directory is at a path, empty or not."""
    package_id, key = call.package.package_id, path_key(path)
    found = await package_reads(call.registry).entry(package_id, key)
    if found is not None:
        return found.kind == "directory"
    below = await event_store(call.registry).file_page(package_id, after=f"{key}/", limit=1)
    return any(path_key(each.path).startswith(f"{key}/") for each in below)


def _no_file(package_id: str, path: str) -> Problem:
    below = f"/v1/packages/{package_id}/archive.tar?subtree={quote(path)}"
    return Problem(HTTPStatus.CONFLICT, "not_a_file", f"{path!r} is a directory; get it as {below}")


def _decided(call: Call, etag: str, size_bytes: int, *, ranges: bool) -> Decision:
    """Return what a request gets.

    Raises:
        Problem: a condition is not met, or the file has none of the bytes.
    """
    given = call.headers
    conditions = Conditions(
        given.get("if-match"),
        given.get("if-none-match"),
        given.get("if-range"),
        given.get("range") if ranges else None,
    )
    decision = decide(conditions, etag, size_bytes, reads=not call.is_head)
    if decision.status == HTTPStatus.PRECONDITION_FAILED:
        detail = f"The content is not one that If-Match names: its entity tag is {etag}."
        raise Problem(HTTPStatus.PRECONDITION_FAILED, "content_differs", detail, {"ETag": etag})
    if decision.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        detail = f"The file has {size_bytes} bytes, and none of them is in the ranges that were asked for."
        fields = {"Content-Range": f"bytes */{size_bytes}", "ETag": etag, "Accept-Ranges": "bytes"}
        raise Problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "range_refused", detail, fields)
    return decision


def _file_headers(file: FileRecord, name: str, decision: Decision) -> Mapping[str, str]:
    """Return the headers of an answer with a file, or with a part of it."""
    media_type, size_bytes = file.media_type, file.size_bytes
    headers = {
        **_HEADERS,
        "Accept-Ranges": "bytes",
        "Content-Disposition": content_disposition(name, shown=is_shown(file.media_type)),
        "ETag": entity_tag(file.content_address),
        "Repr-Digest": repr_digest(file.sha256),
    }
    if len(decision.ranges) > 1:
        media_type = f"multipart/byteranges; boundary={parts_boundary(file)}"
        size_bytes = parts_bytes(file, decision.ranges)
    elif decision.ranges:
        (part,) = decision.ranges
        headers["Content-Range"] = f"bytes {part.offset}-{part.last}/{file.size_bytes}"
        size_bytes = part.length
    return {**headers, "Content-Length": str(size_bytes), "Content-Type": media_type}
