"""The jobs that a service repeats: recording the clock, the expiry of uploads, and what settings ask for."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Final

from artifactstore.config import Settings
from artifactstore.environment import in_thread
from artifactstore.http.maintenance import Job, JobResult
from artifactstore.ids import now_us
from artifactstore.places import absolute
from artifactstore.registry import Registry
from artifactstore.upload_files import UploadFiles
from artifactstore_protocols.expiry import OBSERVED_EVERY_US

__all__ = ["VERIFIED_AGE_S", "service_jobs"]

VERIFIED_AGE_S: Final = 30 * 86_400
"""A service verifies the objects that nothing has read for so many seconds: 30 days."""

_UPLOADS_EVERY_S: Final = 600.0
"""The seconds between removals of expired uploads. They hold no memory and no lock, so an hour would do as well."""

_HOUR_S: Final = 3600.0
_HOUR_US: Final = 3_600_000_000
_PRINCIPAL: Final = "service"


def service_jobs(settings: Settings, registry: Callable[[], Registry | None]) -> tuple[Job, ...]:
    """Return the jobs that a service repeats.

    Args:
        settings: say how often each job runs.
        registry: returns the open store; None while it is starting.
    """

    def job(name: str, hours: float, work: Callable[[Registry], Awaitable[JobResult]]) -> Job:
        async def run() -> JobResult:
            store = registry()
            return JobResult("the store is not open") if store is None else await work(store)

        return Job(name, hours * _HOUR_S, run)

    jobs = (
        job("clock", OBSERVED_EVERY_US / _HOUR_US, _observe_clock),
        job("expire", settings.expire_hours, _expire),
        job("gc", settings.gc_hours, _collect),
        job("verify", settings.verify_hours, _verify),
    )
    root = absolute("storage root", settings.storage_local_root)
    sweep = Job("uploads", _UPLOADS_EVERY_S, partial(_sweep_uploads, UploadFiles(root)), first_s=0)
    return (*(each for each in jobs if each.every_s), sweep)


async def _sweep_uploads(files: UploadFiles) -> JobResult:
    return JobResult(f"{await in_thread(partial(files.sweep, now_us()))} uploads expired")


async def _observe_clock(registry: Registry) -> JobResult:
    await registry.observe_clock(principal=_PRINCIPAL)
    return JobResult("recorded, so that a later clock can be compared with it")


async def _expire(registry: Registry) -> JobResult:
    due = policies = 0
    async with aclosing(registry.expire_packages(principal=_PRINCIPAL)) as packages:
        async for _package in packages:
            due += 1
    async with aclosing(registry.apply_keep_policies(principal=_PRINCIPAL)) as verdicts:
        async for verdict in verdicts:
            policies += bool(verdict.rule)
    return JobResult(f"{due} packages expired, and {policies} by keep policies")


async def _collect(registry: Registry) -> JobResult:
    report = await registry.collect_garbage(principal=_PRINCIPAL)
    text = f"{report.deleted.objects} objects of {report.deleted.bytes} bytes deleted"
    return JobResult("; ".join([text, *report.failures]), is_well=not report.failures)


async def _verify(registry: Registry) -> JobResult:
    report = await registry.verify(max_age_s=VERIFIED_AGE_S, principal=_PRINCIPAL)
    flawed = len(report.mismatches) + len(report.missing)
    text = f"{report.objects} objects of {report.bytes} bytes read, {flawed} of them damaged or missing"
    return JobResult(text, is_well=report.sound)
