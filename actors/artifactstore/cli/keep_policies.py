"""Commands for keep policies: retention policy set, show, list, delete, apply."""

import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.cli.options import Json, Quiet, complete_names
from artifactstore.cli.output import PAGE_BYTES, counted, flush_output, say, say_json, size_text
from artifactstore.cli.runner import CONTINUES, MAY_BE_DONE, invoker, on_store
from artifactstore.json_output import Json as JsonValue
from artifactstore.json_output import timestamp, to_json
from artifactstore_protocols.moments import age_text, time_text

if TYPE_CHECKING:
    from artifactstore.registry import Registry
    from artifactstore_protocols.keep_policies import KeepPolicy, KeepVerdict

__all__ = ["policy_commands"]

_Group = Annotated[
    str,
    typer.Argument(
        metavar="GROUP", help="A package name, or a glob of names; quote a glob.", autocompletion=complete_names
    ),
]


def _count(name: str, help_text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(f"--keep-{name}", metavar="N", help=help_text)
    return option


def set_policy(
    group: _Group,
    *,
    keep_last: Annotated[int | None, _count("last", "Keep the N newest packages.")] = None,
    keep_hourly: Annotated[
        int | None, _count("hourly", "Keep the newest package of each of the N latest hours that have one.")
    ] = None,
    keep_daily: Annotated[int | None, _count("daily", "The same for days, in UTC.")] = None,
    keep_weekly: Annotated[int | None, _count("weekly", "The same for weeks, which begin on Monday.")] = None,
    keep_monthly: Annotated[int | None, _count("monthly", "The same for months.")] = None,
    keep_yearly: Annotated[int | None, _count("yearly", "The same for years.")] = None,
    keep_within: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Keep packages that are at most this much older than the newest one: 30m, 12h, 7d, 2w.",
        ),
    ] = None,
    keep_tagged: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Keep packages with a tag that matches; repeat it for several patterns."),
    ] = None,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore retention policy set`."""
    from artifactstore_protocols.keep_rules import KeepRules  # noqa: PLC0415 - `--help` does not need it

    rules = KeepRules(
        last=keep_last,
        hourly=keep_hourly,
        daily=keep_daily,
        weekly=keep_weekly,
        monthly=keep_monthly,
        yearly=keep_yearly,
        within_us=None if keep_within is None else _duration_us(keep_within),
        tagged=tuple(keep_tagged or ()),
    )
    changed = on_store(
        lambda registry: registry.set_keep_policy(group, rules, principal=invoker()), interrupted=MAY_BE_DONE
    )
    _say_policy(changed, json=json)


def _duration_us(text: str) -> int:
    from artifactstore_protocols.errors import InvalidValue  # noqa: PLC0415 - as above
    from artifactstore_protocols.moments import duration_us  # noqa: PLC0415

    if (found := duration_us(text)) is None:
        raise InvalidValue("duration", text[:60], "write 7d (or s, m, h, w)")
    return found


def show(group: _Group, *, json: Json = False) -> None:
    """Run `artifactstore retention policy show`."""
    found = on_store(lambda registry: registry.get_keep_policy(group))
    if json:
        say_json(_to_json(found))
        return
    say(f"group  {found.group}")
    for text in found.rules.texts():
        say(f"keeps  {text}")
    say(f"set    {time_text(found.set_at_us)} by {found.set_by}, event {found.sequence}")


def delete(group: _Group, *, json: Json = False, _quiet: Quiet = False) -> None:
    """Run `artifactstore retention policy delete`."""
    on_store(lambda registry: registry.delete_keep_policy(group, principal=invoker()), interrupted=MAY_BE_DONE)
    if json:
        say_json({"group": group})
    else:
        say(f"deleted the keep policy of {group}")


def list_policies(*, json: Json = False) -> None:
    """Run `artifactstore retention policy list`."""

    async def work(registry: "Registry") -> None:
        async with aclosing(registry.list_keep_policies()) as policies:
            async for each in policies:
                _say_policy(each, json=json)
                await flush_output(least_bytes=PAGE_BYTES)

    on_store(work)


def apply(
    group: Annotated[
        str | None,
        typer.Argument(metavar="[GROUP]", help="Apply only the policy of this group.", show_default=False),
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would go; change nothing.")] = False,
    yes_expire: Annotated[
        int | None,
        typer.Option(metavar="N", help="Let exactly N packages go, also if that is most of the group or store."),
    ] = None,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore retention policy apply`."""

    async def work(registry: "Registry") -> None:
        going = kept = size_bytes = 0
        now_us = time.time_ns() // 1000
        verdicts = registry.apply_keep_policies(group, dry_run=dry_run, yes_expire=yes_expire, principal=invoker())
        async with aclosing(verdicts):
            async for each in verdicts:
                if json:
                    say_json({**cast("Mapping[str, JsonValue]", to_json(each)), "is_kept": each.is_kept})
                else:
                    say(_verdict_text(each, now_us if dry_run else None))
                await flush_output(least_bytes=PAGE_BYTES)
                if each.rule:
                    going, size_bytes = going + 1, size_bytes + each.bytes
                else:
                    kept += 1
        if not json:
            verb = "would go" if dry_run else "went"
            say(f"{counted(going, 'package')} {verb}, with files of {size_text(size_bytes)}; {kept} kept")

    on_store(work, interrupted="" if dry_run else CONTINUES)


def _verdict_text(verdict: "KeepVerdict", now_us: int | None) -> str:
    """Return the line of a package; a dry run gives the time, and says how long its retention would last."""
    goes = "gone" if now_us is None else "goes"
    told = f"kept  {', '.join(verdict.kept_by)}" if verdict.is_kept else f"{goes}  {verdict.rule}"
    retention = "" if now_us is None else f"  ({_retention_text(verdict, now_us)})"
    return f"{verdict.package_id}  {time_text(verdict.finalized_at_us)}  {verdict.name}  {told}{retention}"


def _retention_text(verdict: "KeepVerdict", now_us: int) -> str:
    if verdict.expires_at_us is None:
        return verdict.retention_class
    left_us = verdict.expires_at_us - now_us
    return f"{verdict.retention_class}, {f'{age_text(left_us)} left' if left_us > 0 else 'over'}"


def _say_policy(policy: "KeepPolicy", *, json: bool) -> None:
    if json:
        say_json(_to_json(policy))
    else:
        say(f"{policy.group}  {_rules_text(policy.rules.texts())}")


def _rules_text(texts: Sequence[str]) -> str:
    return f"keeps {', '.join(texts)}"


def _to_json(policy: "KeepPolicy") -> JsonValue:
    """Return a policy as JSON, with only the rules that it has."""
    return {
        "group": policy.group,
        "rules": to_json(policy.rules.to_map()),
        "set_by": policy.set_by,
        "set_at": timestamp(policy.set_at_us),
        "sequence": policy.sequence,
    }


def policy_commands() -> typer.Typer:
    """Return the group of the commands of this module."""
    group = typer.Typer(
        help="Set, apply and delete rules that keep packages of a name.", no_args_is_help=True, rich_markup_mode=None
    )
    commands = (
        ("set", set_policy),
        ("show", show),
        ("list", list_policies),
        ("delete", delete),
        ("apply", apply),
    )
    for name, command in commands:
        group.command(name)(command)
    return group
