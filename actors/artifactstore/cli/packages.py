"""Commands for packages step by step: package create, add, finalize, list, show."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.options import Json, Key, Meta, Package, Quiet, Retention, metadata_of
from artifactstore.cli.output import left_out_text, progress_bar, say, say_json, size_text
from artifactstore.cli.runner import invoker, on_store, resume_directory
from artifactstore.facts import facts
from artifactstore_protocols.records import DirectoryIngest, FileRecord
from artifactstore_protocols.retention import DEFAULT_RETENTION

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["register"]


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A label; several packages may share one.")],
    retention: Retention = DEFAULT_RETENTION,
    meta: Meta = None,
    key: Key = None,
    *,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Open a package."""
    metadata = metadata_of(meta)
    record = on_store(
        lambda registry: registry.create_package(
            name, retention=retention, metadata=metadata, actor=invoker(), idempotency_key=key
        ),
        create=True,
    )
    if json:
        say_json(facts(record))
    else:
        say(f"{record.package_id}  {record.name}  {record.status}")


def add(
    package: Package,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file, or a directory for all that is in it.")],
    as_path: Annotated[
        str | None, typer.Option("--as", metavar="PATH", help="Where a single file goes; its name by default.")
    ] = None,
    key: Key = None,
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let new content take the place of what is there.")
    ] = False,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Put a file or a directory into an open package."""
    directory = path.is_dir()
    if directory and (as_path is not None or key is not None):
        raise typer.BadParameter("--as and --idempotency-key are for a single file")
    with progress_bar("add") as progress:

        async def work(registry: "Registry") -> DirectoryIngest | FileRecord:
            package_id = (await registry.get_package(package)).package_id
            if directory:
                return await registry.ingest_directory(
                    package_id,
                    path,
                    replace=replace,
                    actor=invoker(),
                    progress=progress,
                    resume_in=resume_directory(),
                )
            return await registry.ingest_file(
                package_id,
                path.name if as_path is None else as_path,
                path,
                replace=replace,
                actor=invoker(),
                idempotency_key=key,
            )

        added = on_store(work)
    if json:
        say_json(facts(added))
    elif isinstance(added, FileRecord):
        say(f"{added.path}  {size_text(added.size_bytes)}  {added.content_address}")
    else:
        say(f"{added.files} files, {size_text(added.bytes)}; {added.unchanged_files} were there already")
        if added.excluded:
            say(f"left out {left_out_text(added.excluded)}")


def finalize(package: Package, *, json: Json = False, _quiet: Quiet = False) -> None:
    """Seal a package with its manifest; again gives the same answer."""

    async def work(registry: "Registry") -> None:
        record = await registry.get_package(package)
        sealed = await registry.finalize_package(record.package_id, actor=invoker())
        if json:
            say_json(facts(sealed))
        else:
            say(f"{sealed.package_id}  {sealed.manifest_digest}")

    on_store(work)


def list_packages(*, json: Json = False) -> None:
    """List all packages, oldest first; with --json a line for each."""

    async def work(registry: "Registry") -> None:
        async for record in registry.list_packages():
            if json:
                say_json(facts(record))
            else:
                size = size_text(record.bytes)
                say(f"{record.package_id}  {record.status:9}  {record.files:>7} files  {size:>10}  {record.name}")

    on_store(work)


def show(package: Package, *, json: Json = False) -> None:
    """Show a package and its files."""

    async def work(registry: "Registry") -> None:
        record = await registry.get_package(package)
        files = await registry.list_files(record.package_id)
        shown = facts(record)
        if json and isinstance(shown, dict):
            say_json({**shown, "file_list": facts(files)})
            return
        if isinstance(shown, dict):
            for key, value in shown.items():
                say(f"{key:18} {'-' if value is None else value}")
        for file in files:
            mark = "x" if file.executable else "-"
            say(f"{mark} {file.size_bytes:>12}  {file.media_type:32}  {file.content_address}  {file.path}")

    on_store(work)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Packages, step by step.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (
        ("create", create),
        ("add", add),
        ("finalize", finalize),
        ("list", list_packages),
        ("show", show),
    ):
        group.command(name)(command)
    app.add_typer(group, name="package")
