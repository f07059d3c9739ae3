"""The latest health report, for every request: measured at most once a second, however many ask.

One request has it measured and the others that come meanwhile wait for it, so that the load on health does not become
load on the store.
"""

from collections.abc import Awaitable, Callable

import trio

from artifactstore_protocols.records import HealthReport

__all__ = ["AGE_MAX_S", "Readings"]

AGE_MAX_S = 1.0
"""How old a report may be, in seconds, before it is measured again."""


class Readings:
    """A report that is never older than a second when it is handed over.

    Args:
        measure: has everything measured now.
    """

    def __init__(self, measure: Callable[[], Awaitable[HealthReport]]) -> None:
        self._measure = measure
        self._report: HealthReport | None = None
        self._measured_at = 0.0
        self._under_way: trio.Event | None = None

    def fresh(self) -> HealthReport | None:
        """The report, if it is not due to be measured again."""
        if self._report is not None and trio.current_time() - self._measured_at <= AGE_MAX_S:
            return self._report
        return None

    async def report(self) -> HealthReport:
        """The report.

        Raises:
            Refusal: who measures is down.
        """
        while True:
            if (report := self.fresh()) is not None:
                return report
            if self._under_way is None:
                return await self._measure_now()
            await self._under_way.wait()  # whoever measured may have been refused or cancelled: look again

    async def _measure_now(self) -> HealthReport:
        under_way = self._under_way = trio.Event()
        began_at = trio.current_time()
        try:
            self._report = await self._measure()
            self._measured_at = began_at
            return self._report
        finally:
            self._under_way = None
            under_way.set()
