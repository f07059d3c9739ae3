"""Bytes of files from a service: compared with their digests, and continued where a connection broke."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import httpx

from artifactstore.client.errors import AnswerRefused, ServiceRefused
from artifactstore.client.service import Attempts, Busy, Service, received
from artifactstore.concurrently import for_each_concurrent
from artifactstore_protocols.dataplane import RangeRefused
from artifactstore_protocols.http_content import entity_tag
from artifactstore_protocols.identity import ContentAddress, Hasher, new_hasher
from artifactstore_protocols.purging import ContentPurged
from artifactstore_protocols.records import FileRecord
from artifactstore_protocols.storage import ObjectDamaged, ObjectMissing, StorageError

__all__ = ["Downloads", "pieces", "quoted_path"]

_PIECE_BYTES: Final = 256 << 10
_AT_ONCE: Final = 8
"""How many small files are read at once."""


class Downloads:
    """Reads the contents of one package by their addresses, as an export does.

    Args:
        service: the service.
        entries: the entries of the package.
    """

    def __init__(self, service: Service, entries: Iterable[FileRecord]) -> None:
        self._service = service
        self._files: Mapping[str, FileRecord] = {each.content_address: each for each in entries if each.kind == "file"}

    @asynccontextmanager
    async def object(self, content_address: str) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open a content. Its last bytes come once all were compared with the digest."""
        async with aclosing(pieces(self._service, self._files[content_address])) as found:
            yield found

    async def contents(self, content_addresses: Sequence[str]) -> Sequence[bytes | StorageError]:
        """Return small contents, or for each one why it cannot be had."""
        found: dict[str, bytes | StorageError] = {}

        async def read(content_address: str) -> None:
            try:
                async with self.object(content_address) as parts:
                    found[content_address] = b"".join([part async for part in parts])
            except (ObjectDamaged, ObjectMissing, ContentPurged) as error:
                found[content_address] = error

        await for_each_concurrent(dict.fromkeys(content_addresses), read, at_once=_AT_ONCE)
        return [found[each] for each in content_addresses]

    async def no_file(self, _content_address: str) -> None:
        """Return None: no content of a service is a file of this machine, which an export could clone."""


async def pieces(
    service: Service, file: FileRecord, offset: int = 0, length: int | None = None
) -> AsyncGenerator[bytes]:
    """Yield the bytes of a file, or of a range. After a broken connection, it asks for the rest.

    A whole file is compared with its digest before its last piece. A range has no digest.

    Raises:
        RangeRefused: the range does not lie within the file.
        ObjectDamaged: the bytes differ from the digest.
        AnswerRefused: the file changed meanwhile, or the service sends something else.
        Refusal: the service refuses the request.
    """
    end = file.size_bytes if length is None else offset + length
    if not 0 <= offset <= end <= file.size_bytes:
        raise RangeRefused(offset, length, file.size_bytes)
    if offset == end and file.size_bytes:
        return
    whole = (offset, end) == (0, file.size_bytes)
    hasher = new_hasher(ContentAddress.parse(file.content_address).digest.algorithm) if whole else None
    held = b""
    async with aclosing(_continued(service, file, offset, end)) as parts:
        async for piece in parts:
            if hasher is not None:
                hasher.update(piece)
            if held:
                yield held
            held = piece
    if hasher is not None:
        _check(service, file, hasher)
    if held:
        yield held


async def _continued(service: Service, file: FileRecord, at: int, end: int) -> AsyncGenerator[bytes]:
    """Yield the bytes of a file from `at` to before `end`, over as many connections as it takes."""
    attempts = Attempts(service.url)
    while True:
        failure: httpx.TransportError | Busy = httpx.RemoteProtocolError("the answer is too short")
        gathered = bytearray()
        try:
            async with _opened(service, file, at, end) as answer, received(answer) as parts:
                async for part in parts:
                    gathered += part
                    at += len(part)
                    if at > end:
                        raise AnswerRefused(service.url, f"it has more bytes of {file.path!r} than it should")
                    attempts.succeeded()
                    if len(gathered) >= _PIECE_BYTES:
                        yield bytes(gathered)
                        gathered.clear()
            if at == end:
                break
        except (httpx.TransportError, Busy) as error:
            failure = error
        if gathered:
            yield bytes(gathered)
        if at == end > 0:
            return  # all bytes came before the connection broke
        await attempts.wait(failure)
    if gathered:
        yield bytes(gathered)


@asynccontextmanager
async def _opened(service: Service, file: FileRecord, at: int, end: int) -> AsyncGenerator[httpx.Response]:
    """Ask for the bytes of a file from `at` to before `end`.

    Raises:
        AnswerRefused: the service sends something else.
    """
    tag, part = entity_tag(file.content_address), (at, end) != (0, file.size_bytes)
    headers = {"Range": f"bytes={at}-{end - 1}", "If-Range": tag} if part else {}
    path = f"/v1/packages/{file.package_id}/files/{quoted_path(file.path)}"
    try:
        async with service.answer(path, headers=headers) as answer:
            if answer.headers.get("etag") != tag:
                raise AnswerRefused(service.url, f"{file.path!r} changed while it was read; read it again")
            wanted = HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK
            content_range = f"bytes {at}-{end - 1}/{file.size_bytes}" if part else None
            if answer.status_code != wanted or answer.headers.get("content-range") != content_range:
                raise AnswerRefused(service.url, f"it has not the bytes of {file.path!r} that were asked for")
            yield answer
    except ServiceRefused as error:
        # The service does not show the message of a flaw in its storage; the code tells which one it is.
        if error.error == "object_missing":
            raise ObjectMissing(service.url, file.content_address) from error
        if error.error == "object_damaged":
            raise ObjectDamaged(service.url, file.content_address, "the service found it damaged") from error
        raise


def quoted_path(path: str) -> str:
    """Return a path of a package as a part of a URL."""
    return "/".join(quote(part, safe="") for part in path.split("/"))


def _check(service: Service, file: FileRecord, hasher: Hasher) -> None:
    if hasher.hexdigest() != ContentAddress.parse(file.content_address).digest.hex:
        raise ObjectDamaged(service.url, file.content_address, f"{file.path!r} arrived with other bytes")
