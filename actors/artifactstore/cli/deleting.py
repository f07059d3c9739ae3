"""The command that deletes packages: package delete."""

from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.options import Ids, Json, Quiet, Reason
from artifactstore.cli.output import say, say_json
from artifactstore.cli.runner import CONTINUES, invoker, on_store
from artifactstore.json_output import to_json

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["delete"]


def delete(
    packages: Ids,
    reason: Reason,
    *,
    before_expiry: Annotated[
        bool, typer.Option("--before-expiry", help="Also delete finalized packages whose retention has not ended.")
    ] = False,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore package delete`."""

    async def work(registry: "Registry") -> None:
        for package in packages:
            record = await registry.delete_package(
                package, reason=reason, before_expiry=before_expiry, principal=invoker()
            )
            if json:
                say_json(to_json(record))
            else:
                say(f"{record.package_id}  {record.name}  {record.status}")

    on_store(work, interrupted=CONTINUES)
