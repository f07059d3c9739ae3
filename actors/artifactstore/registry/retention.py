"""Methods of the registry for retention: holds, classes, expiry, deletion and the clock."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from artifactstore.arguments import checked
from artifactstore.environment import environment
from artifactstore.ids import new_id
from artifactstore.registry.base import DEFAULT_PRINCIPAL, PAGE, StoreCalls
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import HoldPlaced
from artifactstore_protocols.expiry import ABANDONED_AFTER
from artifactstore_protocols.life_cycle import (
    CUSTOM,
    AddRetentionClass,
    ConfirmClock,
    DeletePackage,
    ExtendRetention,
    ObserveClock,
    PlaceHold,
    ReleaseHold,
    SetRetention,
)
from artifactstore_protocols.moments import duration_us
from artifactstore_protocols.records import ExpiredPackage, Hold, PackageRecord, RetainedPackage, RetentionReport
from artifactstore_protocols.retention import RETENTION_CLASSES, RetentionClass, added_class, check_class_name

__all__ = ["RetentionCalls"]


class RetentionCalls(StoreCalls):
    """The methods for retention: holds, classes, expiry, deletion and the clock."""

    @checked
    async def delete_package(
        self, package: str, *, reason: str, before_expiry: bool = False, principal: str = DEFAULT_PRINCIPAL
    ) -> PackageRecord:
        """Delete an open or finalized package, and return its record. A package that is gone already does not change.

        The record stays, with name, counts, digests, metadata, tags and annotations, and so does the manifest. The
        files cannot be read any more.

        Args:
            package: the id of the package. A name is refused: it can mean another package tomorrow.
            reason: why, in 1 to 200 printable characters.
            before_expiry: whether to delete a finalized package whose retention has not ended.
            principal: the principal.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageIdNeeded: the text is not the id of a package.
            PackageKept: a hold or a protected tag keeps it, or its retention has not ended.
        """
        package_id = await self._exact_id(package)
        command = DeletePackage(package_id, reason, before_expiry, environment.get().now_us())
        return await self._changed(command, principal, None)

    @checked
    async def place_hold(
        self, package: str, *, reason: str, principal: str = DEFAULT_PRINCIPAL, idempotency_key: str | None = None
    ) -> Hold:
        """Place a hold on an open or finalized package. Until it is released, the package is not deleted and stays.

        A package can have several holds.

        Args:
            package: the id of the package. A name is refused: it can mean another package tomorrow.
            reason: why, in 1 to 200 printable characters.
            principal: the principal.
            idempotency_key: see the class.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageIdNeeded: the text is not the id of a package.
            PackageGone: the package was deleted or has expired.
        """
        command = PlaceHold(new_id(), await self._exact_id(package), reason)
        committed = await self._commit(command, principal, idempotency_key)
        [stored], [payload] = committed.events, committed.payloads()
        placed, event = cast("HoldPlaced", payload), stored.event
        return Hold(
            placed.hold_id,
            placed.package_id,
            placed.reason,
            event.principal,
            event.recorded_at_us,
            stored.sequence,
        )

    @checked
    async def release_hold(self, hold: str, *, principal: str = DEFAULT_PRINCIPAL) -> None:
        """Release a hold, which is named by its id.

        Raises:
            HoldNotFound: there is no such hold, or it was released before.
        """
        await self._commit(ReleaseHold(hold), principal, None)

    @checked
    async def list_holds(self, package: str | None = None) -> AsyncGenerator[Hold]:
        """Yield the holds that were not released, of one package or of all, read in pages in the order of their ids.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        package_id = None if package is None else await self._package_id(package)
        after = ""
        while page := await self._store.holds(package_id=package_id, after=after, limit=PAGE):
            for each in page:
                yield each
            after = page[-1].hold_id

    @checked
    async def set_retention(self, package: str, retention: str, *, principal: str = DEFAULT_PRINCIPAL) -> PackageRecord:
        """Set how long a finalized package is kept after it was finalized, and return its record.

        This may also shorten its retention, unless a hold is on it. The manifest keeps the retention that the package
        was finalized with.

        Args:
            package: the id of the package. A name is refused: it can mean another package tomorrow.
            retention: a retention class, or a duration such as `30d` (or s, m, h, w).
            principal: the principal.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageIdNeeded: the text is not the id of a package.
            PackageGone, NotFinalized: the package is gone, or open.
            PackageKept: its retention would become shorter, and a hold is on it.
            UnknownRetentionClass: the text is no class and no duration.
        """
        package_id, duration = await self._exact_id(package), duration_us(retention)
        if duration is None:
            check_class_name(retention)
        command = SetRetention(package_id, retention if duration is None else CUSTOM, duration)
        return await self._changed(command, principal, None)

    @checked
    async def extend_retention(
        self, package: str, duration: str, *, principal: str = DEFAULT_PRINCIPAL, idempotency_key: str | None = None
    ) -> PackageRecord:
        """Keep a finalized package longer, and return its record.

        The duration is added to the end of its retention, or to the present time if its retention has ended.

        Args:
            package: the id of the package. A name is refused: it can mean another package tomorrow.
            duration: how much longer, such as `30d` (or s, m, h, w).
            principal: the principal.
            idempotency_key: see the class. Without one, a repeated call extends the retention once more.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageIdNeeded: the text is not the id of a package.
            PackageGone, NotFinalized: the package is gone, or open.
            PackageKept: its retention is permanent.
            InvalidValue: the duration is none.
        """
        longer_us = _duration_us(duration)
        package_id = await self._exact_id(package)
        command = ExtendRetention(package_id, longer_us, environment.get().now_us())
        return await self._changed(command, principal, idempotency_key)

    @checked
    async def add_retention_class(
        self, name: str, duration: str, *, principal: str = DEFAULT_PRINCIPAL
    ) -> RetentionClass:
        """Add a retention class, and return it. It never changes, so packages keep what they were promised.

        Args:
            name: 1 to 40 of a-z, 0-9, `_` and `-`, the first a letter, and no class that every store has.
            duration: how long a package is kept after it was finalized, such as `90d` (or s, m, h, w).
            principal: the principal.

        Raises:
            RetentionClassTaken: the store has the class already, with another duration.
            InvalidValue: the name or the duration is none, or every store has a class of this name.
        """
        command = AddRetentionClass(name, _duration_us(duration))
        await self._commit(command, principal, None)
        return added_class(name, command.duration_us)

    @checked
    async def list_retention_classes(self) -> AsyncGenerator[RetentionClass]:
        """Yield the classes that every store has, and then those that were added, in the order of their names."""
        for each in (*RETENTION_CLASSES.values(), *await self._store.retention_classes()):
            yield each

    @checked
    async def explain_retention(self, package: str) -> RetentionReport:
        """Return what keeps a package and until when, or which rule or person lets or let it go, with the events.

        If a keep policy matches the name of the package, reads all finalized packages of the name.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        package_id = await self._package_id(package)
        from artifactstore.explaining import explain  # noqa: PLC0415 - see above

        return await explain(self._store, package_id, environment.get().now_us())

    @checked
    async def list_retention(self, expiring_within: str = "0d") -> AsyncGenerator[RetainedPackage]:
        """Yield the finalized packages whose retention ends within a time, first those that ended first.

        They may be kept by a hold or a protected tag nevertheless.

        Args:
            expiring_within: a duration such as `7d` (or s, m, h, w); by default only those whose retention has ended.

        Raises:
            InvalidValue: the duration is none.
        """
        until_us = environment.get().now_us() + _duration_us(expiring_within)
        after = (0, "")
        while page := await self._store.retained(until_us=until_us, after=after, limit=PAGE, kept=True):
            for each in page:
                yield each
            after = (page[-1].expires_at_us, page[-1].package_id)

    @checked
    async def expire_packages(
        self,
        *,
        dry_run: bool = False,
        yes_expire: int | None = None,
        abandoned_after: str = ABANDONED_AFTER,
        principal: str = DEFAULT_PRINCIPAL,
    ) -> AsyncGenerator[ExpiredPackage]:
        """Let go what is due, and yield each package that went.

        These are finalized packages whose retention has ended, in the order of that end, and open packages that nobody
        touched for long. A hold, a protected tag and the class `permanent` keep a package. Another run can go on at the
        same time.

        Args:
            dry_run: whether to change nothing, and yield what would go.
            yes_expire: the number of packages that may go even if that is most of them; any other number stops the run.
            abandoned_after: how long nobody touched an open package that goes, such as `7d` (or s, m, h, w).
            principal: the principal.

        Raises:
            ClockDoubtful: the clock is behind the time that the store saw last, or more than 31 days ahead of it.
            TooMuchExpires: at least 10 packages, and more than half of all, would go, or not `yes_expire`.
            InvalidValue: the duration is none.
        """
        from artifactstore.expiry import expire  # noqa: PLC0415 - see above

        expired = expire(
            self._store,
            lambda command: self._commit(command, principal, None),
            now_us=environment.get().now_us(),
            abandoned_after_us=_duration_us(abandoned_after),
            dry_run=dry_run,
            confirmed=yes_expire,
        )
        async with aclosing(expired) as packages:
            async for each in packages:
                yield each

    @checked
    async def observe_clock(self, *, principal: str = DEFAULT_PRINCIPAL) -> None:
        """Record the time by the clock, as the service does every hour. Within an hour of the last, nothing happens.

        Raises:
            ClockDoubtful: the clock differs too much from the time that the store saw last.
        """
        await self._commit(ObserveClock(environment.get().now_us()), principal, None)

    @checked
    async def confirm_clock(self, *, principal: str = DEFAULT_PRINCIPAL) -> int:
        """Confirm that the clock is right, and return its time in microseconds since 1970 UTC."""
        now_us = environment.get().now_us()
        await self._commit(ConfirmClock(now_us), principal, None)
        return now_us


def _duration_us(text: str) -> int:
    """Return a duration in microseconds.

    Raises:
        InvalidValue: the text is none.
    """
    if (found := duration_us(text)) is None:
        raise InvalidValue("duration", text[:60], "write 30d, or with s, m, h or w")
    return found
