"""Commands that build and show packages step by step: package create, add, finalize, show."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.cli.annotations import annotate
from artifactstore.cli.copying import copy
from artifactstore.cli.dash import DashText
from artifactstore.cli.deleting import delete
from artifactstore.cli.finding import list_packages
from artifactstore.cli.metadata_options import Ci, From, Meta, MetaFile, Schema, metadata_of
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
    OpenPackage,
    Package,
    Progress,
    Quiet,
    Retention,
    selection_of,
)
from artifactstore.cli.output import (
    counted,
    entries_text,
    progress_bar,
    say,
    say_json,
    say_paths,
    size_text,
)
from artifactstore.cli.package_text import package_fields
from artifactstore.cli.remote import AnyRegistry
from artifactstore.cli.runner import CONTINUES, MAY_BE_DONE, check_package, class_named, invoker, on_either, on_store
from artifactstore.cli.sources import (
    STDIN,
    Prefix,
    SkipUnreadable,
    StripComponents,
    Unpack,
    check_one_stdin,
    read_stdin,
    sources_of,
    warn_of_no_bytes,
    warn_of_nothing,
)
from artifactstore.json_output import to_json
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.records import DirectoryIngest, FileRecord, PackageRecord
from artifactstore_protocols.retention import DEFAULT_RETENTION, RETENTION_CLASSES

if TYPE_CHECKING:
    from artifactstore.json_output import Json as JsonValue
    from artifactstore.registry import Registry

__all__ = ["register"]


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A label; several packages may share one.")],
    retention: Retention = DEFAULT_RETENTION,
    meta: Meta = None,
    meta_file: MetaFile = None,
    schema: Schema = None,
    parents: From = None,
    key: Key = None,
    *,
    ci: Ci = False,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore package create`."""
    metadata = metadata_of(meta, meta_file, ci=ci)
    with class_named(retention):
        record = on_store(
            lambda registry: registry.create_package(
                name,
                retention=retention,
                metadata=metadata,
                schema=schema,
                parents=parents or (),
                principal=invoker(),
                idempotency_key=key,
            ),
            create=not (schema or parents) and retention in RETENTION_CLASSES,  # a new store has nothing else
            check=lambda: check_package(name, retention, metadata, key),
            interrupted=MAY_BE_DONE,
        )
    if json:
        say_json(to_json(record))
    else:
        say(record.package_id)


