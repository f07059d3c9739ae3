"""What `ingest` and `package add` read: paths, and `-` for stdin."""

import os
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from artifactstore.cli.output import note
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.records import FileRecord, PreviewedEntry
from artifactstore_protocols.sources import Source, SourceTree

__all__ = [
    "STDIN",
    "Prefix",
    "SkipUnreadable",
    "StdinName",
    "StripComponents",
    "Unpack",
    "check_one_stdin",
    "read_stdin",
    "sources_of",
    "stdin_paths",
    "warn_of_empty_stdin",
    "warn_of_no_bytes",
    "warn_of_nothing",
]

_STDIN = 0
_READ_BYTES = 1 << 20
STDIN = Path("-")


def _without_last_slash(prefix: str) -> str:
    return prefix if prefix == "/" else prefix.removesuffix("/")


Prefix = Annotated[
    str,
    typer.Option(
        "--prefix", metavar="DIR", callback=_without_last_slash, help="Put everything below this path of the package."
    ),
]
StripComponents = Annotated[
    int,
    typer.Option(
        "--strip-components", metavar="N", min=0, help="Remove the first N names of each path, as of an archive's top."
    ),
]
StdinName = Annotated[
    str | None, typer.Option("--stdin-name", metavar="NAME", help="The name of the file that PATH - reads from stdin.")
]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave out what cannot be read, and name it in the output.")
]

Unpack = Annotated[
    bool,
    typer.Option(
        "--unpack",
        help="Store what tar and zip archives contain, instead of the files. Also packed by gzip, bzip2, xz.",
    ),
]


def sources_of(paths: Sequence[Path], stdin_name: str | None, *, unpack: bool) -> list[Source]:
    """Return the sources that a command line names.

    Raises:
        typer.BadParameter: stdin has no name, is a terminal, or is given twice; or it has a name and is not given.
    """
    from artifactstore.os_paths import path_text  # noqa: PLC0415 - it loads msgspec, which `--help` does not need

    dashes = paths.count(STDIN)
    if dashes > 1:
        raise typer.BadParameter("stdin can be read only once; give - once", param_hint="PATH")
    if not dashes and stdin_name is not None:
        raise typer.BadParameter("it is for stdin; give - as a PATH too", param_hint="--stdin-name")
    if dashes and stdin_name is None and not unpack:
        raise typer.BadParameter("- reads stdin; give --stdin-name, or --unpack for an archive", param_hint="PATH")
    if dashes and sys.stdin.isatty():
        raise typer.BadParameter("stdin is a terminal; pipe something into the command", param_hint="PATH")
    return [
        Source("-" if stdin_name is None else stdin_name, _STDIN, unpack)
        if path == STDIN
        else Source(path_text(path), None, unpack)
        for path in paths
    ]


def check_one_stdin(paths: Sequence[Path], others: Sequence[Path] | None) -> None:
    """Refuse to read stdin as a source and as a file with rules.

    Raises:
        typer.BadParameter: both are `-`.
    """
    if (paths.count(STDIN) + list(others or ()).count(STDIN)) > 1:
        raise typer.BadParameter("stdin can be read only once; give - once", param_hint="PATH")


def warn_of_nothing(files: int, left_out: Sequence[str]) -> None:
    """Tell on stderr if sources have no file, as those of a mistyped path or of too many rules do."""
    if not files:
        note("warning: the sources have no file" + (" that is not left out" if left_out else ""))


def stdin_paths(tree: SourceTree) -> list[str]:
    """Return the path in the package that stdin gets; none if stdin is no source, or is unpacked."""
    prefix = f"{tree.prefix}/" if tree.prefix else ""
    piped = [each.path.split("/") for each in tree.sources if each.descriptor == _STDIN and not each.unpack]
    return [prefix + "/".join(names[tree.strip_components :]) for names in piped]


def warn_of_empty_stdin(tree: SourceTree, entries: Sequence[FileRecord | PreviewedEntry]) -> None:
    """Tell on stderr if stdin was empty: the command that should have written it may have failed."""
    paths = {path_key(path) for path in stdin_paths(tree)}
    if any(path_key(entry.path) in paths and not entry.size_bytes for entry in entries):
        warn_of_no_bytes()


def warn_of_no_bytes() -> None:
    """Tell on stderr that stdin was empty."""
    note("warning: stdin was empty; if the command before the pipe failed, `set -o pipefail` makes the line fail")


async def read_stdin() -> AsyncGenerator[bytes]:
    """Yield what stdin has, in pieces."""
    import trio  # noqa: PLC0415 - as above

    # An abandoned thread takes nothing away from anybody: the command ends.
    while chunk := await trio.to_thread.run_sync(os.read, _STDIN, _READ_BYTES, abandon_on_cancel=True):
        yield chunk
