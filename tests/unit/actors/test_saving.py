"""What is saved is there whole or not at all, with the permissions that the user's umask leaves."""

import os
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from artifactstore.errors import TargetRefused
from artifactstore.saving import save


async def _chunks(*chunks: bytes) -> AsyncGenerator[bytes]:
    for chunk in chunks:
        yield chunk


async def _broken() -> AsyncGenerator[bytes]:
    yield b"half"
    raise ConnectionResetError


def _below(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_a_file_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    await save(_chunks(b"first"), target, executable=False)
    await save(_chunks(b"sec", b"ond"), target, executable=True)
    assert target.read_bytes() == b"second"
    assert not target.stat().st_mode & stat.S_IXUSR, "a file that is replaced keeps its mode"
    assert _below(target.parent) == ["file"]


async def test_a_stream_that_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"before")
    with pytest.raises(ConnectionResetError):  # the stream's own error, not one of the target
        await save(_broken(), target, executable=False)
    assert target.read_bytes() == b"before"
    assert _below(tmp_path) == ["file"]


async def test_what_is_no_file_is_written_into(tmp_path: Path) -> None:
    """Such as a pipe: a reader on its other end gets the bytes."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        await save(_chunks(b"into the pipe"), pipe, executable=False)
        assert os.read(reader, 100) == b"into the pipe"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(TargetRefused):
            await save(_chunks(b"x"), target, executable=False)
