"""The commands of the life cycle of packages: what keeps one, and what ends it.

They are commands as those of `commands` are. Each names what it asks for, for the digest of the command.
"""

from typing import Final, override

from msgspec import Struct

from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.names import check_name
from artifactstore_protocols.typed import check_fields

__all__ = [
    "ABANDONED",
    "RETENTION_ENDED",
    "DeletePackage",
    "ExpirePackage",
    "LifeCycleCommand",
]

_EXPIRY_RULE_CHARACTERS_MAX: Final = 300

RETENTION_ENDED: Final = "retention"
"""The rule by which a package expires when its retention has ended."""

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
