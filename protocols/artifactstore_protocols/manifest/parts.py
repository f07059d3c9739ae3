"""The parts of a manifest as values: each one checks what it can check alone.

How the parts agree with one another is for `model`, which puts them together.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, override

from artifactstore_protocols.canonical import INTEGER_MAX
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.identity import ContentAddress, ContentDigests, Digest
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.media_types import check_media_type
from artifactstore_protocols.object_keys import check_object_key
from artifactstore_protocols.paths import PathRefused, check_path
from artifactstore_protocols.storage_errors import KeyRefused

__all__ = [
    "LABEL_BYTES_MAX",
    "ManifestFile",
    "ManifestInvalid",
    "ManifestPackage",
    "ManifestReceipt",
    "Producer",
    "Provenance",
    "RetentionSummary",
]

LABEL_BYTES_MAX: Final = 1024
"""UTF-8 bytes in a name, an actor, a metadata key and the like."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(eq=False)
class ManifestInvalid(ArtifactStoreError):
    """A manifest that breaks a rule.

    Attributes:
        where: the offending field, such as `files[3].path`; empty for the manifest as a whole.
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
        return ManifestInvalid(f"{outer}.{self.where}" if self.where else outer, self.reason)


def _check_label(where: str, text: str) -> None:
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


def _check_flag(where: str, flag: object) -> None:
    if type(flag) is not bool:
        raise ManifestInvalid(where, f"{flag!r} is not true or false")


@dataclass(frozen=True, slots=True)
class ManifestPackage:
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
    metadata: Mapping[str, str] = field(hash=False)

    def __post_init__(self) -> None:
        try:
            check_id("package id", self.package_id)
        except InvalidValue as error:
            raise ManifestInvalid("package_id", error.reason) from error
        _check_label("name", self.name)
        _check_count("created_at_us", self.created_at_us)
        _check_count("finalized_at_us", self.finalized_at_us)
        for key, text in self.metadata.items():
            _check_label("metadata", key)
            _utf8(f"metadata.{key}", text)
        object.__setattr__(self, "metadata", MappingProxyType(dict(sorted(self.metadata.items()))))


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file of the package.

    Attributes:
        path: relative path, as `paths.check_path` accepts it.
        size_bytes: length of the content.
        executable: whether the file's owner may execute it.
        media_type: `type/subtype`, as `media_types.check_media_type` accepts it.
        digest: primary digest of the content; the content's address.
        sha256: SHA-256 of the content.
    """

    path: str
    size_bytes: int
    executable: bool
    media_type: str
    digest: Digest
    sha256: Digest

    def __post_init__(self) -> None:
        try:
            check_path(self.path)
        except PathRefused as error:
            raise ManifestInvalid("path", str(error)) from error
        _check_count("size_bytes", self.size_bytes)
        _check_flag("executable", self.executable)
        try:
            check_media_type(self.media_type)
        except InvalidValue as error:
            raise ManifestInvalid("media_type", str(error)) from error
        try:
            ContentDigests(self.digest, self.sha256)
        except InvalidValue as error:
            raise ManifestInvalid("sha256", str(error)) from error


@dataclass(frozen=True, slots=True)
class ManifestReceipt:
    """Where one distinct content was stored when the package was sealed.

    Attributes:
        content_address: which content.
        backend_id: in which backend.
        object_key: under which key, as `object_keys.check_object_key` accepts it.
        size_bytes: length of the content.
    """

    content_address: ContentAddress
    backend_id: str
    object_key: str
    size_bytes: int

    def __post_init__(self) -> None:
        _check_label("backend_id", self.backend_id)
        try:
            check_object_key(self.object_key)
        except KeyRefused as error:
            raise ManifestInvalid("object_key", str(error)) from error
        _check_count("size_bytes", self.size_bytes)


@dataclass(frozen=True, slots=True)
class RetentionSummary:
    """How long the package is kept.

    Attributes:
        retention_class: name of the class it was created with.
        duration_us: microseconds from finalisation to expiry; None never expires.
        expires_at_us: microseconds since 1970 UTC; None never expires.
    """

    retention_class: str
    duration_us: int | None
    expires_at_us: int | None

    def __post_init__(self) -> None:
        _check_label("retention_class", self.retention_class)
        if self.duration_us is not None:
            _check_count("duration_us", self.duration_us)
        if self.expires_at_us is not None:
            _check_count("expires_at_us", self.expires_at_us)
        if (self.duration_us is None) is not (self.expires_at_us is None):
            raise ManifestInvalid("expires_at_us", "it is null exactly if the duration is")


@dataclass(frozen=True, slots=True)
class Producer:
    """The tool that wrote the manifest."""

    name: str
    version: str

    def __post_init__(self) -> None:
        _check_label("name", self.name)
        _check_label("version", self.version)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who made the package with what, and what the files add up to.

    Attributes:
        producer: the tool.
        actor: on whose behalf it worked.
        tree_digest: `blake3:<hex>` of the files' tree, see `manifest.tree`.
        file_count: number of files.
        total_bytes: sum of the files' sizes; equal contents count each time.
    """

    producer: Producer
    actor: str
    tree_digest: str
    file_count: int
    total_bytes: int

    def __post_init__(self) -> None:
        _check_label("actor", self.actor)
        _check_label("tree_digest", self.tree_digest)
        _check_count("file_count", self.file_count)
        _check_count("total_bytes", self.total_bytes)
