"""Files with one value a line, which options such as `--files-from` and `--exclude-from` read."""

import sys
from pathlib import Path
from typing import BinaryIO, Final

import typer

from artifactstore.cli.dash import DASH
from artifactstore.cli.output import size_text

__all__ = ["lines_in", "text_in"]

_LIST_BYTES_MAX: Final = 64 << 20
"""Maximum length of a file."""


def lines_in(file: Path, option: str) -> tuple[str, ...]:
    """Return the lines of a file that are not empty; `-` is stdin.

    Raises:
        typer.BadParameter: as `text_in`.
    """
    lines = (line.removesuffix("\r") for line in text_in(file, option).split("\n"))
    return tuple(line for line in lines if line)


def text_in(file: Path, option: str) -> str:
    """Return the text of a file; `-` is stdin.

    Raises:
        typer.BadParameter: the file cannot be read, is too large or is not UTF-8.
    """
    try:
        if file == DASH:
            return _read(sys.stdin.buffer, option)
        with file.open("rb") as opened:
            return _read(opened, option)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror or error}", param_hint=option) from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file}: it is not UTF-8", param_hint=option) from error


def _read(stream: BinaryIO, option: str) -> str:
    content = stream.read(_LIST_BYTES_MAX + 1)
    if len(content) > _LIST_BYTES_MAX:
        raise typer.BadParameter(f"a list has at most {size_text(_LIST_BYTES_MAX)}", param_hint=option)
    return content.decode()
