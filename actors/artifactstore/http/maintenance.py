"""Maintenance: the actor of a service that repeats jobs, such as expiry, collection and verification.

A job that is refused, for example because a clock is wrong, is logged and runs again at its next time. Two jobs may run
concurrently, and the same job may run in several services: each job is safe for that.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, override

import trio
from msgspec import Struct

from artifactstore.supervision import Actor
from artifactstore_protocols.supervision import Refusal

__all__ = ["FIRST_RUN_S", "Job", "JobResult", "Maintenance", "MaintenanceRole"]

_logger = logging.getLogger("artifactstore.maintenance")

FIRST_RUN_S: Final = 300.0
"""Seconds from the start of the service to the first run of a job, unless its period is shorter.

A service that is restarted more often than a job's period runs it all the same.
"""


class MaintenanceRole:
    """The role of the actor that runs jobs on a schedule. It takes no messages."""


class JobResult(NamedTuple):
    """What one run of a job did, in one line, and whether all is well."""

    text: str
    is_well: bool = True


class Job(Struct, frozen=True):
    """Work that a service repeats.

    Attributes:
        name: the name for logs, and of the task that `artifactstore actors` shows.
        every_s: the seconds from the end of one run to the start of the next.
        run: does the work once.
        first_s: the seconds from the start of the service to the first run, unless `every_s` is less.
    """

    name: str
    every_s: float
    run: Callable[[], Awaitable[JobResult]]
    first_s: float = FIRST_RUN_S


class Maintenance(Actor[MaintenanceRole]):
    """The actor that runs each job periodically, each in a task of its own.

    Args:
        jobs: the jobs, with different names.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs

    @override
    async def on_start(self) -> None:
        for job in self._jobs:
            self.context.start_child(job.name, self._repeat, job)

    async def _repeat(self, job: Job) -> None:
        await trio.sleep(min(job.every_s, job.first_s))
        while True:
            try:
                text, is_well = await job.run()
                _logger.log(logging.INFO if is_well else logging.WARNING, "%s: %s", job.name, text)
            except Refusal as error:
                _logger.warning("%s: %s", job.name, error)
            await trio.sleep(job.every_s)
