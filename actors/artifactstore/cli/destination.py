"""Targets of `-o FILE` and similar options: a file or stdout."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import typer

from artifactstore.cli.output import write_bytes
from artifactstore.descriptors import descriptor_named
from artifactstore.refusals import TargetRefused

__all__ = ["deliver", "file_of", "refuse_terminal"]

_STDOUT = 1
_DASH = Path("-")


def file_of(output: Path | None) -> Path | None:
    """Return the target file; None for stdout, which `-` and `/dev/stdout` also name.

    Call it before the store is opened, so that a path such as `/dev/fd/3` cannot name a file of the store.

    Raises:
        TargetRefused: the path names a descriptor that is not open.
    """
    if output is None or output == _DASH:
        return None
    descriptor = descriptor_named(output)
    if descriptor is not None:
        try:
            os.fstat(descriptor)
        except OSError as error:
            raise TargetRefused(str(output), "this descriptor is not open") from error
    return None if descriptor == _STDOUT else output


def refuse_terminal(what: str, param_hint: str) -> None:
    """Refuse to write binary data to a terminal.

    Raises:
        typer.BadParameter: stdout is a terminal.
    """
    if sys.stdout.isatty():
        raise typer.BadParameter(
            f"{what} is not for a terminal; name a file, or redirect stdout", param_hint=param_hint
        )


async def deliver(chunks: AsyncIterator[bytes], file: Path | None, *, executable: bool = False) -> None:
    """Write a stream to the target that `file_of` returned.

    Raises:
        TargetRefused: the file cannot be written.
        OutputLost: stdout cannot be written.
    """
    if file is not None:
        from artifactstore.saving import save  # noqa: PLC0415 - it loads trio, which other commands do not need

        await save(chunks, file, executable=executable)
        return
    async for chunk in chunks:
        await write_bytes(chunk)
