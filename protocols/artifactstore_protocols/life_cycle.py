"""The commands of the life cycle of packages: what keeps one, and what ends it.

They are commands as those of `commands` are. Each names what it asks for, for the digest of the command.
"""

from typing import Final, override

from msgspec import Struct

from artifactstore_protocols.canonical import INTEGER_MAX, RecordValue
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.names import check_name
from artifactstore_protocols.retention import check_new_class
from artifactstore_protocols.typed import check_fields

__all__ = [
    "ABANDONED",
    "CUSTOM",
    "DURATION_US_MAX",
    "RETENTION_ENDED",
    "AddRetentionClass",
    "ConfirmClock",
    "DeletePackage",
    "ExpirePackage",
    "ExtendRetention",
    "LifeCycleCommand",
    "ObserveClock",
    "PlaceHold",
    "ReleaseHold",
    "SetRetention",
]

_EXPIRY_RULE_CHARACTERS_MAX: Final = 300

RETENTION_ENDED: Final = "retention"
"""The rule by which a package expires when its retention has ended."""

CUSTOM: Final = "custom"
"""The retention class of a package whose retention has a duration of its own."""

DURATION_US_MAX: Final = 36_500 * 86_400_000_000
"""The longest duration of a retention: 36,500 days, in microseconds. Use the class `permanent` for longer."""

ABANDONED: Final = "abandoned"
"""The rule by which an open package expires that nobody touched for long."""

_POLICY: Final = "policy:"
"""The beginning of the rule by which a package expires because a keep rule of its group kept others."""


class LifeCycleCommand(Struct, frozen=True):
    """The base class of these commands."""

    def asked(self) -> list[RecordValue]:
        """Return what the command asks for, without what can change when a caller repeats the request."""
        raise NotImplementedError


class DeletePackage(LifeCycleCommand, frozen=True):
    """A command that deletes an open or finalized package. Its record and its manifest stay.

    Attributes:
        package_id: the id of the package.
        reason: why, in 1 to 200 printable characters.
        before_expiry: whether to delete a finalized package whose retention has not ended.
        as_of_us: the time with which the end of the retention is compared, in microseconds since 1970 UTC.
    """

    package_id: str
    reason: str
    before_expiry: bool = False
    as_of_us: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)
        check_name("reason", self.reason)

    @override
    def asked(self) -> list[RecordValue]:
        return ["delete", self.package_id, self.reason, self.before_expiry]


class ExpirePackage(LifeCycleCommand, frozen=True):
    """A command by which a rule lets a package go. Its record and its manifest stay.

    Attributes:
        package_id: the id of the package.
        rule: `RETENTION_ENDED` or `policy:` and more for a finalized package, `ABANDONED` for an open one.
        as_of_us: the time at which the rule was applied, in microseconds since 1970 UTC.
        version: the version of the package that the rule saw.
    """

    package_id: str
    rule: str
    as_of_us: int
    version: int

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)
        if self.rule not in {RETENTION_ENDED, ABANDONED} and not (
            self.rule.startswith(_POLICY) and len(self.rule) <= _EXPIRY_RULE_CHARACTERS_MAX and self.rule.isprintable()
        ):
            reason = f"use {RETENTION_ENDED}, {ABANDONED}, or {_POLICY} and printable characters"
            raise InvalidValue("rule", self.rule[:60], reason)

    @override
    def asked(self) -> list[RecordValue]:
        return ["expire", self.package_id, self.rule, self.version]


class PlaceHold(LifeCycleCommand, frozen=True):
    """A command that places a hold on a package, which keeps it from deletion and expiry.

    Attributes:
        hold_id: the id of the new hold, which is unique.
        package_id: the id of the package, which may be open or finalized.
        reason: why, in 1 to 200 printable characters.
    """

    hold_id: str
    package_id: str
    reason: str

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("hold id", self.hold_id)
        check_id("package id", self.package_id)
        check_name("reason", self.reason)

    @override
    def asked(self) -> list[RecordValue]:
        return ["hold", self.package_id, self.reason]


class ReleaseHold(LifeCycleCommand, frozen=True):
    """A command that releases a hold."""

    hold_id: str

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("hold id", self.hold_id)

    @override
    def asked(self) -> list[RecordValue]:
        return ["release hold", self.hold_id]


class SetRetention(LifeCycleCommand, frozen=True):
    """A command that sets the retention of a finalized package.

    Attributes:
        package_id: the id of the package.
        retention_class: the name of a retention class, or `CUSTOM`.
        duration_us: with `CUSTOM`, how long the package is kept after it was finalized, in microseconds; else None.
    """

    package_id: str
    retention_class: str
    duration_us: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)
        if (self.retention_class == CUSTOM) == (self.duration_us is None):
            raise InvalidValue("retention", self.retention_class[:60], "name a class, or give a duration")
        if self.duration_us is not None:
            _check_duration(self.duration_us)

    @override
    def asked(self) -> list[RecordValue]:
        return ["retention", self.package_id, self.retention_class, self.duration_us]


class AddRetentionClass(LifeCycleCommand, frozen=True):
    """A command that adds a retention class, which never changes.

    Attributes:
        name: its name.
        duration_us: how long a package is kept after it was finalized, in microseconds.
    """

    name: str
    duration_us: int

    def __post_init__(self) -> None:
        check_fields(self)
        check_new_class(self.name)
        _check_duration(self.duration_us)

    @override
    def asked(self) -> list[RecordValue]:
        return ["retention class", self.name, self.duration_us]


class ExtendRetention(LifeCycleCommand, frozen=True):
    """A command that extends the retention of a finalized package.

    Attributes:
        package_id: the id of the package.
        duration_us: by how long, from the end of the retention, in microseconds.
        as_of_us: the time from which a retention is extended that ended before it.
    """

    package_id: str
    duration_us: int
    as_of_us: int

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)
        _check_duration(self.duration_us)

    @override
    def asked(self) -> list[RecordValue]:
        return ["extend", self.package_id, self.duration_us]


def _check_duration(duration_us: int) -> None:
    if not 0 < duration_us <= DURATION_US_MAX:
        raise InvalidValue("duration", str(duration_us)[:60], "it is longer than nothing, and at most 36500 days")


class ObserveClock(LifeCycleCommand, frozen=True):
    """A command that records the clock, as the service does every hour.

    Attributes:
        at_us: the time by the clock, in microseconds since 1970 UTC.
    """

    at_us: int

    def __post_init__(self) -> None:
        _check_time(self)

    @override
    def asked(self) -> list[RecordValue]:
        return ["observe clock"]


class ConfirmClock(LifeCycleCommand, frozen=True):
    """A command by which a person confirms that the clock is right.

    Attributes:
        at_us: the time by the clock, in microseconds since 1970 UTC.
    """

    at_us: int

    def __post_init__(self) -> None:
        _check_time(self)

    @override
    def asked(self) -> list[RecordValue]:
        return ["confirm clock"]


def _check_time(command: ObserveClock | ConfirmClock) -> None:
    check_fields(command)
    if not 0 <= command.at_us <= INTEGER_MAX:
        raise InvalidValue("time", str(command.at_us)[:60], "it is in microseconds since 1970 UTC")
