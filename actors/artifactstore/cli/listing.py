"""Commands that list what packages contain, and how they differ: ls, tree, diff."""

from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.options import FirstPackage, Json, Package, SecondPackage, check_no_subtree, complete_paths
from artifactstore.cli.output import say, say_json, size_text
from artifactstore.cli.remote import AnyRegistry
from artifactstore.cli.runner import EXIT_DIFFERENT, NonzeroExit, on_either
from artifactstore.json_output import to_json
from artifactstore.refusals import FileNotInPackage
from artifactstore_protocols.paths import path_key, without_dot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore_protocols.records import DirectoryItem, EntryChange, FileRecord

__all__ = ["register"]

_Path = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="A directory or a file in the package. Default: its root.",
        autocompletion=complete_paths,
    ),
]


def ls(
    package: Package,
    path: _Path = "",
    *,
    long: Annotated[bool, typer.Option("-l", "--long", help="Also print sizes, media types and digests.")] = False,
    json: Json = False,
) -> None:
    """Run `artifactstore ls`."""
    check_no_subtree(package, "ls")
    for item in on_either(lambda registry: registry.list_directory(package, path)):
        if json:
            say_json(to_json(item))
        else:
            say(_line(item) if long else _name(item))


def _name(item: "DirectoryItem") -> str:
    """Return the last part of an item's path, marked as `ls -F` marks it."""
    name = item.path.rpartition("/")[2]
    if item.kind == "link":
        return f"{name} -> {item.target}"
    return f"{name}/" if item.kind == "directory" else f"{name}{'*' if item.executable else ''}"


def _line(item: "DirectoryItem") -> str:
    size = "" if item.kind == "link" else size_text(item.bytes)
    what = item.media_type or ("link" if item.kind == "link" else f"{item.entries} entries")
    return f"{size:>10}  {what:26}  {item.content_address:71}  {_name(item)}".rstrip()


def tree(package: Package, path: _Path = "", *, json: Json = False) -> None:
    """Run `artifactstore tree`."""
    check_no_subtree(package, "tree")

    async def work(registry: AnyRegistry) -> "Sequence[FileRecord]":
        found = await registry.get_package(package)
        top = path_key(without_dot(path).rstrip("/"))
        entries = await registry.list_files(found.package_id)
        below = [entry for entry in entries if not top or f"{path_key(entry.path)}/".startswith(f"{top}/")]
        if top and not below:
            raise FileNotInPackage(found.package_id, path)
        return below

    entries = on_either(work)
    if json:
        for entry in entries:
            say_json(to_json(entry))
        return
    above: list[str] = []
    for entry in entries:
        *directories, name = entry.path.split("/")
        if entry.kind == "directory":
            directories, name = [*directories, name], ""
        same = 0
        while same < min(len(above), len(directories)) and above[same] == directories[same]:
            same += 1
        for depth, directory in enumerate(directories[same:], same):
            say(f"{'  ' * depth}{directory}/")
        above = directories
        if name:
            target = f" -> {entry.target}" if entry.kind == "link" else ""
            say(f"{'  ' * len(directories)}{name}{'*' if entry.executable else ''}{target}")


_LETTERS = {"added": "A", "removed": "D", "changed": "M", "renamed": "R"}


def diff(
    before: FirstPackage,
    after: SecondPackage,
    *,
    stat: Annotated[bool, typer.Option("--stat", help="Also print sizes, and the totals.")] = False,
    summary: Annotated[bool, typer.Option("--summary", help="Print only the totals.")] = False,
    store_b: Annotated[
        str | None,
        typer.Option("--store-b", metavar="DIR", help="B is in this store, named as for --store. Default: that of A."),
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 3 if there are differences.")] = False,
    json: Json = False,
) -> None:
    """Run `artifactstore diff`."""
    from artifactstore.config import find_settings  # noqa: PLC0415 - commands without settings must start fast

    other = None if store_b is None else find_settings(store=store_b).settings
    changes = on_either(lambda registry: registry.diff_packages(before, after, other=other))
    for change in () if summary else changes:
        if json:
            say_json(to_json(change))
            continue
        moved = change.before is not None and change.before.path != change.path
        renamed = f"{change.before.path} -> " if moved and change.before is not None else ""
        sizes = f"{_size(change.before):>10} -> {_size(change.after):>10}  " if stat else ""
        say(f"{_LETTERS[change.kind]}  {sizes}{renamed}{change.path}{_mode_text(change)}")
    if stat or summary:
        from artifactstore_protocols.package_diff import diff_totals  # noqa: PLC0415 - as above

        totals = diff_totals(changes)
        if json:
            say_json({"totals": to_json(totals)})
        else:
            counts = ", ".join(f"{getattr(totals, kind)} {kind}" for kind in _LETTERS)
            say(f"{counts}; {size_text(totals.bytes_before)} -> {size_text(totals.bytes_after)}")
    if changes and exit_code:
        raise NonzeroExit(EXIT_DIFFERENT)


def _mode_text(change: "EntryChange") -> str:
    """Return what became of the executable bit, which no letter and no size shows."""
    before, after = change.before, change.after
    if before is None or after is None or before.kind != after.kind or before.executable == after.executable:
        return ""
    return "  (now executable)" if after.executable else "  (no longer executable)"


def _size(entry: "FileRecord | None") -> str:
    return "-" if entry is None or entry.kind != "file" else size_text(entry.size_bytes)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (ls, tree, diff):
        app.command()(command)
