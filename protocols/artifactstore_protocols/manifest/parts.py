"""The parts of a manifest as values: each one checks what it can check alone.

How the parts agree with one another is for `model`, which puts them together.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, Never, override

from msgspec import Struct
from msgspec.structs import force_setattr

from artifactstore_protocols.canonical import INTEGER_MAX
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.ids import check_id

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
"""UTF-8 bytes in a name, an actor, a metadata key and the like."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(eq=False)
class ManifestInvalid(ArtifactStoreError):
    """A manifest that breaks a rule.

    Attributes:
        where: the offending field, such as `entries[3].path`; empty for the manifest as a whole.
        reason: what is wrong with it, and what would be right.
    """

    where: str
    reason: str

    @override
    def __str__(self) -> str:
        at = f" at {self.where}" if self.where else ""
        return f"invalid manifest{at}: {self.reason}"

    def within(self, outer: str) -> "ManifestInvalid":
        """The same error, seen from the field that encloses the offending one."""
        dot = "." if self.where and not self.where.startswith("[") else ""
        return ManifestInvalid(f"{outer}{dot}{self.where}", self.reason)


def refuse(where: str, reason: str) -> Never:
    """Raise `ManifestInvalid`."""
    raise ManifestInvalid(where, reason)


def check_label(where: str, text: str) -> None:
    """Refuse a name that is empty, too long, or holds a control character or a lone surrogate."""
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
    # An exact match, because a bool is an int to Python and another type to CBOR.
    if type(number) is not int or not 0 <= number <= INTEGER_MAX:
        raise ManifestInvalid(where, f"{number!r} is not an integer from 0 to {INTEGER_MAX}")


class ManifestPackage(Struct, frozen=True):
    """Which package this is.

    Attributes:
        package_id: UUID in lower-case text form.
        name: the label that people gave it.
        created_at_us: when it was opened, microseconds since 1970 UTC.
        finalized_at_us: when it was sealed, likewise; clocks may step, so it need not be later.
        metadata: text by text, held in ascending order of the keys.
    """

    package_id: str
    name: str
    created_at_us: int
    finalized_at_us: int
    metadata: Mapping[str, str]

    def __post_init__(self) -> None:
        try:
            check_id("package id", self.package_id)
        except InvalidValue as error:
            raise ManifestInvalid("package_id", error.reason) from error
        check_label("name", self.name)
        _check_count("created_at_us", self.created_at_us)
        _check_count("finalized_at_us", self.finalized_at_us)
        for key, text in self.metadata.items():
            check_label("metadata", key)
            _utf8(f"metadata.{key}", text)
        force_setattr(self, "metadata", MappingProxyType(dict(sorted(self.metadata.items()))))

    @override
    def __hash__(self) -> int:
        return self.package_id.__hash__()


class ManifestReceipt(NamedTuple):
    """Where one distinct content was stored when the package was finalized: a row of the manifest, as entries are.

    Attributes:
        digest: primary digest of the content.
        backend_id: in which backend.
        object_key: under which key; None under the content's first key, see `object_keys.first_key`.
    """

    digest: bytes
    backend_id: str
    object_key: str | None


class RetentionSummary(Struct, frozen=True):
    """How long the package is kept.

    Attributes:
        retention_class: name of the class it was created with.
        duration_us: microseconds from finalization to expiry; None never expires.
        expires_at_us: microseconds since 1970 UTC; None never expires.
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
    """Who made the package with what, and what the entries add up to.

    Attributes:
        producer: the tool.
        actor: on whose behalf it worked.
        tree_digest: `sha256:<hex>` of the entries, see `manifest.tree`.
        file_count: number of files.
        link_count: number of symbolic links.
        directory_count: number of empty directories.
        total_bytes: sum of the files' sizes; equal contents count each time.
    """

    producer: Producer
    actor: str
    tree_digest: str
    file_count: int
    link_count: int
    directory_count: int
    total_bytes: int

    def __post_init__(self) -> None:
        check_label("actor", self.actor)
        check_label("tree_digest", self.tree_digest)
        _check_count("file_count", self.file_count)
        _check_count("link_count", self.link_count)
        _check_count("directory_count", self.directory_count)
        _check_count("total_bytes", self.total_bytes)
