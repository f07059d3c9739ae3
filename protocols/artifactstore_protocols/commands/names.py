"""Commands for tags and keep policies."""

from msgspec import Struct

from artifactstore_protocols.commands.checks import check_reference
from artifactstore_protocols.globs import check_glob
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.keep_rules import KeepRules
from artifactstore_protocols.typed import check_fields

__all__ = ["DeleteKeepPolicy", "DeleteTag", "SetKeepPolicy", "SetTag"]


class SetTag(Struct, frozen=True):
    """A command that sets a tag to a finalized package.

    Attributes:
        tag: the name of the tag.
        package_id: the id of the package.
        protected: whether the tag can be neither moved nor deleted; None leaves the protection as it is.
        expected: the id of the package that the tag must name before; empty if there must be no such tag; None if
            neither matters.
    """

    tag: str
    package_id: str
    protected: bool | None = None
    expected: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_reference("tag", self.tag)
        check_id("package id", self.package_id)
        if self.expected:
            check_id("expected package id", self.expected)


class DeleteTag(Struct, frozen=True):
    """A command that deletes a tag. The package stays.

    Attributes:
        tag: the name of the tag.
        expected: the id of the package that the tag must name before; None if it does not matter.
    """

    tag: str
    expected: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_reference("tag", self.tag)
        if self.expected is not None:
            check_id("expected package id", self.expected)


class SetKeepPolicy(Struct, frozen=True):
    """A command that sets the keep policy of a group of packages, in place of the one before.

    Attributes:
        group: a package name, or a glob of names.
        rules: the rules that keep packages of the group.
    """

    group: str
    rules: KeepRules

    def __post_init__(self) -> None:
        check_fields(self)
        _check_group(self.group)


class DeleteKeepPolicy(Struct, frozen=True):
    """A command that deletes the keep policy of a group. The packages stay."""

    group: str

    def __post_init__(self) -> None:
        check_fields(self)
        _check_group(self.group)


def _check_group(group: str) -> None:
    """Refuse a text that is neither a package name nor a glob of names."""
    check_reference("group", group)
    check_glob(group)
