"""The command for annotations, which say something about a package after it was created: package annotate."""

from typing import Annotated

import typer

from artifactstore.cli.metadata_options import metadata_of, metadata_text
from artifactstore.cli.options import Json, Package, Quiet
from artifactstore.cli.output import say, say_json
from artifactstore.cli.runner import MAY_BE_DONE, invoker, on_store
from artifactstore.json_output import to_json

__all__ = ["annotate"]


def annotate(
    package: Package,
    annotations: Annotated[
        list[str] | None,
        typer.Argument(metavar="[K=V]...", help="What to say: K=TEXT, or K:=JSON for a number or a list."),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="K", help="Remove this annotation; repeatable.")
    ] = None,
    *,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore package annotate`."""
    values = metadata_of(annotations, given_by="K=V")
    if not values and not remove:
        raise typer.BadParameter("give K=V or --remove K")
    record = on_store(
        lambda registry: registry.annotate_package(package, values, remove=remove or (), principal=invoker()),
        interrupted=MAY_BE_DONE,
    )
    if json:
        say_json(to_json(record))
    else:
        say(f"{record.package_id}  {record.name}  {metadata_text(record.annotations)}")
