"""Commands for the tokens of the service: token create, list, revoke. Only `token create` prints a secret, once."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.cli.options import Json, Quiet
from artifactstore.cli.output import PAGE_BYTES, flush_output, note, say, say_json
from artifactstore.cli.runner import MAY_BE_DONE, invoker, on_store
from artifactstore.cli.table import Column, Table, terminal_width
from artifactstore.json_output import timestamp, to_json

if TYPE_CHECKING:
    from artifactstore.registry import Registry
    from artifactstore_protocols.token_records import Token
    from artifactstore_protocols.tokens import Scope

__all__ = ["register"]

_COLUMNS = (
    Column("NAME", 20, 12),
    Column("STATE", 8, 8),
    Column("EXPIRES", 27, 19),
    Column("SCOPES", 30, 14),
    Column("PACKAGES"),
)
_MAYBE_CREATED = (
    "the token may exist, and its secret is lost; `artifactstore token list` shows whether it does. Then revoke it, "
    "and create another one"
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the token, such as ci-2026.")]


def create(
    name: _Name,
    *,
    scopes: Annotated[
        list[str],
        typer.Option("--scope", metavar="SCOPE", help="read, write, tag, delete or admin; give it again for more."),
    ],
    packages: Annotated[
        list[str] | None,
        typer.Option(
            "--packages", metavar="GLOB", help="The names of the packages; give it again for more. Default: all."
        ),
    ] = None,
    expires: Annotated[
        str,
        typer.Option("--expires", metavar="WHEN", help="90d (or m, h, w) from now, a day, a time, or never."),
    ] = "90d",
    json: Json = False,
) -> None:
    """Run `artifactstore token create`."""
    from artifactstore_protocols.tokens import check_scope  # noqa: PLC0415 - help and completion do without it

    for scope in scopes:
        check_scope(scope)
    globs = packages or ["*"]
    secret = on_store(
        lambda registry: registry.create_token(
            name, scopes=cast("list[Scope]", scopes), packages=globs, expires=expires, principal=invoker()
        ),
        interrupted=_MAYBE_CREATED,
    )
    if json:
        say_json({"name": name, "secret": str(secret)})
        return
    say(secret)
    note(f"created token {name!r}; keep its secret, which nothing can show again")


def list_tokens(*, json: Json = False) -> None:
    """Run `artifactstore token list`."""

    async def work(registry: "Registry") -> None:
        table = Table(_COLUMNS, terminal_width())
        header = table.header()
        async with aclosing(registry.list_tokens()) as tokens:
            async for each in tokens:
                if json:
                    say_json(to_json(each))
                else:
                    for line in (*header, *table.lines(*_texts(each))):
                        say(line)
                    header = []
                await flush_output(least_bytes=PAGE_BYTES)

    on_store(work)


def _texts(token: "Token") -> tuple[str, str, str, str, str]:
    end = "never" if token.expires_at_us is None else timestamp(token.expires_at_us)
    return token.name, token.state, end, ",".join(token.scopes), " ".join(token.packages)


def revoke(
    name: _Name,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; the log keeps it.")] = "no reason given",
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore token revoke`."""
    revoked = on_store(
        lambda registry: registry.revoke_token(name, reason, principal=invoker()), interrupted=MAY_BE_DONE
    )
    if json:
        say_json(to_json(revoked))
    else:
        say(f"revoked {name}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Create, list and revoke tokens.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("create", create), ("list", list_tokens), ("revoke", revoke)):
        group.command(name)(command)
    app.add_typer(group, name="token")
