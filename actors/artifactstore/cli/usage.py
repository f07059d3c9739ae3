"""The command that says what takes how much space: du."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.options import Json, complete_packages
from artifactstore.cli.output import counted, note, say, say_json, size_text
from artifactstore.cli.runner import on_store
from artifactstore.json_output import to_json
from artifactstore_protocols.disk_usage import deduplication
from artifactstore_protocols.globs import is_literal

if TYPE_CHECKING:
    from artifactstore.registry import Registry
    from artifactstore_protocols.disk_usage import NameUsage, UniqueUsage

__all__ = ["register"]


def du(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME-GLOB | PACKAGE...]",
            help="A glob for the names of packages; with --unique, packages.",
            autocompletion=complete_packages,
            show_default=False,
        ),
    ] = None,
    *,
    unique: Annotated[
        bool, typer.Option("--unique", help="Print what would be freed if exactly these packages went together.")
    ] = False,
    json: Json = False,
) -> None:
    """Run `artifactstore du`."""
    given = names or []
    if unique:
        if not given:
            raise typer.BadParameter("name the packages after --unique", param_hint="PACKAGE")
        _say_unique(on_store(lambda registry: registry.unique_usage(given)), json=json)
        return
    if len(given) > 1:
        raise typer.BadParameter("give one glob, in quotes; or --unique and packages", param_hint="NAME-GLOB")

    async def read(registry: "Registry") -> "Sequence[NameUsage]":
        return await registry.disk_usage(given[0] if given else None)

    found = on_store(read)
    if given and not found:
        if is_literal(given[0]):
            reason = f"no package has the name {given[0]!r}; for one package, add --unique"
            raise typer.BadParameter(reason, param_hint="NAME-GLOB")
        note(f"no name of a package matches {given[0]!r}")
        return
    if json:
        for each in found:
            say_json({**_fields(each), "deduplication": deduplication(each.bytes, each.stored_bytes)})
        return
    _say_table(found)


def _fields(usage: "NameUsage") -> dict[str, "int | str"]:
    return {name: getattr(usage, name) for name in usage.__struct_fields__}


def _say_table(found: "Sequence[NameUsage]") -> None:
    rows = [("size", "stored", "ratio", "packages", "files", "name")]
    for each in found:
        ratio = deduplication(each.bytes, each.stored_bytes)
        sizes = size_text(each.bytes), size_text(each.stored_bytes), "-" if ratio is None else f"{ratio:.2f}"
        rows.append((*sizes, f"{each.packages:,}", f"{each.files:,}", each.name))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for row in rows:
        say("  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))


def _say_unique(usage: "UniqueUsage", *, json: bool) -> None:
    if json:
        say_json(to_json(usage))
        return
    packages, files = counted(usage.packages, "package"), counted(usage.files, "file")
    say(f"{packages}, {files}, {size_text(usage.bytes)}")
    say(f"unique: {size_text(usage.unique_bytes)} in {counted(usage.unique_objects, 'object')}")


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command()(du)
