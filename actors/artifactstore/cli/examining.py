"""The command that finds out what is wrong: doctor."""

import typer

from artifactstore.cli.options import Json, Quiet
from artifactstore.cli.output import say, say_json
from artifactstore.cli.runner import EXIT_FAILED, Finding
from artifactstore.cli.store_option import named_store

__all__ = ["register"]


def doctor(*, json: Json = False, _quiet: Quiet = False) -> None:
    """Run `artifactstore doctor`."""
    from artifactstore.doctor import CHECKS, examine, look  # noqa: PLC0415 - it loads what a store needs
    from artifactstore.facts import facts  # noqa: PLC0415

    sight = look(store=named_store())
    found = examine(sight)
    if json:
        database, root = sight.database_found, sight.root_found
        say_json(
            {
                "settings": facts(sight.settings),
                "store_id": None if database is None else database.store_id,
                "root": None if root is None or root.marker is None else facts(root.marker),
                "checks": list(CHECKS),
                "findings": facts(found),
            }
        )
    else:
        for name, setting in sight.settings.items():
            say(f"{name:18}  {setting.value}  ({setting.origin})")
        for diagnosis in found:
            say(f"{diagnosis.check}: {diagnosis.problem}")
            say(f"    {diagnosis.remedy}")
        if not found:
            say(f"nothing wrong with {sight.database} and {sight.root}")
    if found:
        raise Finding(EXIT_FAILED)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(doctor)
