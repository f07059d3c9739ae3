"""Random histories of an upload, with breaks, expiry and crashes at any system call, against a model of what can be.

A crash leaves bytes that were not flushed as zeros, as a power loss can. What the service has acknowledged is kept,
what it tells is on disk, and what is in the package is what was sent.
"""

import errno
import hashlib
import os
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from artifactstore import upload_files
from artifactstore.http.api import upload_parts
from artifactstore.ids import now_us
from artifactstore.upload_files import UploadFiles
from artifactstore_protocols.resumable_uploads import RESUMABLE_LIMITS
from integration.http.described import described
from integration.http.serving import serving
from integration.http.uploading import Uploader
from integration.registry.samples import settings_in

type Sum = Literal["none", "right", "wrong"]


@dataclass(frozen=True)
class Part:
    """A part of so many bytes, of which some arrive, and the number of calls before a crash."""

    size: int
    arrive: int
    checksum: Sum
    crash: int | None


@dataclass(frozen=True)
class Head:
    crash: int | None


@dataclass(frozen=True)
class Misplaced:
    by: int


@dataclass(frozen=True)
class Expire:
    pass


type Step = Part | Head | Misplaced | Expire

CRASHES = st.none() | st.integers(0, 12)
CHECKSUMS = st.sampled_from(("none", "none", "right", "wrong"))
STEPS = st.one_of(
    st.builds(Part, st.integers(0, 24), st.integers(0, 24), CHECKSUMS, CRASHES),
    st.builds(Head, CRASHES),
    st.builds(Misplaced, st.integers(1, 5)),
    st.just(Expire()),
)


def path_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - no path


