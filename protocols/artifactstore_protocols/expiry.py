"""The guard of expiry: which clock it trusts, and how much may expire at once without a second word.

A clock never decides whether data is safe, only when something may go. So a wrong clock must not let anything go.
"""

from typing import Final, override

from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.moments import time_text

__all__ = [
    "ABANDONED_AFTER",
    "CLOCK_AHEAD_US_MAX",
    "CLOCK_BEHIND_US_MAX",
    "FINALIZED_BEHIND_US_MAX",
    "OBSERVED_EVERY_US",
    "ClockDoubtful",
    "TooMuchExpires",
    "check_clock",
    "check_finalized_at",
    "check_share",
]

ABANDONED_AFTER: Final = "7d"
"""How long nobody touched an open package that is abandoned, by default."""

CLOCK_AHEAD_US_MAX: Final = 31 * 86_400_000_000
"""How far the clock may be ahead of the time that the store saw last: 31 days, in microseconds."""

CLOCK_BEHIND_US_MAX: Final = 300_000_000
"""How far it may be behind: 5 minutes, since the clocks of several machines differ."""

FINALIZED_BEHIND_US_MAX: Final = 3_600_000_000
"""How far the time in a manifest may be behind the log when it is committed: one hour, since building it takes time."""

OBSERVED_EVERY_US: Final = 3_600_000_000
"""The least time between two events that record the clock: one hour, in microseconds."""

_PACKAGES_MIN: Final = 10


class ClockDoubtful(ArtifactStoreError):
    """The clock differs too much from the time that the store saw last, so nothing expires.

    Attributes:
        now_us: the time by the clock, in microseconds since 1970 UTC.
        seen_us: the time that the store saw last.
    """

    now_us: int
    seen_us: int

    @override
    def __str__(self) -> str:
        how = "behind" if self.now_us < self.seen_us else "more than 31 days ahead of"
        return (
            f"the clock says {time_text(self.now_us)}, which is {how} the time that the store saw last, "
            f"{time_text(self.seen_us)}; set the clock, or confirm it with `artifactstore clock confirm`"
        )


class TooMuchExpires(ArtifactStoreError):
    """A run would expire more than half of the packages that it is for, or another number than the caller confirmed.

    Attributes:
        expiring: the number of packages that would expire.
        packages: the number of packages that the run is for.
        group: the group of the keep policy that the run is for; None for all packages of the store.
    """

    expiring: int
    packages: int
    group: str | None = None
    template = (
        "{self.expiring} of {self.whole} would expire; look at them with --dry-run, "
        "and confirm the exact number with --yes-expire {self.expiring}"
    )

    @property
    def whole(self) -> str:
        """The packages that the run is for, as text."""
        return f"{self.packages} packages" if self.group is None else f"{self.packages} packages of {self.group!r}"


def check_clock(now_us: int, seen_us: int | None) -> None:
    """Check a clock against a time that the store saw; None if it saw none.

    Raises:
        ClockDoubtful: the clock is behind, or more than 31 days ahead.
    """
    if seen_us is not None and not seen_us - CLOCK_BEHIND_US_MAX <= now_us <= seen_us + CLOCK_AHEAD_US_MAX:
        raise ClockDoubtful(now_us, seen_us)


def check_finalized_at(finalized_at_us: int, log_time_us: int) -> None:
    """Check that a package is not finalized with a time before those that the log has, so that it is kept as promised.

    Raises:
        ClockDoubtful: the time is more than an hour behind.
    """
    if finalized_at_us < log_time_us - FINALIZED_BEHIND_US_MAX:
        raise ClockDoubtful(finalized_at_us, log_time_us)


def check_share(expiring: int, packages: int, confirmed: int | None, *, group: str | None = None) -> None:
    """Check that a run may expire so many packages. If none would expire, it may.

    Args:
        expiring: the number of packages that would expire.
        packages: the number of packages that the run is for.
        confirmed: the number that the caller confirmed; None if the caller named none.
        group: the group of the keep policy that the run is for; None for all packages of the store.

    Raises:
        TooMuchExpires: it is more than half of them and at least 10, or another number than the confirmed one.
    """
    if expiring in {0, confirmed}:
        return
    if confirmed is not None or (expiring >= _PACKAGES_MIN and 2 * expiring > packages):
        raise TooMuchExpires(expiring, packages, group)
