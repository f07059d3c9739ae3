"""Commands for metadata schemas: schema add, list, show, require, unrequire."""

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.cli.dash import DashText
from artifactstore.cli.metadata_options import json_object_in
from artifactstore.cli.options import Json, Quiet
from artifactstore.cli.output import PAGE_BYTES, flush_output, say, say_json
from artifactstore.cli.runner import MAY_BE_DONE, invoker, on_store
from artifactstore.json_output import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.registry import Registry
    from artifactstore_protocols.canonical import CanonicalValue
    from artifactstore_protocols.records import MetadataSchema

__all__ = ["register"]


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the schema.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", path_type=DashText, help="A JSON Schema (2020-12); - is stdin.")
    ],
    *,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore schema add`."""
    schema = cast("Mapping[str, CanonicalValue]", json_object_in(file, "FILE"))
    added = on_store(
        lambda registry: registry.register_metadata_schema(name, schema, principal=invoker()),
        create=True,
        interrupted=MAY_BE_DONE,
    )
    if json:
        say_json(to_json(added))
    else:
        say(f"{added.name}@{added.version}")


def list_schemas(*, json: Json = False) -> None:
    """Run `artifactstore schema list`."""

    async def work(registry: "Registry") -> None:
        async with aclosing(registry.list_metadata_schemas()) as schemas:
            async for each in schemas:
                if json:
                    say_json(to_json(each))
                else:
                    say(_listed(each))
                await flush_output(least_bytes=PAGE_BYTES)

    on_store(work)


def show(
    schema: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="The schema; its latest version by default.")],
    *,
    json: Json = False,
) -> None:
    """Run `artifactstore schema show`."""
    found = on_store(lambda registry: registry.get_metadata_schema(schema))
    if json:
        say_json(to_json(found))
    else:
        say(found.schema)


def require(
    glob: Annotated[str, typer.Argument(metavar="NAME-GLOB", help="A glob for the names of packages.")],
    schema: Annotated[
        str,
        typer.Argument(metavar="SCHEMA[@VERSION]", help="The schema; its latest version now by default."),
    ],
    *,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore schema require`."""
    required = on_store(
        lambda registry: registry.require_schema(glob, schema, principal=invoker()), interrupted=MAY_BE_DONE
    )
    if json:
        say_json(to_json(required))
    else:
        say(_listed(required))


def unrequire(
    glob: Annotated[str, typer.Argument(metavar="NAME-GLOB", help="The glob, as it was given to `schema require`.")],
    *,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore schema unrequire`."""
    on_store(lambda registry: registry.unrequire_schema(glob, principal=invoker()), interrupted=MAY_BE_DONE)
    if json:
        say_json({"glob": glob})
    else:
        say(f"no longer required for {glob}")


def _listed(schema: "MetadataSchema") -> str:
    required = f"  required for {', '.join(schema.required_for)}" if schema.required_for else ""
    return f"{schema.name}@{schema.version}{required}"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Register and show metadata schemas.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("add", add), ("list", list_schemas), ("show", show)):
        group.command(name)(command)
    group.command("require")(require)
    group.command("unrequire")(unrequire)
    app.add_typer(group, name="schema")