@dataclass
class Device:
    """The `os` of a process that dies at a certain call, and does nothing after that."""

    left: int | None = None
    crashed: bool = False
    unflushed: dict[str, list[tuple[int, int]]] = field(default_factory=dict[str, list[tuple[int, int]]])

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of a module
        return getattr(os, name)

    def begin(self, left: int | None) -> None:
        self.left, self.crashed = left, False

    def _call(self) -> None:
        if self.left == 0 and not self.crashed:
            self.crashed = True
            for path, ranges in self.unflushed.items():
                with suppress(FileNotFoundError), open(path, "r+b") as file:  # noqa: PTH123 - as the module itself
                    for position, length in ranges:
                        os.pwrite(file.fileno(), bytes(length), position)
            self.unflushed.clear()
        if self.crashed:
            raise OSError(errno.EIO, "the process is dead")
        if self.left is not None:
            self.left -= 1

    def pwrite(self, fd: int, data: memoryview, position: int) -> int:
        if self.left == 0 and not self.crashed:
            half = os.pwrite(fd, data[: len(data) // 2], position)
            self.unflushed.setdefault(path_of(fd), []).append((position, half))
        self._call()
        written = os.pwrite(fd, data, position)
        self.unflushed.setdefault(path_of(fd), []).append((position, written))
        return written

    def fsync(self, fd: int) -> None:
        self._call()
        self.unflushed.pop(path_of(fd), None)

    def ftruncate(self, fd: int, length: int) -> None:
        self._call()
        os.ftruncate(fd, length)

    def rename(self, old: str, new: str) -> None:
        self._call()
        os.rename(old, new)  # noqa: PTH104 - the call that is counted

    def unlink(self, path: str) -> None:
        self._call()
        os.unlink(path)  # noqa: PTH108 - the call that is counted


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@example(
    length=20, is_deferred=False, steps=[Part(10, 10, "none", None), Part(10, 10, "none", 0)]
)  # the second one dies
@example(
    length=6, is_deferred=False, steps=[Part(6, 6, "right", 4), Head(1), Head(None)]
)  # between the commit and its state
@given(length=st.integers(0, 48), is_deferred=st.booleans(), steps=st.lists(STEPS, max_size=8))
def test_whatever_happens_the_file_is_what_was_sent_and_nothing_acknowledged_is_lost(
    length: int, is_deferred: bool, steps: list[Step]
) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as root:
        device = Device()
        patch.setattr(upload_files, "os", device)
        patch.setattr(upload_parts, "WRITE_BYTES", 4)
        patch.setattr(upload_parts, "CHECKPOINT_BYTES", 8)
        trio.run(History(Path(root), bytes(range(1, length + 1)), is_deferred, device).run, steps)


@dataclass
class History:
    """The client, and what it knows.

    Attributes:
        known: the offset that was acknowledged last.
        may_have: the most bytes that the service can have.
    """

    root: Path
    content: bytes
    is_deferred: bool
    device: Device
    known: int = 0
    may_have: int = 0
    target: str = ""

    async def run(self, steps: list[Step]) -> None:
        store = settings_in(self.root / "store")
        async with serving(store) as service:
            api = await described(service)
            await service.registry.create_package("a-1")
            self.tus = Uploader(api, "all")
            self.files = UploadFiles(store.storage_local_root)
            await self._begin()
            for step in steps:
                await self._do(step)
            self.device.begin(None)
            offset = await self._head()
            if offset < len(self.content) or not await self._is_complete():
                answer = await self.tus.send(self.target, offset, self.content[offset:], *self._length())
                assert (answer.status, answer.headers["upload-offset"]) == (204, str(len(self.content))), answer
            assert await self._is_complete()
            async with service.registry.get_file("a-1", "big.bin") as chunks:
                assert b"".join([chunk async for chunk in chunks]) == self.content
            self.files.sweep(now_us() + 2 * RESUMABLE_LIMITS.kept_us)
            assert list(store.storage_local_root.glob("uploads/*/*")) == []

    def _length(self) -> tuple[tuple[str, str], ...]:
        return (("Upload-Length", str(len(self.content))),)

    async def _begin(self) -> None:
        length = None if self.is_deferred else len(self.content)
        # The file of an earlier upload can be there, if its answer was lost.
        answer = await self.tus.create(length=length, replace="true")
        assert answer.status == 201, answer
        self.target, self.known, self.may_have = answer.headers["location"], 0, 0

    async def _is_complete(self) -> bool:
        return bool((await self.tus.ask("GET", self.target)).json["file"])

    async def _head(self) -> int:
        """The offset that the service tells, which is between what it acknowledged and what it can have."""
        offset = await self.tus.offset(self.target)
        assert self.known <= offset <= self.may_have, (self.known, offset, self.may_have)
        if offset == len(self.content) and not self.is_deferred:
            assert await self._is_complete(), "clients take this for success"
        self.known = self.may_have = offset
        return offset

    async def _do(self, step: Step) -> None:
        match step:
            case Part():
                self.device.begin(None)
                offset = await self._head()
                if not await self._is_complete():
                    await self._send(offset, step)
            case Head(crash):
                self.device.begin(crash)
                answer = await self.tus.ask("HEAD", self.target)
                assert answer.status == 200 or self.device.crashed, answer
            case Misplaced(by):
                self.device.begin(None)
                answer = await self.tus.send(self.target, await self._head() + by, b"")
                assert answer.status == 409
            case Expire():
                self.device.begin(None)
                assert self.files.sweep(now_us()) == 0
                self.files.sweep(now_us() + 2 * RESUMABLE_LIMITS.kept_us)
                assert (await self.tus.ask("HEAD", self.target)).status == 404
                await self._begin()

    async def _send(self, offset: int, step: Part) -> None:
        part = self.content[offset : offset + step.size]
        arriving = part[: step.arrive]
        headers = self._length() if self.is_deferred and offset + len(part) == len(self.content) else ()
        if step.checksum != "none":
            digest = hashlib.sha1(part if step.checksum == "right" else part + b"!", usedforsecurity=False).digest()
            headers = (*headers, ("Upload-Checksum", f"sha1 {b64encode(digest).decode()}"))
        self.device.begin(step.crash)
        is_whole = len(arriving) == len(part)
        if is_whole:
            answer = await self.tus.send(self.target, offset, part, *headers)
        else:
            async with self.tus.sending(self.target, offset, len(part), arriving, *headers) as stream:
                await stream.send_eof()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
                answer = await self.tus.rest(stream)
        if not self.device.crashed:
            status = 400 if not is_whole else 460 if step.checksum == "wrong" else 204
            assert answer.status == status, answer
        if answer.status == 204:
            self.known = self.may_have = offset + len(part)
        elif step.checksum == "none":
            self.may_have = offset + len(arriving)
        elif step.checksum == "right" and is_whole:  # all of it, or nothing
            self.device.begin(None)
            self.may_have = offset + len(part)
            assert await self._head() in {offset, offset + len(part)}
        if not self.device.crashed and step.checksum == "none" and not is_whole:
            self.known = self.may_have  # what has arrived is kept
