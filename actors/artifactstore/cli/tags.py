"""Commands for tags, which are names that people give to packages: tag set, delete, show, list, log."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.options import Json, Package, Quiet, complete_tags
from artifactstore.cli.output import PAGE_BYTES, flush_output, say, say_json
from artifactstore.cli.remote import AnyRegistry
from artifactstore.cli.runner import MAY_BE_DONE, invoker, on_either, on_store
from artifactstore.cli.table import ID, Column, Table, terminal_width
from artifactstore.json_output import to_json
from artifactstore_protocols.moments import time_text

if TYPE_CHECKING:
    from artifactstore.registry import Registry
    from artifactstore_protocols.records import HistoryEntry, PackageRecord, Tag

__all__ = ["register"]

_COLUMNS = (ID, Column("SET", 20, 19), Column("", 9, 9), Column("TAG"))

_Tag = Annotated[str, typer.Argument(metavar="TAG", help="The tag, such as release-4.", autocompletion=complete_tags)]
_NewTag = Annotated[
    str,
    typer.Argument(
        metavar="TAG",
        help="1 to 200 characters, without @ : { } and not ending with ~ or ~1. Quote a tag with spaces: 'release 4'.",
        autocompletion=complete_tags,
    ),
]


def set_tag(
    tag: _NewTag,
    package: Package,
    *,
    protect: Annotated[
        bool | None,
        typer.Option(
            "--protect/--unprotect", help="A protected tag can be neither moved nor deleted. Default: as before."
        ),
    ] = None,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore tag set`."""
    changed = on_store(
        lambda registry: registry.set_tag(tag, package, protect=protect, principal=invoker()), interrupted=MAY_BE_DONE
    )
    _say_tag(changed, json=json)


def delete(tag: _Tag, *, json: Json = False, _quiet: Quiet = False) -> None:
    """Run `artifactstore tag delete`."""
    on_store(lambda registry: registry.delete_tag(tag, principal=invoker()), interrupted=MAY_BE_DONE)
    if json:
        say_json({"tag": tag})
    else:
        say(f"deleted {tag}")


def show(tag: _Tag, *, json: Json = False) -> None:
    """Run `artifactstore tag show`."""

    async def work(registry: AnyRegistry) -> "tuple[Tag, PackageRecord]":
        found = await registry.get_tag(tag)
        return found, await registry.get_package(found.package_id)

    found, package = on_either(work)
    if json:
        say_json(to_json(found))
        return
    say(f"tag        {found.tag}")
    say(f"package    {package.package_id}  {package.name}")
    say(f"set        {time_text(found.set_at_us)}  {found.set_by}")
    say(f"protected  {'yes' if found.protected else 'no'}")


def list_tags(*, json: Json = False) -> None:
    """Run `artifactstore tag list`."""

    async def work(registry: AnyRegistry) -> None:
        table = Table(_COLUMNS, terminal_width())
        header = table.header()
        async with aclosing(registry.list_tags()) as tags:
            async for each in tags:
                if json:
                    say_json(to_json(each))
                else:
                    texts = each.package_id, time_text(each.set_at_us), _protected(each), each.tag
                    for line in (*header, *table.lines(*texts)):
                        say(line)
                    header = []
                await flush_output(least_bytes=PAGE_BYTES)

    on_either(work)


def log(tag: _Tag, *, json: Json = False) -> None:
    """Run `artifactstore tag log`."""

    async def work(registry: "Registry") -> None:
        async with aclosing(registry.tag_history(tag)) as entries:
            async for entry in entries:
                _say_entry(entry, json=json)
                await flush_output(least_bytes=PAGE_BYTES)

    on_store(work)


def _say_tag(tag: "Tag", *, json: bool) -> None:
    if json:
        say_json(to_json(tag))
    else:
        say(f"{tag.package_id}  {time_text(tag.set_at_us)}  {_protected(tag):9}  {tag.tag}")


def _protected(tag: "Tag") -> str:
    return "protected" if tag.protected else ""


def _say_entry(entry: "HistoryEntry", *, json: bool) -> None:
    if json:
        say_json(to_json(entry))
    else:
        say(f"{time_text(entry.recorded_at_us)}  {entry.principal}  {entry.detail}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Set, move, delete, show and list tags.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("set", set_tag), ("delete", delete), ("show", show), ("list", list_tags), ("log", log)):
        group.command(name)(command)
    app.add_typer(group, name="tag")
