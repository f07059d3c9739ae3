"""Commands that check and repair objects: verify and repair."""

import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from artifactstore.cli.options import Json, OptionalPackage, Progress, Quiet, size_of
from artifactstore.cli.output import counted, progress_bar, say, say_json, size_text
from artifactstore.cli.runner import CONTINUES, EXIT_DIFFERENT, NonzeroExit, invoker, on_store
from artifactstore.cli.transfer import flaw_text
from artifactstore.json_output import to_json
from artifactstore_protocols.moments import duration_us
from artifactstore_protocols.records import RepairReport, VerifyReport
from artifactstore_protocols.verification import SEED_MAX

if TYPE_CHECKING:
    from artifactstore.config import Settings

__all__ = ["register"]

_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)%")
_PPM_OF_PERCENT: Final = 10_000
_PERCENT_MAX: Final = 100
_US: Final = 1_000_000
_SHOWN: Final = 10
_KEPT: Final = "what was verified is recorded"


def verify(
    package: OptionalPackage = None,
    *,
    max_age: Annotated[
        str | None,
        typer.Option("--max-age", metavar="AGE", help="Read only what was not read for so long: 12h, 30d, 8w."),
    ] = None,
    sample: Annotated[
        str | None, typer.Option("--sample", metavar="PERCENT", help="Read only a random sample of objects: 5%, 0.5%.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, max=SEED_MAX, help="Read the sample of this seed.")
    ] = None,
    limit_rate: Annotated[
        str | None, typer.Option("--limit-rate", metavar="SIZE", help="Read at most so many bytes a second: 500K, 50M.")
    ] = None,
    json: Json = False,
    _quiet: Quiet = False,
    _progress: Progress = "auto",
) -> None:
    """Run `artifactstore verify`."""
    if package is not None and (max_age is not None or sample is not None):
        raise typer.BadParameter("--max-age and --sample choose among all objects; leave out the package")
    if seed is not None and sample is None:
        raise typer.BadParameter("--seed goes with --sample")
    max_age_s = None if max_age is None else _seconds_of(max_age)
    rate = None if limit_rate is None else size_of("--limit-rate", limit_rate)
    if rate == 0:
        raise typer.BadParameter("give a number of bytes a second", param_hint="--limit-rate")
    sample_ppm = None if sample is None else _share_of(sample)
    with progress_bar("verify") as progress:
        report = on_store(
            lambda registry: registry.verify(
                package,
                max_age_s=max_age_s,
                sample_ppm=sample_ppm,
                seed=seed,
                limit_rate=rate,
                principal=invoker(),
                progress=progress,
            ),
            interrupted=f"{_KEPT}; `artifactstore verify --max-age AGE` leaves it out" if package is None else "",
        )
    if json:
        say_json(to_json(report))
    else:
        _say_verified(report, whole=max_age is None and sample is None)
    if not report.sound:
        raise NonzeroExit(EXIT_DIFFERENT)


def _seconds_of(text: str) -> int:
    if (found := duration_us(text)) is None:
        raise typer.BadParameter(f"{text!r} is no age: 0, 12h, 30d, 8w", param_hint="--max-age")
    return found // _US


def _share_of(text: str) -> int:
    """Return a percentage in parts per million."""
    found = _PERCENT.fullmatch(text)
    if found is None or not 0 < Decimal(found[1]) <= _PERCENT_MAX:
        raise typer.BadParameter(f"{text!r} is no percentage: 5%, 0.5%", param_hint="--sample")
    return int(Decimal(found[1]) * _PPM_OF_PERCENT)


def _say_verified(report: VerifyReport, *, whole: bool) -> None:
    read = f"read {counted(report.objects, 'object')}, {size_text(report.bytes)}"
    say(f"{read}, and {counted(report.manifests, 'manifest')}" if whole else read)
    if report.seed is not None:
        say(f"seed {report.seed}")
    flawed = {"damaged": report.mismatches, "missing": report.missing, "unreadable": report.unreadable}
    for problem, flaws in flawed.items():
        for flaw in flaws[:_SHOWN]:
            say(flaw_text(problem, flaw))
        if len(flaws) > _SHOWN:
            say(f"{problem}: {len(flaws)} objects in all; --json lists them")
    _say_affected(report)
    if report.unconfirmed:
        say(f"{counted(report.unconfirmed, 'object')} looked damaged at first and intact when read again")
    for package_id in report.manifest_mismatches:
        say(f"manifest of {package_id} differs from the tables; `artifactstore replay` repairs them")
    for row in report.row_flaws:
        say(f"{row}; `artifactstore replay` repairs the tables, or says which event is wrong")
    if report.not_recorded is not None:
        say(f"not recorded in the log: {report.not_recorded}")
    if report.unreadable:
        say("this user may not read some objects: give it read access, or verify as their owner")
    if report.sound:
        say("all sound")
    elif report.mismatches or report.missing:
        say("repair them with `artifactstore repair --from SOURCE`, or ingest the same content again")


def _say_affected(report: VerifyReport) -> None:
    if not report.affected:
        return
    files = sum(flaw.file_count or 0 for flaw in (*report.mismatches, *report.missing, *report.unreadable))
    packages = counted(report.affected_packages, "package")
    say(f"this affects {counted(files, 'file')} in {packages}:")
    for package in report.affected[:_SHOWN]:
        say(f"  {package.package_id}  {package.name}, {counted(package.files, 'file')}")
    if report.affected_packages > _SHOWN:
        say(f"  and {counted(report.affected_packages - _SHOWN, 'more package')}")


def repair(
    *,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Where the contents are: a directory with any files, a backup, another store's directory, or the URL "
            "of its database.",
        ),
    ] = None,
    objects: Annotated[
        Path | None,
        typer.Option("--from-objects", metavar="DIR", help="With a URL: the directory of the other store's objects."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be repaired.")] = False,
    json: Json = False,
    _quiet: Quiet = False,
    _progress: Progress = "auto",
) -> None:
    """Run `artifactstore repair`."""
    named = _source_of(source, objects)
    with progress_bar("repair") as progress:
        report = on_store(
            lambda registry: registry.repair(named, dry_run=dry_run, principal=invoker(), progress=progress),
            interrupted=f"what was repaired is kept; {CONTINUES}",
        )
    if json:
        say_json(to_json(report))
    else:
        _say_repaired(report)
    if report.remaining:
        raise NonzeroExit(EXIT_DIFFERENT)


def _source_of(source: str | None, objects: Path | None) -> "Path | Settings | None":
    is_url = source is not None and "://" in source
    if is_url != (objects is not None):
        raise typer.BadParameter("--from-objects goes with --from and the URL of a database, and the URL with it")
    if source is None or not is_url:
        return None if source is None else Path(source)
    from msgspec.structs import replace  # noqa: PLC0415 - commands without settings must start fast

    from artifactstore.config import Settings  # noqa: PLC0415

    return replace(Settings(), database_url=source, storage_local_root=objects)


def _say_repaired(report: RepairReport) -> None:
    if not report.objects:
        say("nothing to repair: no object is flagged, missing or of another size; `artifactstore verify` reads them")
        return
    say(f"{counted(report.objects, 'object')} damaged, missing or flagged")
    if report.intact:
        say(f"intact again  {counted(report.intact, 'object')}")
    if report.source is not None:
        verb = "would repair" if report.dry_run else "repaired    "
        say(f"{verb}  {counted(report.repaired, 'object')}, {size_text(report.repaired_bytes)}, from {report.source}")
    if report.refused:
        say(f"refused       {counted(report.refused, 'content')} of {report.source}: other bytes than the log names")
    for flaw in report.needed[:_SHOWN]:
        say(flaw_text("needed ", flaw))
    if report.remaining > min(_SHOWN, len(report.needed)):
        say(f"needed: {counted(report.remaining, 'object')} in all; --json lists the first 100")
    if report.remaining and report.source is None:
        say("name a source with --from: a directory, a backup or another store")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (verify, repair):
        app.command()(command)
