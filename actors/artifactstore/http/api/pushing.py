"""Handlers for a push by reference: what is missing, a stream of small contents, and entries that refer to contents.

A token refers to contents that it has sent for this package, or that are in a package which it may read. It learns
nothing about any other content: see ADR 0043.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from artifactstore.http.api.bodies import cut_problem
from artifactstore.http.api.model import JSON, Answer, Call, NoQuery, Route
from artifactstore.http.api.problems import Problem
from artifactstore.http.api.room import RECEIVING, check_room
from artifactstore.http.request_body import BodyCut
from artifactstore_protocols.commands import OBJECTS_MAX
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.log_file.cbor_framing import ItemSplitter, NotAnItem
from artifactstore_protocols.pushing import UPLOADED_BYTES_MAX, AddedEntries, NewEntry, UploadedContent

__all__ = [
    "CBOR_SEQUENCE",
    "ENTRIES_AT_ONCE",
    "OBJECTS_AT_ONCE",
    "PUSH_ROUTES",
    "add_entries",
    "find_missing_objects",
    "store_objects",
]

CBOR_SEQUENCE: Final = "application/cbor-seq"
ENTRIES_AT_ONCE: Final = 1000
OBJECTS_AT_ONCE: Final = 10_000

_HEAD_BYTES_MAX: Final = 9
_BATCH_BYTES: Final = 4 << 20
"""A request holds so many bytes of whole contents, one content more, and one that is not whole."""

_BYTE_STRING: Final = 2
_ONE_BYTE: Final = 24
_NOT_FINALIZED: Final = "The package is finalized, or contents are missing; `details` names them."


class WantedObjects(Struct, frozen=True, forbid_unknown_fields=True):
    """Contents to which entries are to refer.

    Attributes:
        contents: their addresses, such as `blake3:` and 64 hexadecimal digits.
    """

    contents: Annotated[tuple[str, ...], Meta(max_length=OBJECTS_AT_ONCE)]


class MissingObjects(Struct, frozen=True):
    """Contents to send first.

    Attributes:
        missing: those of the addresses to which the token may not refer in this package yet, in order, each once.
    """

    missing: Sequence[str]


class StoredObjects(Struct, frozen=True):
    """Contents that were stored.

    Attributes:
        items: what each of them is, in the order of the body.
    """

    items: Sequence[UploadedContent]


class NewEntries(Struct, frozen=True, forbid_unknown_fields=True):
    """Entries to add to a package.

    Attributes:
        entries: the entries.
    """

    entries: Annotated[tuple[NewEntry, ...], Meta(max_length=ENTRIES_AT_ONCE)]


async def find_missing_objects(call: Call, _query: NoQuery) -> Answer:
    """Answer with those of the contents that the client must send."""
    wanted = call.sent_as(WantedObjects)
    missing = await call.registry.missing_objects(
        call.package.package_id, wanted.contents, readable=_readable(call), principal=call.principal
    )
    return Answer(MissingObjects(missing))


async def store_objects(call: Call, _query: NoQuery) -> Answer:
    """Store the contents of the body in batches, and answer with what they are.

    A token that ends meanwhile stores no further batch.
    """
    package_id = call.package.package_id
    items: list[UploadedContent] = []
    batch: list[bytes] = []
    size = 0

    async def store() -> None:
        await call.recheck()
        await check_room(call, size)
        items.extend(await call.registry.store_objects(package_id, batch, principal=call.principal))

    async with RECEIVING.taken(call.principal), aclosing(_contents(call)) as contents:
        async for content in contents:
            if len(items) + len(batch) == OBJECTS_AT_ONCE:
                detail = f"A body has at most {OBJECTS_AT_ONCE} contents; send the others in another one."
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_long", detail)
            batch.append(content)
            size += len(content)
            if len(batch) == OBJECTS_MAX or size >= _BATCH_BYTES:
                await store()
                batch, size = [], 0
        await store()
    return Answer(StoredObjects(items))


async def _contents(call: Call) -> AsyncGenerator[bytes]:
    """Yield the byte strings of the body.

    Raises:
        InvalidValue: the body is something else.
        Problem: it is not complete.
    """
    splitter = ItemSplitter(UPLOADED_BYTES_MAX + _HEAD_BYTES_MAX, 1)
    try:
        async with aclosing(call.body.pieces()) as pieces:
            async for piece in pieces:
                for item in splitter.feed(piece):
                    yield _content(item)
    except NotAnItem as error:
        raise InvalidValue("body", "", f"{error}; send byte strings of at most {UPLOADED_BYTES_MAX} bytes") from error
    except BodyCut as error:
        raise cut_problem(error) from error
    if splitter.kept_bytes:
        raise InvalidValue("body", "", "its last byte string is not complete")


def _content(item: bytes) -> bytes:
    if item[0] >> 5 != _BYTE_STRING:
        raise InvalidValue("body", "", "it is a CBOR sequence of byte strings and of nothing else")
    information = item[0] & 0x1F
    return item[1 if information < _ONE_BYTE else 1 + (1 << (information - _ONE_BYTE)) :]


async def add_entries(call: Call, _query: NoQuery) -> Answer:
    """Add entries to the package."""
    entries = call.sent_as(NewEntries).entries
    added = await call.registry.add_entries(
        call.package.package_id, entries, readable=_readable(call), principal=call.principal
    )
    return Answer(added)


def _readable(call: Call) -> Sequence[str]:
    """Return globs for the names of packages to whose contents the token may refer."""
    return call.within if "read" in call.grant.scopes else ()


PUSH_ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        method="POST",
        template="/v1/packages/{package}/objects/missing",
        summary="Ask which contents to send before entries of a package can refer to them.",
        handler=find_missing_objects,
        query=NoQuery,
        answers={JSON: MissingObjects},
        scope="write",
        body={JSON: WantedObjects},
        tag="push",
        named="open",
    ),
    Route(
        method="POST",
        template="/v1/packages/{package}/objects",
        summary="Send many small contents for a package, as a CBOR sequence of byte strings.",
        handler=store_objects,
        query=NoQuery,
        answers={JSON: StoredObjects},
        scope="write",
        body={CBOR_SEQUENCE: None},
        errors={HTTPStatus.INSUFFICIENT_STORAGE: "The storage is full."},
        tag="push",
        named="open",
    ),
    Route(
        method="POST",
        template="/v1/packages/{package}/entries",
        summary="Add files by their contents, links and empty directories to a package.",
        handler=add_entries,
        query=NoQuery,
        answers={JSON: AddedEntries},
        scope="write",
        body={JSON: NewEntries},
        errors={HTTPStatus.CONFLICT: _NOT_FINALIZED},
        tag="push",
        named="open",
    ),
)
