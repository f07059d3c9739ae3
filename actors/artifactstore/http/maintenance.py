"""Maintenance: the actor of a service that runs jobs on a schedule, such as expiry, collection and verification.

A job that is refused, for example because a clock is wrong, is logged and runs again at its next time. Two jobs may run
concurrently, and the same job may run in several services: each job is safe for that.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, override

import trio
from msgspec import Struct

from artifactstore.supervision import Actor
from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["FIRST_RUN_S", "Job", "Maintenance", "MaintenanceRole"]

_logger = logging.getLogger("artifactstore.maintenance")

FIRST_RUN_S: Final = 300.0
"""Seconds from the start of the service to the first run of a job, unless its period is shorter.

A service that is restarted more often than a job's period runs it all the same.
"""


class MaintenanceRole:
    """The role of the actor that runs jobs on a schedule. It takes no messages."""


class Job(Struct, frozen=True):
    """Work that a service repeats.

    Attributes:
        name: the name for logs, and of the task that `artifactstore actors` shows.
        every_s: the seconds from the end of one run to the start of the next.
        run: does the work once, and returns one line that says what was done.
    """

    name: str
    every_s: float
    run: Callable[[], Awaitable[str]]


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
        await trio.sleep(min(job.every_s, FIRST_RUN_S))
        while True:
            try:
                _logger.info("%s: %s", job.name, await job.run())
            except ArtifactStoreError as error:
                _logger.warning("%s: %s", job.name, error)
            await trio.sleep(job.every_s)
