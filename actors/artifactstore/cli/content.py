"""Commands that move content: ingest, get, manifest. `exporting` has export."""

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from artifactstore.cli.dash import DashText
from artifactstore.cli.destination import deliver, file_of, refuse_terminal
from artifactstore.cli.dry_run import preview_ingest
from artifactstore.cli.exporting import export
from artifactstore.cli.metadata_options import Ci, From, Meta, MetaFile, Schema, metadata_of, metadata_text
from artifactstore.cli.options import (
    Exclude,
    ExcludeCaches,
    ExcludeFrom,
    Include,
    Json,
    Key,
    Links,
    MaxFileSize,
    NoFilesCache,
    NoIgnoreFiles,
    Output,
    Package,
    Progress,
    Quiet,
    Retention,
    check_no_subtree,
    complete_paths,
    selection_of,
)
from artifactstore.cli.output import counted, entries_text, progress_bar, say, say_json, say_paths, size_text
from artifactstore.cli.remote import AnyRegistry
from artifactstore.cli.runner import CONTINUES, check_package, class_named, invoker, on_either, on_store, on_trio
from artifactstore.cli.sources import (
    Prefix,
    SkipUnreadable,
    StdinName,
    StripComponents,
    Unpack,
    check_one_stdin,
    sources_of,
    stdin_paths,
    warn_of_empty_stdin,
    warn_of_nothing,
)
from artifactstore.json_output import to_json
from artifactstore.refusals import FileNotInPackage
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.metadata import Metadata
from artifactstore_protocols.records import IngestPreview, IngestSummary
from artifactstore_protocols.retention import DEFAULT_RETENTION, RETENTION_CLASSES
from artifactstore_protocols.sources import Source, SourceTree

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["register"]


class Form(StrEnum):
    """Output format of a manifest."""

    CBOR = "cbor"
    JSON = "json"


def ingest(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            path_type=DashText,
            help="A directory: its files, links and empty directories are stored. A file. - is stdin. Of several, each "
            "directory keeps its name in the package.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The package's name; the source's by default.")
    ] = None,
    prefix: Prefix = "",
    strip_components: StripComponents = 0,
    stdin_name: StdinName = None,
    retention: Retention = DEFAULT_RETENTION,
    meta: Meta = None,
    meta_file: MetaFile = None,
    schema: Schema = None,
    parents: From = None,
    links: Links = LinkPolicy.KEEP,
    exclude: Exclude = None,
    exclude_from: ExcludeFrom = None,
    include: Include = None,
    max_file_size: MaxFileSize = None,
    key: Key = None,
    *,
    unpack: Unpack = False,
    ci: Ci = False,
    exclude_caches: ExcludeCaches = False,
    no_ignore_files: NoIgnoreFiles = False,
    skip_unreadable: SkipUnreadable = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Store nothing; print how much would be stored.")] = False,
    list_entries: Annotated[
        bool, typer.Option("--list", help="With --dry-run: also print every entry, and all that would be left out.")
    ] = False,
    no_files_cache: NoFilesCache = False,
    json: Json = False,
    _quiet: Quiet = False,
    _progress: Progress = "auto",
) -> None:
    """Run `artifactstore ingest`."""
    if list_entries and not dry_run:
        raise typer.BadParameter("it is for --dry-run", param_hint="--list")
    metadata = metadata_of(meta, meta_file, ci=ci)
    check_one_stdin(paths, exclude_from)
    selection = selection_of(
        exclude,
        include,
        max_file_size,
        exclude_from,
        ignore_files=not no_ignore_files,
        exclude_caches=exclude_caches,
    )
    sources = sources_of(paths, stdin_name, unpack=unpack)
    tree = SourceTree(tuple(sources), prefix, links, selection, skip_unreadable, strip_components)
    if name is None and len(sources) > 1 and not dry_run:
        raise typer.BadParameter("several sources have no name in common; name the package with --name")
    if dry_run:
        with _name_asked_for(given=name is not None):
            found = preview_ingest(tree, name, retention, metadata, schema, parents or (), key)
        warn_of_empty_stdin(tree, found.entries)
        _say_preview(found, list_entries=list_entries, json=json)
        return
    with progress_bar("ingest") as progress, _name_asked_for(given=name is not None), class_named(retention):

        async def work(registry: "Registry") -> IngestSummary:
            summary = await registry.ingest_tree(
                sources,
                name=name,
                prefix=prefix,
                strip_components=strip_components,
                retention=retention,
                metadata=metadata,
                schema=schema,
                parents=parents or (),
                links=links,
                selection=selection,
                skip_unreadable=skip_unreadable,
                principal=invoker(),
                idempotency_key=key,
                progress=progress,
                files_cache=not no_files_cache,
            )
            for path in stdin_paths(tree):
                with suppress(FileNotInPackage):  # a rule leaves it out
                    warn_of_empty_stdin(tree, (await registry.get_file_record(summary.package_id, path),))
            return summary

        summary = on_store(
            work,
            create=not (schema or parents) and retention in RETENTION_CLASSES,  # a new store has nothing else
            check=lambda: _check_sources(sources, name, retention, metadata, key),
            interrupted=f"what was stored is kept; {CONTINUES}",
        )
    warn_of_nothing(summary.files, (*summary.excluded, *summary.unreadable))
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
    if metadata:
        say(f"metadata         {metadata_text(metadata)}")
    if summary.continued_files:
        say(f"continued        {counted(summary.continued_files, 'file')}, stored by an interrupted ingest")
    say(f"sequence         {summary.sequence}")
    say_paths("left out         ", summary.excluded)
    say_paths("not readable     ", summary.unreadable)


async def _check_sources(
    sources: Sequence[Source], name: str | None, retention: str, metadata: Metadata, key: str | None
) -> None:
    from artifactstore.environment import in_thread  # noqa: PLC0415
    from artifactstore.ingest.sources import check_sources, default_name  # noqa: PLC0415 - they load trio, as above

    await in_thread(lambda: check_sources(sources))
    if name is None:
        name = await in_thread(lambda: default_name(sources))
    await check_package(name, retention, metadata, key)


def _say_preview(found: IngestPreview, *, list_entries: bool, json: bool) -> None:
    warn_of_nothing(found.files, (*found.excluded, *found.unreadable))
    if json:
        say_json(to_json(found))
        return
    for entry in found.entries if list_entries else ():
        size = size_text(entry.size_bytes) if entry.kind == "file" else entry.kind
        say(f"{size:>12}  {entry.path}")
    say(f"would store {entries_text(found)}, {size_text(found.bytes)}")
    for label, paths in (("would leave out ", found.excluded), ("could not read ", found.unreadable)):
        if list_entries:
            say_paths(label, paths, shown_max=None)
        else:
            say_paths(label, paths)


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
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH", help="The file's path in the package. Links are followed.", autocompletion=complete_paths
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Run `artifactstore get`."""
    check_no_subtree(package, "get")
    if path is None:
        raise typer.BadParameter("name a file of the package; `artifactstore tree` lists them", param_hint="PATH")
    target = file_of(output)

    async def work(registry: AnyRegistry) -> None:
        file = await registry.get_file_record(package, path, follow_links=True)
        async with registry.get_file(file.package_id, file.path) as chunks:
            await deliver(chunks, target, executable=file.executable)

    on_either(work)


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
    payload = on_either(lambda registry: registry.get_manifest_bytes(package, wanted))
    on_trio(lambda: deliver(_whole(payload), target))


async def _whole(payload: bytes) -> AsyncGenerator[bytes]:
    yield payload


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (ingest, get, manifest, export):
        app.command()(command)
