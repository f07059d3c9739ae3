"""The errors of the rules of packages. Each error names the change that is refused, and the reason."""

from collections.abc import Mapping
from typing import override

from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.moments import time_text
from artifactstore_protocols.storage import Place

__all__ = [
    "AmbiguousPackage",
    "AnnotationNotFound",
    "AnnotationsChanged",
    "HoldNotFound",
    "MetadataKeyTaken",
    "NotFinalized",
    "ObjectsNotStored",
    "PackageChanged",
    "PackageExists",
    "PackageFinalizedAlready",
    "PackageGone",
    "PackageIdNeeded",
    "PackageKept",
    "PackageNotFound",
    "PathConflict",
    "PathTaken",
    "ProjectionDamaged",
    "TagChanged",
    "TagNotFound",
    "TagProtected",
    "TooManyFiles",
]


_SHOWN_CHARACTERS = 100
"""The characters that an error shows of a reference; that of a digest has fewer."""


class PackageNotFound(ArtifactStoreError):
    """No package matches.

    Attributes:
        package: the text that should name one.
        is_tag: whether there is a tag of this name.
        choices: how many packages an `@{n}`, `~n` or a time could select from; None if the text has none.
        among: which packages these are.
    """

    package: str
    is_tag: bool = False
    choices: int | None = None
    among: str = "of this name"

    @override
    def __str__(self) -> str:
        shown = self.package if len(self.package) <= _SHOWN_CHARACTERS else f"{self.package[:_SHOWN_CHARACTERS]}…"
        if self.is_tag:
            return f"there is no package {shown!r}, but a tag: write 'tag:{shown}'"
        if self.choices is not None:
            if not self.choices:
                return f"there is no package {shown!r}: there is no finalized package {self.among}"
            count = f"{self.choices} finalized package{'' if self.choices == 1 else 's'}"
            return f"there is no package {shown!r}: it counts back further than the {count} {self.among}; write less"
        return f"there is no package {shown!r}; `artifactstore package list` shows those that are"


class AmbiguousPackage(ArtifactStoreError):
    """Several packages match the text, and the call needs exactly one.

    Attributes:
        package: the text.
        package_ids: the ids of the packages, newest first; at most 10.
        labels: the name and the status of each of them.
        more: whether there are others.
    """

    package: str
    package_ids: tuple[str, ...]
    labels: tuple[str, ...]
    more: bool = False

    @override
    def __str__(self) -> str:
        pairs = zip(self.package_ids, self.labels, strict=True)
        listed = ", ".join(f"{package_id} ({label})" for package_id, label in pairs)
        more = " and others" if self.more else ""
        return f"{self.package!r} can mean several packages; use the id of one: {listed}{more} (newest first)"


class PackageExists(ArtifactStoreError):
    """A package with this id exists already."""

    package_id: str
    template = "package {self.package_id} exists already; make a new id"


class PackageFinalizedAlready(ArtifactStoreError):
    """The package is finalized and cannot change."""

    package_id: str
    template = "package {self.package_id} is finalized and takes no more changes; create a new package"


class PackageGone(ArtifactStoreError):
    """The package was deleted or has expired, so its files cannot be read and it takes no changes.

    Attributes:
        package_id: the package.
        status: `deleted` or `expired`.
        at_us: the time when it went, in microseconds since 1970 UTC.
        by: the principal who deleted it, or who ran the rule that let it go.
        reason: the reason that this principal gave, or the rule.
    """

    package_id: str
    status: str
    at_us: int
    by: str
    reason: str

    @override
    def __str__(self) -> str:
        verb, rule = ("expired", "by rule ") if self.status == "expired" else ("was deleted", "")
        return (
            f"package {self.package_id} {verb} on {time_text(self.at_us)} by {self.by}: {rule}{self.reason}; "
            f"its files are gone, and `artifactstore package show {self.package_id}` shows its record"
        )


class PackageKept(ArtifactStoreError):
    """Something keeps the package, so it is not deleted and does not expire.

    Attributes:
        package_id: the package.
        reason: what keeps it, and how to end that.
    """

    package_id: str
    reason: str
    template = "package {self.package_id} is kept: {self.reason}"


class PackageIdNeeded(ArtifactStoreError):
    """The call takes only ids, because a name can mean another package tomorrow.

    Attributes:
        package: the text that is no id.
        package_id: the id of the package that it names now.
    """

    package: str
    package_id: str
    template = "name the package by its id; {self.package!r} is now package {self.package_id}"


