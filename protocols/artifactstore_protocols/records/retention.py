"""Results about retention: holds, expiry, and what keeps a package, as frozen values."""

from collections.abc import Sequence

from msgspec import Struct

from artifactstore_protocols.records.packages import PackageRecord, Tag

__all__ = ["ExpiredPackage", "Hold", "LeftPackage", "PolicyVerdict", "RetainedPackage", "RetentionReport"]


class RetainedPackage(Struct, frozen=True):
    """A finalized package whose retention ends, and what else keeps it.

    Attributes:
        package_id: its id.
        name: its name.
        version: its version.
        expires_at_us: when its retention ends.
        is_kept: whether a hold or a protected tag keeps it.
    """

    package_id: str
    name: str
    version: int
    expires_at_us: int
    is_kept: bool


class LeftPackage(Struct, frozen=True):
    """An open package that nobody touched for a while.

    Attributes:
        package_id: its id.
        name: its name.
        version: its version.
        touched_at_us: the time of its last event.
        created_sequence: the sequence of the event that created it.
    """

    package_id: str
    name: str
    version: int
    touched_at_us: int
    created_sequence: int


class ExpiredPackage(Struct, frozen=True):
    """A package that a rule let go, or would let go.

    Attributes:
        package_id: its id.
        name: its name.
        rule: `retention`: its time was over. `abandoned`: it was open, and nobody touched it for long.
        since_us: when its retention ended, or when it was touched last.
        sequence: the sequence of the event that recorded it; None if nothing was changed.
    """

    package_id: str
    name: str
    rule: str
    since_us: int
    sequence: int | None


class PolicyVerdict(Struct, frozen=True):
    """What one keep policy says about a package.

    Attributes:
        group: the group of the policy.
        kept_by: the rules of the policy that keep the package, such as `daily 14`; empty if none does.
        sequence: the sequence of the event that set the policy.
    """

    group: str
    kept_by: tuple[str, ...]
    sequence: int


class RetentionReport(Struct, frozen=True):
    """What keeps a package and until when, or what let it go.

    Attributes:
        package: the package.
        retention_sequence: the sequence of the event that last set its retention.
        holds: the holds on it.
        protected_tags: the protected tags that name it.
        policies: what each keep policy that matches its name says about it; none while it is open, or once it is gone.
        goes_by: the rules by which it goes at their next run: `retention`, by `expire`, and `policy:GROUP`, by
            `retention policy apply`.
        is_kept: whether it is not gone, and no rule lets it go at the time of the report.
        reasons: one line for each thing that keeps it or let it go, with the sequence of its event.
    """

    package: PackageRecord
    retention_sequence: int
    holds: Sequence["Hold"]
    protected_tags: Sequence["Tag"]
    policies: Sequence[PolicyVerdict]
    goes_by: Sequence[str]
    is_kept: bool
    reasons: Sequence[str]


class Hold(Struct, frozen=True):
    """A hold on a package, which keeps it from deletion and expiry until it is released.

    Attributes:
        hold_id: its id.
        package_id: the package.
        reason: the reason that its principal gave.
        placed_by: the principal who placed it.
        placed_at_us: the time when it was placed.
        sequence: the sequence of the event that placed it.
    """

    hold_id: str
    package_id: str
    reason: str
    placed_by: str
    placed_at_us: int
    sequence: int
