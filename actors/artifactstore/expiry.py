"""A run of expiry: what is due goes, in order of its time, unless the clock is doubtful or too much would go.

Each package goes by a command of its own, which is judged against what keeps the package then. The writer commits up to
256 of them in one transaction. A run that is interrupted has let some packages go; the next run continues.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from artifactstore.concurrently import for_each_concurrent
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import Committed
from artifactstore_protocols.expiry import check_clock, check_share
from artifactstore_protocols.life_cycle import ABANDONED, RETENTION_ENDED, ExpirePackage, ObserveClock
from artifactstore_protocols.packages import NotFinalized, PackageChanged, PackageFinalizedAlready, PackageKept
from artifactstore_protocols.records import ExpiredPackage, LeftPackage, RetainedPackage

__all__ = ["check_clock_of", "due_packages", "expire"]

_PAGE = 500
_AT_ONCE = 64
_CHANGED_MEANWHILE = (PackageKept, PackageChanged, NotFinalized, PackageFinalizedAlready)

type Commit = Callable[[ExpirePackage | ObserveClock], Awaitable[Committed]]


async def check_clock_of(store: EventStore, now_us: int) -> None:
    """Check the clock against the last observation and the newest event.

    Raises:
        ClockDoubtful: the clock is behind, or more than 31 days ahead.
    """
    check_clock(now_us, await store.observed_clock())
    head = (await store.probe()).head
    for newest in await store.read_events(after=max(head - 1, 0), limit=1):
        check_clock(now_us, newest.event.recorded_at_us)


async def due_packages(
    store: EventStore, *, now_us: int, abandoned_before_us: int
) -> AsyncGenerator[Sequence[RetainedPackage | LeftPackage]]:
    """Yield pages of what may go: finalized packages in the order of their end, and then open ones, oldest first."""
    after = (0, "")
    while ended := await store.retained(until_us=now_us, after=after, limit=_PAGE, kept=False):
        yield ended
        after = (ended[-1].expires_at_us, ended[-1].package_id)
    number = 0
    while left := await store.left_packages(until_us=abandoned_before_us, after=number, limit=_PAGE):
        yield left
        number = left[-1].created_sequence


async def expire(
    store: EventStore,
    commit: Commit,
    *,
    now_us: int,
    abandoned_after_us: int,
    dry_run: bool,
    confirmed: int | None,
) -> AsyncGenerator[ExpiredPackage]:
    """Let go what is due, and yield what went; with `dry_run`, only yield it.

    Raises:
        ClockDoubtful: the clock differs too much from the time that the store saw last.
        TooMuchExpires: more than half of all packages would go, or another number than the confirmed one.
    """
    await check_clock_of(store, now_us)

    def due() -> AsyncGenerator[Sequence[RetainedPackage | LeftPackage]]:
        return due_packages(store, now_us=now_us, abandoned_before_us=now_us - abandoned_after_us)

    if not dry_run:
        await commit(ObserveClock(now_us))
        async with aclosing(due()) as pages:
            expiring = sum([len(page) async for page in pages])
        check_share(expiring, (await store.stats()).packages, confirmed)
    async with aclosing(due()) as pages:
        async for page in pages:
            sequences = {} if dry_run else await _let_go(commit, page, now_us)
            for each in page:
                if dry_run or each.package_id in sequences:
                    yield ExpiredPackage(
                        each.package_id, each.name, _rule(each), _since_us(each), sequences.get(each.package_id)
                    )


def _rule(package: RetainedPackage | LeftPackage) -> str:
    return RETENTION_ENDED if isinstance(package, RetainedPackage) else ABANDONED


def _since_us(package: RetainedPackage | LeftPackage) -> int:
    return package.expires_at_us if isinstance(package, RetainedPackage) else package.touched_at_us


async def _let_go(commit: Commit, packages: Sequence[RetainedPackage | LeftPackage], now_us: int) -> dict[str, int]:
    """Commit the end of some packages. Return the sequences of the events; what changed meanwhile has none."""
    sequences: dict[str, int] = {}

    async def let_go(package: RetainedPackage | LeftPackage) -> None:
        command = ExpirePackage(package.package_id, _rule(package), now_us, package.version)
        try:
            committed = await commit(command)
        except _CHANGED_MEANWHILE:
            return
        if committed.events:
            sequences[package.package_id] = committed.events[0].sequence

    await for_each_concurrent(packages, let_go, at_once=_AT_ONCE)
    return sequences