class PackageChanged(ArtifactStoreError):
    """The package changed after its manifest was built and before it was finalized. Nothing was written; try again."""

    package_id: str
    expected_version: int
    version: int
    template = (
        "package {self.package_id} changed while it was being finalized "
        "(version {self.expected_version} became {self.version}); finalize it again when its ingests are done"
    )


class NotFinalized(ArtifactStoreError):
    """The package is open, and the call needs a finalized package."""

    package_id: str
    template = "package {self.package_id} is still open and has no manifest; finalize it first"


class MetadataKeyTaken(ArtifactStoreError):
    """The metadata of the package has this key, so no annotation can have it."""

    package_id: str
    key: str
    template = "the metadata of package {self.package_id} has {self.key!r} and cannot change; annotate with another key"


class AnnotationNotFound(ArtifactStoreError):
    """The package has no such annotation."""

    package_id: str
    key: str
    template = (
        "package {self.package_id} has no annotation {self.key!r}; "
        "`artifactstore package show {self.package_id}` shows those that it has"
    )


class AnnotationsChanged(ArtifactStoreError):
    """Annotations of the package changed since they were read. Nothing was written; read them and try again."""

    package_id: str
    keys: tuple[str, ...]

    @override
    def __str__(self) -> str:
        keys = ", ".join(self.keys)
        return (
            f"annotations of package {self.package_id} changed since they were read: {keys}; read them, and try again"
        )


class HoldNotFound(ArtifactStoreError):
    """There is no such hold, or it was released before."""

    hold_id: str
    template = "there is no hold {self.hold_id}; `artifactstore hold list` shows those that are"


class TagChanged(ArtifactStoreError):
    """The tag was moved or deleted since it was read. Nothing was written; read it and try again."""

    tag: str
    template = "tag {self.tag!r} changed since it was read; read it, and try again"


class TagNotFound(ArtifactStoreError):
    """There is no such tag."""

    tag: str
    template = "there is no tag {self.tag!r}; `artifactstore tag list` shows those that are"


class TagProtected(ArtifactStoreError):
    """The tag is protected: it can be neither moved nor deleted.

    Attributes:
        tag: the name of the tag.
        package_id: the package that it names.
    """

    tag: str
    package_id: str
    template = (
        "tag {self.tag!r} is protected and names package {self.package_id}; "
        "unprotect it first: `artifactstore tag set {self.tag} {self.package_id} --unprotect`"
    )


class PathTaken(ArtifactStoreError):
    """The package already has an entry at this path, or at a path that is equal under Unicode NFC."""

    package_id: str
    path: str
    existing: str

    @override
    def __str__(self) -> str:
        if self.path == self.existing:
            taken = f"package {self.package_id} has {self.path!r} already"
            return f"{taken}; ask for replace (`--replace`) to change it"
        return (
            f"{self.path!r} and {self.existing!r} are the same path under Unicode NFC; rename one of the two "
            f"(package {self.package_id})"
        )


class PathConflict(ArtifactStoreError):
    """A path would be a directory and something else at once."""

    package_id: str
    path: str
    existing: str
    template = (
        "{self.path!r} cannot stand beside {self.existing!r}: one of them would be a file and a directory at once "
        "(package {self.package_id})"
    )


class TooManyFiles(ArtifactStoreError):
    """The package would hold more entries than the setting `ARTIFACTSTORE_PACKAGE_FILES_MAX` allows."""

    package_id: str
    limit: int
    template = (
        "package {self.package_id} would hold more than {self.limit} files, links and empty directories; "
        "split it, or raise ARTIFACTSTORE_PACKAGE_FILES_MAX"
    )


class ObjectsNotStored(ArtifactStoreError):
    """The command refers to contents without a usable object. The store has none, and the command brings none.

    Attributes:
        path: the path of the first file with such a content.
        contents: the addresses of all such contents.
        next_places: the places to store the contents again, if the log knows them or the command brings them. The keys
            have never been used.
    """

    path: str
    contents: tuple[ContentAddress, ...]
    next_places: Mapping[ContentAddress, Place]

    @override
    def __str__(self) -> str:
        first, *others = self.contents
        more = f", and {len(others)} more contents," if others else ""
        return f"the content of {self.path!r} ({first}){more} is not in the store; ingest the file again"


class ProjectionDamaged(ArtifactStoreError):
    """The tables of the projection contradict each other, so the command cannot be judged."""

    what: str
    found: str
    expected: str
    template = (
        "the tables are damaged: {self.what} is {self.found} where the log makes it {self.expected}; "
        "run `artifactstore replay` to rebuild them"
    )
