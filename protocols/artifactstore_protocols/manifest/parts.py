"""The parts of a manifest, as values that check their own fields.

`model.Manifest` combines the parts and checks that they agree with each other.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Never, override

from msgspec import Struct
from msgspec.structs import force_setattr

from artifactstore_protocols.canonical import INTEGER_MAX
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.metadata import Metadata, check_metadata

__all__ = [
    "LABEL_BYTES_MAX",
    "ManifestInvalid",
    "ManifestPackage",
    "ManifestReceipt",
    "Producer",
    "Provenance",
    "RetentionSummary",
    "check_label",
    "refuse",
]

LABEL_BYTES_MAX: Final = 1024
"""The maximum length of a label, such as a name, a principal or a metadata key, in UTF-8 bytes."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class ManifestInvalid(ArtifactStoreError):
    """The manifest breaks a rule.

    Attributes:
        where: the invalid field, such as `entries[3].path`; empty for the manifest as a whole.
        reason: what is wrong with the field, and what is allowed.
    """

    where: str
    reason: str

    @override
    def __str__(self) -> str:
        at = f" at {self.where}" if self.where else ""
        return f"invalid manifest{at}: {self.reason}"

    def within(self, outer: str) -> "ManifestInvalid":
        """Return the same error, with the name of the enclosing field before `where`."""
        dot = "." if self.where and not self.where.startswith("[") else ""
        return ManifestInvalid(f"{outer}{dot}{self.where}", self.reason)


def refuse(where: str, reason: str) -> Never:
    """Raise `ManifestInvalid`."""
    raise ManifestInvalid(where, reason)


def check_label(where: str, text: str) -> None:
    """Refuse a label that is empty or too long, or that has a control character or a lone surrogate.

    Raises:
        ManifestInvalid: the label is not allowed.
    """
    size_bytes = len(_utf8(where, text))
    if not 1 <= size_bytes <= LABEL_BYTES_MAX:
        raise ManifestInvalid(where, f"it has {size_bytes} bytes of UTF-8, and 1 to {LABEL_BYTES_MAX} may be")
    if _CONTROL.search(text) is not None:
        raise ManifestInvalid(where, f"{text[:80]!r} holds a control character")


def _utf8(where: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ManifestInvalid(where, f"{text[:80]!r} holds a lone surrogate, unknown to UTF-8") from None


def _check_count(where: str, number: object) -> None:
    # The type must match exactly: a bool is an int in Python, but has another type in CBOR.
    if type(number) is not int or not 0 <= number <= INTEGER_MAX:
        raise ManifestInvalid(where, f"{number!r} is not an integer from 0 to {INTEGER_MAX}")


class ManifestPackage(Struct, frozen=True):
    """The id, name, times and metadata of a package.

    Attributes:
        package_id: the package's UUID, in lower-case text form.
        name: the package's label.
        created_at_us: the time of creation, in microseconds since 1970 UTC.
        finalized_at_us: the time of finalization, likewise. It can be before the creation, since clocks can step.
        metadata: values by key, in ascending order of the keys; see `metadata`.
        schema: the schema that the metadata fits, as `NAME@VERSION`; None for none.
        parents: the manifest digests of the packages that this one is made from, by their ids, in ascending order.
    """

    package_id: str
    name: str
    created_at_us: int
    finalized_at_us: int
    metadata: Metadata
    schema: str | None = None
    parents: Mapping[str, str] = MappingProxyType({})

    def __post_init__(self) -> None:
        try:
            check_id("package id", self.package_id)
        except InvalidValue as error:
            raise ManifestInvalid("package_id", error.reason) from error
        check_label("name", self.name)
        _check_count("created_at_us", self.created_at_us)
        _check_count("finalized_at_us", self.finalized_at_us)
        try:
            check_metadata(self.metadata)
        except InvalidValue as error:
            raise ManifestInvalid("metadata", f"{error.value!r}: {error.reason}") from error
        if self.schema is not None:
            check_label("schema", self.schema)
        for package_id, digest in self.parents.items():
            check_label("parents", package_id)
            check_label(f"parents.{package_id}", digest)
        force_setattr(self, "parents", MappingProxyType(dict(sorted(self.parents.items()))))
        force_setattr(self, "metadata", MappingProxyType(dict(sorted(self.metadata.items()))))

    @override
    def __hash__(self) -> int:
        return self.package_id.__hash__()


class ManifestReceipt(NamedTuple):
    """The place of one distinct content when the package was finalized. Like an entry, it is a row of the manifest.

    Attributes:
        digest: the primary digest of the content.
        backend_id: the backend that stored the content.
        object_key: the content's key in the backend; None for the content's first key, see `object_keys.first_key`.
    """

    digest: bytes
    backend_id: str
    object_key: str | None


class RetentionSummary(Struct, frozen=True):
    """The retention of the package.

    Attributes:
        retention_class: the name of the class that the package was created with.
        duration_us: the time from finalization to expiry, in microseconds; None if the package never expires.
        expires_at_us: the time of expiry, in microseconds since 1970 UTC; None if the package never expires.
    """

    retention_class: str
    duration_us: int | None
    expires_at_us: int | None

    def __post_init__(self) -> None:
        check_label("retention_class", self.retention_class)
        if self.duration_us is not None:
            _check_count("duration_us", self.duration_us)
        if self.expires_at_us is not None:
            _check_count("expires_at_us", self.expires_at_us)
        if (self.duration_us is None) is not (self.expires_at_us is None):
            raise ManifestInvalid("expires_at_us", "it is null exactly if the duration is")


class Producer(Struct, frozen=True):
    """The tool that wrote the manifest."""

    name: str
    version: str

    def __post_init__(self) -> None:
        check_label("name", self.name)
        check_label("version", self.version)


class Provenance(Struct, frozen=True):
    """The principal and the tool that finalized the package, and the totals of its entries.

    Attributes:
        producer: the tool that wrote the manifest.
        principal: the principal who asked the tool for it.
        tree_digest: the tree digest of the entries, as `sha256:<hex>`; see `manifest.tree`.
        file_count: the number of files.
        link_count: the number of symbolic links.
        directory_count: the number of empty directories.
        total_bytes: the sum of the sizes of all files, including files with equal contents.
    """

    producer: Producer
    principal: str
    tree_digest: str
    file_count: int
    link_count: int
    directory_count: int
    total_bytes: int

    def __post_init__(self) -> None:
        check_label("principal", self.principal)
        check_label("tree_digest", self.tree_digest)
        _check_count("file_count", self.file_count)
        _check_count("link_count", self.link_count)
        _check_count("directory_count", self.directory_count)
        _check_count("total_bytes", self.total_bytes)
