"""A client of tus that says exactly what a test wants to say."""

from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from integration.http.described import Described, bearer
from integration.http.serving import GUARD_S, Answer, answer_to, connect, request

__all__ = ["PART", "VERSION", "Uploader", "encoded"]

PART = ("Content-Type", "application/offset+octet-stream")
VERSION = ("Tus-Resumable", "1.0.0")


def encoded(values: Mapping[str, str]) -> str:
    """Values as `Upload-Metadata`."""
    return ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in values.items())


@dataclass(frozen=True, slots=True)
class Uploader:
    """A client with a token."""

    api: Described
    who: str

    async def ask(
        self,
        method: str,
        target: str = "/v1/uploads",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        *,
        version: bool = True,
    ) -> Answer:
        """One request, whose answer is as the document says, and says which tus this is."""
        given = (*((VERSION,) if version else ()), *headers)
        answer = await self.api.ask(target, self.who, method=method, headers=given, body=body)
        assert answer.headers["tus-resumable"] == "1.0.0", answer
        return answer

    async def create(
        self,
        package: str = "a-1",
        path: str = "big.bin",
        length: int | None = None,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        **metadata: str,
    ) -> Answer:
        """Begin an upload."""
        size = ("Upload-Defer-Length", "1") if length is None else ("Upload-Length", str(length))
        described = ("Upload-Metadata", encoded({"package": package, "path": path, **metadata}))
        part = () if body is None else (PART,)
        return await self.ask("POST", headers=(size, described, *part, *headers), body=body)

    async def begin(self, package: str = "a-1", path: str = "big.bin", length: int | None = None) -> str:
        """Begin an upload; its path."""
        answer = await self.create(package, path, length)
        assert answer.status == 201, answer
        return answer.headers["location"]

    async def send(self, target: str, offset: int, body: bytes, *headers: tuple[str, str]) -> Answer:
        """Send a part."""
        return await self.ask("PATCH", target, (PART, ("Upload-Offset", str(offset)), *headers), body)

    async def offset(self, target: str) -> int:
        """The offset, as a client asks for it before it continues."""
        answer = await self.ask("HEAD", target)
        assert answer.status == 200, answer
        return int(answer.headers["upload-offset"])

    @asynccontextmanager
    async def sending(
        self, target: str, offset: int, length: int, body: bytes, *headers: tuple[str, str]
    ) -> AsyncGenerator[trio.abc.Stream]:
        """A connection on which a part is being sent, of which only the first bytes have been."""
        given = (
            *bearer(self.api.secrets[self.who]),
            VERSION,
            PART,
            ("Upload-Offset", str(offset)),
            ("Content-Length", str(length)),
            *headers,
        )
        async with await connect(self.api.service.url) as stream:
            await stream.send_all(request(target, "PATCH", given) + body)
            yield stream

    async def rest(self, stream: trio.abc.Stream) -> Answer:
        """The answer on such a connection."""
        with trio.fail_after(GUARD_S):
            return await answer_to(stream, "PATCH")
