"""Commands for the retention of packages: retention set, extend, list, explain."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.keep_policies import policy_commands
from artifactstore.cli.options import Json, Key, Package, Quiet, complete_packages, complete_retention
from artifactstore.cli.output import PAGE_BYTES, flush_output, say, say_json
from artifactstore.cli.retention_classes import class_commands
from artifactstore.cli.runner import MAY_BE_DONE, invoker, on_either, on_store
from artifactstore.json_output import to_json
from artifactstore_protocols.life_cycle import RETENTION_ENDED
from artifactstore_protocols.moments import time_text

if TYPE_CHECKING:
    from artifactstore.registry import Registry
    from artifactstore_protocols.records import PackageRecord

__all__ = ["register"]

_Id = Annotated[
    str,
    typer.Argument(metavar="ID", help="The id of a package. A name is refused.", autocompletion=complete_packages),
]


def set_retention(
    package: _Id,
    retention: Annotated[
        str,
        typer.Argument(
            metavar="CLASS|DURATION",
            help="ephemeral, short, standard, long, permanent, an added class; or 30d (s, m, h, w) after finalizing.",
            autocompletion=complete_retention,
        ),
    ],
    *,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore retention set`."""
    record = on_store(
        lambda registry: registry.set_retention(package, retention, principal=invoker()), interrupted=MAY_BE_DONE
    )
    _say_package(record, json=json)


def extend(
    package: _Id,
    duration: Annotated[str, typer.Argument(metavar="DURATION", help="How much longer: 30d (or s, m, h, w).")],
    key: Key = None,
    *,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore retention extend`."""
    record = on_store(
        lambda registry: registry.extend_retention(package, duration, principal=invoker(), idempotency_key=key),
        interrupted=MAY_BE_DONE,
    )
    _say_package(record, json=json)


def list_retention(
    expiring_within: Annotated[
        str,
        typer.Option("--expiring-within", metavar="DURATION", help="Also packages whose retention ends so soon: 7d."),
    ] = "0d",
    *,
    json: Json = False,
) -> None:
    """Run `artifactstore retention list`."""

    async def work(registry: "Registry") -> None:
        async with aclosing(registry.list_retention(expiring_within)) as packages:
            async for each in packages:
                if json:
                    say_json(to_json(each))
                else:
                    kept = "kept" if each.is_kept else ""
                    say(f"{each.package_id}  {time_text(each.expires_at_us)}  {kept:4}  {each.name}")
                await flush_output(least_bytes=PAGE_BYTES)

    on_store(work)


def explain(package: Package, *, json: Json = False) -> None:
    """Run `artifactstore retention explain`."""
    report = on_either(lambda registry: registry.explain_retention(package))
    if json:
        say_json(to_json(report))
        return
    runs = ("expire" if rule == RETENTION_ENDED else "retention policy apply" for rule in report.goes_by)
    goes = f"goes with the next run of {' or '.join(f'`{run}`' for run in runs)}"
    kept = "is kept" if report.is_kept else "is gone" if report.package.is_gone else goes
    say(f"{report.package.package_id}  {report.package.name}  {kept}")
    for reason in report.reasons:
        say(f"  {reason}")


def _say_package(record: "PackageRecord", *, json: bool) -> None:
    if json:
        say_json(to_json(record))
    else:
        until = "for ever" if record.expires_at_us is None else f"until {time_text(record.expires_at_us)}"
        say(f"{record.package_id}  {record.name}  {record.retention_class}, kept {until}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Say how long packages are kept.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("set", set_retention), ("extend", extend), ("list", list_retention), ("explain", explain)):
        group.command(name)(command)
    group.add_typer(policy_commands(), name="policy")
    group.add_typer(class_commands(), name="class")
    app.add_typer(group, name="retention")
