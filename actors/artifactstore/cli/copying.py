"""The command `package copy`, which copies a package to another store."""

from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.dash import DashText, check_directory
from artifactstore.cli.options import Json, Package, Progress, Quiet
from artifactstore.cli.output import counted, entries_text, progress_bar, say, say_json, size_text
from artifactstore.cli.runner import CONTINUES, invoker, on_store
from artifactstore.json_output import to_json

if TYPE_CHECKING:
    from artifactstore.registry import Registry
    from artifactstore_protocols.records import CopyReport

__all__ = ["copy"]


def copy(
    package: Package,
    to: Annotated[
        str,
        typer.Option("--to", metavar="DIR", help="The directory of the other store, as --store names it."),
    ],
    *,
    tags: Annotated[bool, typer.Option("--tags", help="Also set the package's tags to the copy.")] = False,
    json: Json = False,
    _quiet: Quiet = False,
    _progress: Progress = "auto",
) -> None:
    """Run `artifactstore package copy`."""
    from artifactstore.config import find_settings  # noqa: PLC0415 - commands without settings must start fast

    check_directory(PurePath(DashText(to)), "a store", "--to")
    other = find_settings(store=to).settings
    with progress_bar("package copy") as progress:

        async def work(registry: "Registry") -> "CopyReport":
            return await registry.copy_package(package, other, tags=tags, principal=invoker(), progress=progress)

        report = on_store(work, interrupted=f"what was copied is kept; {CONTINUES}")
    if json:
        say_json(to_json(report))
        return
    say(f"package          {report.package_id}  {report.name}, in {to}")
    say(f"copied from      {report.copied_from}")
    say(f"tree digest      {report.tree_digest}")
    say(f"content          {entries_text(report)}, {size_text(report.bytes)}")
    say(f"copied           {counted(report.new_objects, 'object')}, {size_text(report.new_bytes)}")
    if report.schema is not None:
        say(f"schema           {report.schema}")
    for parent in report.parents:
        say(f"parent           {parent}")
    for parent in report.parents_left_out:
        say(f"parent left out  {parent}; {to} had neither it nor a copy of it when this copy began")
    if report.annotations:
        say(f"annotations      {report.annotations}")
    if report.tags:
        say(f"tags             {', '.join(report.tags)}")