def add(
    package: OpenPackage,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            path_type=DashText,
            help="A directory with everything in it, or a file. - is stdin. Of several, each directory keeps its name.",
        ),
    ],
    as_path: Annotated[
        str | None,
        typer.Option("--as", metavar="PATH", help="A single file's path in the package. Default: its name."),
    ] = None,
    prefix: Prefix = "",
    strip_components: StripComponents = 0,
    key: Key = None,
    links: Links = LinkPolicy.KEEP,
    exclude: Exclude = None,
    exclude_from: ExcludeFrom = None,
    include: Include = None,
    max_file_size: MaxFileSize = None,
    *,
    unpack: Unpack = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace entries that have the same path.")] = False,
    exclude_caches: ExcludeCaches = False,
    no_ignore_files: NoIgnoreFiles = False,
    skip_unreadable: SkipUnreadable = False,
    no_files_cache: NoFilesCache = False,
    json: Json = False,
    _quiet: Quiet = False,
    _progress: Progress = "auto",
) -> None:
    """Run `artifactstore package add`."""
    single = len(paths) == 1 and not unpack and (paths[0] == STDIN or not paths[0].is_dir())
    if not single and (as_path is not None or key is not None):
        raise typer.BadParameter("--as and --idempotency-key are for a single file")
    if single and (exclude or exclude_from or include or max_file_size or exclude_caches or skip_unreadable):
        raise typer.BadParameter(
            "--exclude, --exclude-from, --include, --max-file-size, --exclude-caches and --skip-unreadable are for "
            "directories"
        )
    if single and strip_components:
        raise typer.BadParameter("it is for directories and archives", param_hint="--strip-components")
    if as_path is not None and prefix:
        raise typer.BadParameter("--as is the whole path; leave --prefix out")
    check_one_stdin(paths, exclude_from)
    selection = selection_of(
        exclude,
        include,
        max_file_size,
        exclude_from,
        ignore_files=not no_ignore_files,
        exclude_caches=exclude_caches,
    )
    if paths == [STDIN] and as_path is None and not unpack:
        raise typer.BadParameter("- reads stdin, which has no name; name the file with --as", param_hint="PATH")
    sources = sources_of(paths, as_path if paths == [STDIN] else None, unpack=unpack)
    with progress_bar("package add") as progress:

        async def work(registry: "Registry") -> DirectoryIngest | FileRecord:
            if not single:
                return await registry.ingest_directory(
                    package,
                    sources,
                    prefix=prefix,
                    strip_components=strip_components,
                    replace=replace,
                    links=links,
                    selection=selection,
                    skip_unreadable=skip_unreadable,
                    principal=invoker(),
                    progress=progress,
                    files_cache=not no_files_cache,
                )
            [path] = paths
            return await registry.ingest_file(
                package,
                as_path if as_path is not None else f"{prefix}/{path.name}" if prefix else path.name,
                read_stdin() if path == STDIN else path,
                replace=replace,
                principal=invoker(),
                idempotency_key=key,
            )

        added = on_store(work, interrupted=MAY_BE_DONE if single else f"what was stored is kept; {CONTINUES}")
    if isinstance(added, DirectoryIngest):
        warn_of_nothing(added.files, (*added.excluded, *added.unreadable))
    elif paths == [STDIN] and not added.size_bytes:
        warn_of_no_bytes()
    if json:
        say_json(to_json(added))
    elif isinstance(added, FileRecord):
        say(f"{added.path}  {size_text(added.size_bytes)}  {added.content_address}")
    else:
        said = (
            f"{entries_text(added)}, {size_text(added.bytes)}; {counted(added.unchanged_files, 'file')} there already"
        )
        say(said + (f", {added.reused_files} not read again" if added.reused_files else ""))
        say_paths("left out ", added.excluded)
        say_paths("not readable ", added.unreadable)


def finalize(package: OpenPackage, *, json: Json = False, _quiet: Quiet = False) -> None:
    """Run `artifactstore package finalize`."""
    finalized = on_store(
        lambda registry: registry.finalize_package(package, principal=invoker()), interrupted=MAY_BE_DONE
    )
    if json:
        say_json(to_json(finalized))
    else:
        say(f"{finalized.package_id}  {finalized.manifest_digest}")


def show(package: Package, *, json: Json = False) -> None:
    """Run `artifactstore package show`."""

    async def work(registry: AnyRegistry) -> tuple[PackageRecord, Sequence[FileRecord]]:
        record = await registry.get_package(package)
        return record, () if record.is_gone else await registry.list_files(record.package_id)

    record, entries = on_either(work)
    shown = cast("Mapping[str, JsonValue]", to_json(record))
    if json:
        say_json({**shown, "file_list": to_json(entries)})
        return
    for name, text in package_fields(record, shown, time.time_ns() // 1000):
        say(f"{name:18} {text}")
    for entry in entries:
        say(_entry_text(entry))


def _entry_text(entry: FileRecord) -> str:
    match entry.kind:
        case "file":
            mark = "x" if entry.executable else "-"
            return f"{mark} {entry.size_bytes:>12}  {entry.media_type:32}  {entry.content_address}  {entry.path}"
        case "link":
            return f"l {'':>12}  {'symbolic link':32}  {entry.path} -> {entry.target}"
        case "directory":
            return f"d {'':>12}  {'empty directory':32}  {entry.path}"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Create, fill, finalize and show packages.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (
        ("create", create),
        ("add", add),
        ("finalize", finalize),
        ("annotate", annotate),
        ("list", list_packages),
        ("show", show),
        ("copy", copy),
        ("delete", delete),
    ):
        group.command(name)(command)
    app.add_typer(group, name="package")
