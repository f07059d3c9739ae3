"""The command that finds problems in a store: doctor."""

import typer

from artifactstore.cli.options import Json, Quiet
from artifactstore.cli.output import say, say_json
from artifactstore.cli.remote import check_local
from artifactstore.cli.runner import EXIT_FAILED, NonzeroExit
from artifactstore.cli.store_option import named_store

__all__ = ["register"]


def doctor(*, json: Json = False, _quiet: Quiet = False) -> None:
    """Run `artifactstore doctor`."""
    from artifactstore.doctor import CHECKS, examine, inspect_store  # noqa: PLC0415 - it loads what a store needs
    from artifactstore.json_output import to_json  # noqa: PLC0415

    check_local()
    inspection = inspect_store(store=named_store())
    found = examine(inspection)
    if json:
        database, root = inspection.database_found, inspection.root_found
        say_json(
            {
                "settings": to_json(inspection.settings),
                "store_id": None if database is None else database.store_id,
                "root": None if root is None or root.marker is None else to_json(root.marker),
                "checks": list(CHECKS),
                "findings": to_json(found),
            }
        )
    else:
        for name, setting in inspection.settings.items():
            say(f"{name:18}  {setting.value}  ({setting.origin})")
        for diagnosis in found:
            say(f"{diagnosis.check}: {diagnosis.problem}")
            say(f"    {diagnosis.remedy}")
        if not found:
            say(f"nothing wrong with {inspection.database} and {inspection.root}")
    if found:
        raise NonzeroExit(EXIT_FAILED)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(doctor)
