"""Commands that find packages, and entries in them: package list, find."""

import shlex
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from artifactstore.cli.finding_hints import no_entry_hint, no_package_hint
from artifactstore.cli.metadata_options import metadata_of
from artifactstore.cli.options import Json, complete_names, complete_packages, complete_retention, complete_tags
from artifactstore.cli.output import PAGE_BYTES, counted, flush_output, note, say, say_json, size_text
from artifactstore.cli.remote import AnyRegistry
from artifactstore.cli.runner import on_either
from artifactstore.cli.table import ID, Column, Table, terminal_width
from artifactstore.json_output import to_json
from artifactstore_protocols.moments import age_text, moment_after
from artifactstore_protocols.package_listing import ALL, EntryFilter, PackageFilter

if TYPE_CHECKING:
    from artifactstore_protocols.records import FoundEntry, PackageRecord

__all__ = ["list_packages", "register"]

_LIMIT = 50
_LIMIT_MAX = 1_000_000_000
"""More than a store lists in a day. A larger number is a mistake."""


def _complete_principals(incomplete: str) -> list[str]:
    from artifactstore.cli.completion import principals  # noqa: PLC0415 - needed only for shell completion

    return principals(incomplete)


_Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Created since: 7d (or s, m, h, w), or 2026-11-28[T14:30]."),
]
_Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Created until then; a day counts to its end.")
]
_Tag = Annotated[
    str | None, typer.Option("--tag", metavar="GLOB", help="With such a tag.", autocompletion=complete_tags)
]
_Limit = Annotated[
    int, typer.Option("--limit", metavar="N", min=0, max=_LIMIT_MAX, help="Print at most N; 0 prints all.")
]


def list_packages(
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="GLOB", help="With such a name: 'nightly*'.", autocompletion=complete_names),
    ] = None,
    state: Annotated[
        Literal["open", "finalized", "deleted", "expired"] | None,
        typer.Option("--state", help="In this state. Default: open and finalized."),
    ] = None,
    since: _Since = None,
    until: _Until = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="PRINCIPAL", help="Created by this principal.", autocompletion=_complete_principals
        ),
    ] = None,
    retention: Annotated[
        str | None,
        typer.Option(
            "--retention", metavar="CLASS", help="Of this retention class.", autocompletion=complete_retention
        ),
    ] = None,
    tag: _Tag = None,
    meta: Annotated[
        list[str] | None,
        typer.Option("--meta", metavar="K=V", help="With this metadata or annotation: K=TEXT or K:=JSON; repeatable."),
    ] = None,
    has: Annotated[
        list[str] | None,
        typer.Option("--has", metavar="KEY", help="With any metadata or annotation of this key; repeatable."),
    ] = None,
    made_from: Annotated[str | None, typer.Option("--from", metavar="PACKAGE", help="Made from this package.")] = None,
    sort: Annotated[
        Literal["created", "name", "size"], typer.Option("--sort", help="Newest first, by name, or largest first.")
    ] = "created",
    limit: _Limit = _LIMIT,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="PACKAGE",
            help="Continue after this package of the list.",
            autocompletion=complete_packages,
        ),
    ] = None,
    *,
    reverse: Annotated[bool, typer.Option("--reverse", help="Reverse the order.")] = False,
    json: Json = False,
) -> None:
    """Run `artifactstore package list`."""
    where = PackageFilter(
        name=name,
        status=state,
        created_by=by,
        retention_class=retention,
        tag=tag,
        since_us=_moment(since, end=False),
        until_us=_moment(until, end=True),
        metadata=metadata_of(meta),
        made_from=made_from,
        has=tuple(has or ()),
    )

    async def work(registry: AnyRegistry) -> None:
        found = registry.list_packages(where, sort=sort, reverse=reverse, after=after, limit=_one_more(limit))
        number = await _say_all(found, _PACKAGE_COLUMNS, _package_texts, _continue_after, limit=limit, json=json)
        if not (number or json or after) and where != ALL:
            note(await no_package_hint(registry, where))

    on_either(work)


def _continue_after(last: "PackageRecord") -> str:
    return f", --after {last.package_id} the next"


def _continue_after_entry(last: "FoundEntry") -> str:
    return f", --after {shlex.quote(f'{last.package.package_id}:{last.entry.path}')} the next"


_AGE, _SIZE = Column("AGE", 7, 6, right=True), Column("SIZE", 10, 10, right=True)
_PACKAGE_COLUMNS = (
    ID,
    Column("STATE", 9, 9),
    _AGE,
    Column("CONTENT", 13, 11, right=True),
    _SIZE,
    Column("BY", 12, 8),
    Column("NAME"),
)


