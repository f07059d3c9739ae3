"""The command `export`: a package, or a part of it, to a directory or as one tar or zip file."""

import re
import shlex
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from artifactstore.cli.dash import DashText, check_directory
from artifactstore.cli.destination import deliver, file_of, refuse_terminal
from artifactstore.cli.line_files import lines_in
from artifactstore.cli.options import Json, Progress, Quiet, complete_packages
from artifactstore.cli.output import counted, entries_text, note, progress_bar, say, say_json, size_text
from artifactstore.cli.remote import AnyRegistry
from artifactstore.cli.runner import CONTINUES, EXIT_DIFFERENT, NonzeroExit, on_either
from artifactstore.cli.targets import say_limits
from artifactstore.json_output import to_json
from artifactstore.refusals import ExportIncomplete
from artifactstore_protocols.export_choice import ExportChoice, choose_entries
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.package_subtrees import split_subtree
from artifactstore_protocols.paths import listed_paths
from artifactstore_protocols.records import ExportReport, RefusedFile

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["export"]

_COMPRESSED: Final = re.compile(r"\.(?:tar\.[a-z0-9]+|tgz|tbz2?|txz|tzst)\Z")


class ArchiveFormat(StrEnum):
    """The form of one file with a package."""

    TAR = "tar"
    ZIP = "zip"


def export(
    package: Annotated[
        str,
        typer.Argument(
            metavar="PACKAGE[:SUBTREE]",
            help="A package, in any form that names one; and a directory, a file or a link in it.",
            autocompletion=complete_packages,
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A new or an empty directory. FILE.tar or FILE.zip is one archive; with --format, also - for stdout.",
            path_type=DashText,
        ),
    ],
    form: Annotated[
        ArchiveFormat | None, typer.Option("--format", help="Write one archive, the same bytes every time.")
    ] = None,
    files_from: Annotated[
        Path | None,
        typer.Option(
            "--files-from",
            metavar="FILE",
            path_type=DashText,
            help="Take only these files and directories, a path a line; - is stdin.",
        ),
    ] = None,
    strip_components: Annotated[
        int, typer.Option("--strip-components", metavar="N", min=0, help="Remove the first N names of each path.")
    ] = 0,
    links: Annotated[
        LinkPolicy,
        typer.Option(
            "--links",
            help="How to treat symbolic links: kept as links (refused if they lead out of what is exported), followed, "
            "refused, or left out.",
        ),
    ] = LinkPolicy.KEEP,
    *,
    update: Annotated[
        bool, typer.Option("--update", help="DIR may hold anything: write what differs, keep what is not in PACKAGE.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Leave out damaged files and links that lead out, and list them.")
    ] = False,
    json: Json = False,
    _quiet: Quiet = False,
    _progress: Progress = "auto",
) -> None:
    """Run `artifactstore export`."""
    named = _form_of(target)
    form = form or named
    if form is None:
        check_directory(target, "a directory", "DIR", instead="add --format tar or --format zip, or ")
    if form is not None and (update or keep_going):
        option = "--update" if update else "--keep-going"
        raise typer.BadParameter("it is for a directory; an archive is whole or not written", param_hint=option)
    text, subtree = split_subtree(package)
    paths = None if files_from is None else lines_in(files_from, "--files-from")
    choice = ExportChoice(subtree, paths, strip_components, links)
    if form is None:
        _to_directory(text, target, choice, update=update, keep_going=keep_going, json=json)
    else:
        _to_archive(text, target, choice, form, json=json)


def _form_of(target: Path) -> ArchiveFormat | None:
    """Return the form that the name of a target has; None for a directory.

    Raises:
        typer.BadParameter: it is that of a compressed tar file.
    """
    name = target.name.lower()
    if target.is_dir():
        return None
    if _COMPRESSED.search(name) is not None:
        advice = f"`artifactstore export PACKAGE - --format tar | gzip > {shlex.quote(str(target))}`"
        raise typer.BadParameter(f"a tar file is written without compression; pipe it: {advice}", param_hint="DIR")
    return next((form for form in ArchiveFormat if name.endswith(f".{form.value}")), None)


def _to_directory(
    package: str, directory: Path, choice: ExportChoice, *, update: bool, keep_going: bool, json: bool
) -> None:
    with progress_bar("export") as progress:

        async def work(registry: AnyRegistry) -> ExportReport:
            try:
                return await registry.export_package(
                    package,
                    directory,
                    subtree=choice.subtree,
                    paths=choice.paths,
                    strip_components=choice.strip_components,
                    links=choice.links,
                    update=update,
                    keep_going=keep_going,
                    progress=progress,
                )
            except ExportIncomplete as incomplete:
                return incomplete.report

        report = on_either(work, interrupted=f"what was written is kept; {CONTINUES}")
    if json:
        say_json(to_json(report))
    else:
        _say_exported(report)
    if not report.complete:
        raise NonzeroExit(EXIT_DIFFERENT)


def _say_exported(report: ExportReport) -> None:
    say(f"wrote {entries_text(report)}, {size_text(report.bytes)}, to {report.directory}")
    if report.unchanged or report.replaced:
        say(f"{report.unchanged} of them unchanged, {report.replaced} replaced, {report.new} new")
    if report.others:
        say(f"not in the package, and kept: {listed_paths(report.others)}")
    if report.vanished:
        say(_vanished_text(report.vanished))
    say_limits(report.limits)
    if report.wrong_executable_bits:
        say(f"not kept: the executable bit of {counted(report.wrong_executable_bits, 'file')}")
    if report.left_out:
        say(f"left out, since they lead out: {listed_paths(report.left_out)}")
    _say_paths("damaged or missing", "file", report.unreadable)
    _say_paths("not written", "path", report.refused)


def _say_paths(what: str, thing: str, paths: "Sequence[RefusedFile]") -> None:
    if paths:
        say(f"{what}: {counted(len(paths), thing)}")
    for each in paths:
        say(f"  {each.path}: {each.reason}")


def _vanished_text(paths: "Sequence[str]") -> str:
    return f"not written, since no name is left: {counted(len(paths), 'path')}: {listed_paths(paths)}"


def _to_archive(package: str, target: Path, choice: ExportChoice, form: ArchiveFormat, *, json: bool) -> None:
    file = file_of(target)
    if file is None:
        if json:
            raise typer.BadParameter("the archive itself is on stdout; name a file", param_hint="--json")
        refuse_terminal("an archive", "DIR")
    written = 0

    async def counting(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        nonlocal written
        async for chunk in chunks:
            written += len(chunk)
            yield chunk

    with progress_bar("export") as progress:

        async def work(registry: AnyRegistry) -> tuple[str, ...]:
            record = await registry.get_package(package)
            streaming = registry.export_archive(
                record.package_id,
                form.value,
                subtree=choice.subtree,
                paths=choice.paths,
                strip_components=choice.strip_components,
                links=choice.links,
                progress=progress,
            )
            async with streaming as chunks, aclosing(counting(chunks)) as counted_chunks:
                await deliver(counted_chunks, file)
            if not choice.strip_components:
                return ()
            entries = await registry.list_files(record.package_id)
            return choose_entries(record.package_id, entries, choice).vanished

        vanished = on_either(work, interrupted="the archive is not complete; run the same command again")
    if vanished:
        note(_vanished_text(vanished))
    if json:
        say_json({"file": str(target), "format": form.value, "bytes": written, "vanished": vanished})
    elif file is not None:
        say(f"wrote {target}, {size_text(written)}")
