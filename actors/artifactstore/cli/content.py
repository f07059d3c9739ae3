"""Commands that move content: ingest, get, manifest, export."""

import os
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from artifactstore.cli.destination import deliver, file_of, refuse_terminal
from artifactstore.cli.metadata_options import Ci, From, Meta, MetaFile, Schema, metadata_of
from artifactstore.cli.options import (
    Exclude,
    ExcludeCaches,
    Include,
    Json,
    Key,
    Links,
    MaxFileSize,
    NoFilesCache,
    NoIgnoreFiles,
    Output,
    Package,
    Quiet,
    Retention,
    selection_of,
)
from artifactstore.cli.output import counted, entries_text, progress_bar, say, say_json, size_text
from artifactstore.cli.runner import (
    CONTINUES,
    EXIT_DIFFERENT,
    NonzeroExit,
    check_package,
    invoker,
    on_store,
    on_trio,
)
from artifactstore.cli.targets import say_limits
from artifactstore.json_output import to_json
from artifactstore.refusals import ExportIncomplete
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.metadata import Metadata
from artifactstore_protocols.paths import listed_paths
from artifactstore_protocols.records import ExportReport
from artifactstore_protocols.retention import DEFAULT_RETENTION

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["register"]


class Form(StrEnum):
    """Output format of a manifest."""

    CBOR = "cbor"
    JSON = "json"


def ingest(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A directory. Its files, links and empty directories are stored.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The package's name; the directory's by default.")
    ] = None,
    retention: Retention = DEFAULT_RETENTION,
    meta: Meta = None,
    meta_file: MetaFile = None,
    schema: Schema = None,
    parents: From = None,
    links: Links = LinkPolicy.KEEP,
    exclude: Exclude = None,
    include: Include = None,
    max_file_size: MaxFileSize = None,
    key: Key = None,
    *,
    ci: Ci = False,
    exclude_caches: ExcludeCaches = False,
    no_ignore_files: NoIgnoreFiles = False,
    no_files_cache: NoFilesCache = False,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore ingest`."""
    metadata = metadata_of(meta, meta_file, ci=ci)
    selection = selection_of(
        exclude, include, max_file_size, ignore_files=not no_ignore_files, exclude_caches=exclude_caches
    )
    with progress_bar("ingest") as progress, _name_asked_for(given=name is not None):
        summary = on_store(
            lambda registry: registry.ingest_tree(
                path,
                name=name,
                retention=retention,
                metadata=metadata,
                schema=schema,
                parents=parents or (),
                links=links,
                selection=selection,
                principal=invoker(),
                idempotency_key=key,
                progress=progress,
                files_cache=not no_files_cache,
            ),
            create=not (schema or parents),  # a new store has neither schemas nor packages
            check=lambda: _check_source(path, name, retention, metadata, key),
            interrupted=f"what was stored is kept; {CONTINUES}",
        )
    if json:
        say_json(to_json(summary))
        return
    say(f"package          {summary.package_id}  {summary.name}")
    say(f"manifest digest  {summary.manifest_digest}")
    say(f"tree digest      {summary.tree_digest}")
    say(f"files            {summary.files}, {size_text(summary.bytes)}")
    if summary.links:
        say(f"links            {summary.links}")
    if summary.directories:
        say(f"directories      {summary.directories} empty")
    say(f"deduplicated     {size_text(summary.deduplicated_bytes)}")
    if summary.reused_files:
        say(f"reused           {counted(summary.reused_files, 'file')}, unchanged and not read again")
    if summary.excluded:
        say(f"left out         {listed_paths(summary.excluded)}")
    say(f"sequence         {summary.sequence}")


async def _check_source(path: Path, name: str | None, retention: str, metadata: Metadata, key: str | None) -> None:
    from artifactstore.environment import in_thread  # noqa: PLC0415
    from artifactstore.ingest.scan import directory_at  # noqa: PLC0415 - it loads trio, as do these
    from artifactstore.os_paths import path_text  # noqa: PLC0415

    root, _found = await in_thread(lambda: directory_at(path_text(path)))
    await check_package(name or os.fsdecode(root.rpartition(b"/")[2]), retention, metadata, key)


@contextmanager
def _name_asked_for(*, given: bool) -> Generator[None]:
    """Mention `--name` in the error if a directory's name is not a valid package name."""
    try:
        yield
    except InvalidValue as refusal:
        if given or refusal.what != "package name":
            raise
        reason = f"{refusal.reason}; name the package with --name"
        raise InvalidValue(refusal.what, refusal.value, reason) from refusal


def get(
    package: Package,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The file's path in the package.")],
    output: Output = None,
) -> None:
    """Run `artifactstore get`."""
    target = file_of(output)

    async def work(registry: "Registry") -> None:
        file = await registry.get_file_record(package, path)
        async with registry.get_file(file.package_id, path) as chunks:
            await deliver(chunks, target, executable=file.executable)

    on_store(work)


def manifest(
    package: Package,
    output: Output = None,
    form: Annotated[
        Form, typer.Option("--format", help="cbor is the form that the manifest digest covers.")
    ] = Form.JSON,
) -> None:
    """Run `artifactstore manifest`."""
    wanted: Literal["cbor", "json"] = "cbor" if form is Form.CBOR else "json"
    target = file_of(output)
    if output is None and form is Form.CBOR:
        refuse_terminal("CBOR", "--format")
    payload = on_store(lambda registry: registry.get_manifest_bytes(package, wanted))
    on_trio(lambda: deliver(_whole(payload), target))


async def _whole(payload: bytes) -> AsyncGenerator[bytes]:
    yield payload


def export(
    package: Package,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty directory.")],
    *,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore export`."""
    with progress_bar("export") as progress:

        async def work(registry: "Registry") -> ExportReport:
            try:
                return await registry.export_package(package, directory, progress=progress)
            except ExportIncomplete as incomplete:
                return incomplete.report

        report = on_store(work, interrupted=f"what was written is kept; {CONTINUES}")
    if json:
        say_json(to_json(report))
    else:
        _say_exported(report)
    if report.refused:
        raise NonzeroExit(EXIT_DIFFERENT)


def _say_exported(report: ExportReport) -> None:
    say(f"wrote {entries_text(report)}, {size_text(report.bytes)}, to {report.directory}")
    if report.resumed_files:
        say(f"{report.resumed_files} of them there from an interrupted export")
    say_limits(report.limits)
    if report.wrong_executable_bits:
        say(f"not kept: the executable bit of {counted(report.wrong_executable_bits, 'file')}")
    if report.refused:
        say(f"not written: {counted(len(report.refused), 'path')}")
        for each in report.refused:
            say(f"  {each.path}: {each.reason}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (ingest, get, manifest, export):
        app.command()(command)