def _package_texts(record: "PackageRecord", now_us: int) -> tuple[str, ...]:
    age, held, size = age_text(now_us - record.created_at_us), _content_text(record), size_text(record.bytes)
    tags = "".join(f"  tag:{each}" for each in record.tags)
    return record.package_id, record.status, age, held, size, record.created_by, f"{record.name}{tags}"


def _content_text(record: "PackageRecord") -> str:
    """Return the number of files; if there are links or empty directories too, the number of all entries: it fits."""
    if not record.links + record.directories:
        return counted(record.files, "file")
    entries = record.files + record.links + record.directories
    return f"{entries} {'entry' if entries == 1 else 'entries'}"


def find(
    context: typer.Context,
    path: Annotated[
        str | None, typer.Option("--path", metavar="GLOB", help="With such a path: docs/a.txt, 'logs/**/*.log'.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="GLOB", help="With such a file name, in any directory: '*.log'.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option("--digest", metavar="DIGEST", help="With this content: its BLAKE3 or SHA-256 digest.")
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(
            "--package",
            metavar="GLOB",
            help="In packages of such a name: 'nightly*'.",
            autocompletion=complete_names,
        ),
    ] = None,
    since: _Since = None,
    until: _Until = None,
    tag: _Tag = None,
    limit: _Limit = _LIMIT,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="PACKAGE:PATH",
            help="Continue after this entry of the list.",
            autocompletion=complete_packages,
        ),
    ] = None,
    *,
    reverse: Annotated[bool, typer.Option("--reverse", help="Oldest package first.")] = False,
    json: Json = False,
) -> None:
    """Run `artifactstore find`."""
    for text in context.args:
        option = "--path" if "/" in text else "--name"
        raise typer.BadParameter(f"{text!r} needs an option before it: {option} {shlex.quote(text)}")
    if path is None and name is None and digest is None:
        raise typer.BadParameter("give --path, --name or --digest")
    wanted = EntryFilter(path=path, name=name, digest=digest)
    packages = PackageFilter(
        name=package, tag=tag, since_us=_moment(since, end=False), until_us=_moment(until, end=True)
    )

    async def work(registry: AnyRegistry) -> None:
        found = registry.find(wanted, packages=packages, reverse=reverse, after=after, limit=_one_more(limit))
        number = await _say_all(found, _ENTRY_COLUMNS, _entry_texts, _continue_after_entry, limit=limit, json=json)
        if not (number or json or after):
            note(await no_entry_hint(registry, wanted, packages))

    on_either(work)


_DIGEST_CHARACTERS = 12
"""Enough to see which contents are equal; `--json` has the whole digest."""

_ENTRY_COLUMNS = (ID, _AGE, _SIZE, Column("DIGEST", _DIGEST_CHARACTERS, 8), Column("NAME", 16, 12), Column("PATH"))


def _entry_texts(found: "FoundEntry", now_us: int) -> tuple[str, ...]:
    package, entry = found.package, found.entry
    size = size_text(entry.size_bytes) if entry.kind == "file" else entry.kind
    digest = entry.content_address.partition(":")[2][:_DIGEST_CHARACTERS] or "-"
    return package.package_id, age_text(now_us - package.created_at_us), size, digest, package.name, entry.path


async def _say_all[T](
    found: AsyncGenerator[T],
    columns: Sequence[Column],
    texts: Callable[[T, int], tuple[str, ...]],
    go_on: Callable[[T], str],
    *,
    limit: int,
    json: bool,
) -> int:
    """Print up to `limit` records as a table, under a header if there are any, and return their number.

    Tell on stderr if there are more. `texts` gets a record and the time in microseconds since 1970 UTC; `go_on` ends
    the advice, given the last record.
    """
    now_us = time.time_ns() // 1000
    number, advice = 0, ""
    table = Table(columns, terminal_width())
    async with aclosing(found) as records:
        async for record in records:
            if 0 < limit == number:
                note(f"printed the first {limit}; --limit 0 prints all{advice}")
                break
            if json:
                say_json(to_json(record))
            else:
                for line in (*(() if number else table.header()), *table.lines(*texts(record, now_us))):
                    say(line)
            number, advice = number + 1, go_on(record)
            await flush_output(least_bytes=PAGE_BYTES)
    return number


def _one_more(limit: int) -> int | None:
    """Return one more than the limit, to see whether there are more; None for the limit 0, which is none."""
    return limit + 1 if limit else None


def _moment(text: str | None, *, end: bool) -> int | None:
    return None if text is None else max(0, moment_after(text, now_us=time.time_ns() // 1000, end=end))


def register(app: typer.Typer) -> None:
    """Add the command of this module; `packages` adds the other one to its group."""
    app.command(context_settings={"allow_extra_args": True})(find)  # `find` itself refuses them, and says what to do
