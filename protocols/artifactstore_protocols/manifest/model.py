"""The manifest as a value: what a finalised package is, complete and checked.

A `Manifest` that breaks a rule cannot be made: its files are sorted and form a tree, its receipts cover
exactly the files' contents, its totals and its tree digest are those of its files. `Manifest.build` derives
what can be derived from facts in any order; the constructor takes only what is right already, which is what
decoding needs.

Which bytes a manifest has is left to `codec`; limits on the number of files are left to the package rules.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Final, Self

from artifactstore_protocols.identity import Digest
from artifactstore_protocols.manifest.parts import (
    ManifestFile,
    ManifestInvalid,
    ManifestPackage,
    ManifestReceipt,
    Producer,
    Provenance,
    RetentionSummary,
)
from artifactstore_protocols.manifest.tree import digest_text, tree_digest
from artifactstore_protocols.paths import PathRefused

__all__ = ["MANIFEST_VERSION", "Manifest"]

MANIFEST_VERSION: Final = 1
"""The version of the manifest that this release writes and reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a finalised package is. Its canonical bytes are the package's identity.

    Attributes:
        manifest_version: 1.
        package: which package this is.
        files: all files, in ascending order of the UTF-8 bytes of their paths.
        storage_receipts: one for each distinct content, in ascending order of content addresses.
        retention_summary: how long it is kept.
        provenance: who made it, and what its files add up to.
    """

    manifest_version: int = MANIFEST_VERSION
    package: ManifestPackage
    files: tuple[ManifestFile, ...]
    storage_receipts: tuple[ManifestReceipt, ...]
    retention_summary: RetentionSummary
    provenance: Provenance

    def __post_init__(self) -> None:
        if type(self.manifest_version) is not int or self.manifest_version != MANIFEST_VERSION:
            raise ManifestInvalid("manifest_version", f"{self.manifest_version} is not {MANIFEST_VERSION}")
        self._check_order()
        self._check_contents()
        self._check_expiry()
        self._check_totals()

    @classmethod
    def build(
        cls,
        *,
        package: ManifestPackage,
        files: Iterable[ManifestFile],
        storage_receipts: Iterable[ManifestReceipt],
        retention_class: str,
        retention_duration_us: int | None,
        producer: Producer,
        actor: str,
    ) -> Self:
        """Make a manifest from facts in any order; equal receipts count once, the rest is derived.

        Raises:
            ManifestInvalid: the facts contradict each other.
        """
        ordered = tuple(sorted(files, key=attrgetter("path")))
        expires_at_us = _expiry_us(package, retention_duration_us)
        return cls(
            package=package,
            files=ordered,
            storage_receipts=tuple(sorted(set(storage_receipts), key=_receipt_order)),
            retention_summary=RetentionSummary(retention_class, retention_duration_us, expires_at_us),
            provenance=Provenance(producer, actor, *_totals(ordered)),
        )

    def _check_order(self) -> None:
        for index, (left, right) in enumerate(pairwise(self.files), 1):
            if left.path > right.path:
                raise ManifestInvalid(f"files[{index}].path", f"{right.path!r} belongs before {left.path!r}")
        for index, (before, after) in enumerate(pairwise(map(_receipt_order, self.storage_receipts)), 1):
            if before >= after:
                reason = "there is more than one for this content" if before == after else "it belongs earlier"
                raise ManifestInvalid(f"storage_receipts[{index}].content_address", reason)

    def _check_contents(self) -> None:
        contents: dict[Digest, ManifestFile] = {}
        for index, file in enumerate(self.files):
            known = contents.setdefault(file.digest, file)
            if (known.size_bytes, known.sha256) != (file.size_bytes, file.sha256):
                reason = f"size or SHA-256 differ from those of {known.path!r}, which has the same content"
                raise ManifestInvalid(f"files[{index}]", reason)
        for index, receipt in enumerate(self.storage_receipts):
            where = f"storage_receipts[{index}]"
            if receipt.content_address.digest not in contents:
                raise ManifestInvalid(f"{where}.content_address", "no file has this content")
            file = contents.pop(receipt.content_address.digest)
            if file.size_bytes != receipt.size_bytes:
                reason = f"{file.path!r} has this content and {file.size_bytes} bytes"
                raise ManifestInvalid(f"{where}.size_bytes", reason)
        for file in contents.values():
            raise ManifestInvalid("storage_receipts", f"none is for the content of {file.path!r}")

    def _check_expiry(self) -> None:
        expected_us = _expiry_us(self.package, self.retention_summary.duration_us)
        if self.retention_summary.expires_at_us != expected_us:
            reason = f"finalisation and duration make it {expected_us}"
            raise ManifestInvalid("retention_summary.expires_at_us", reason)

    def _check_totals(self) -> None:
        stated = (self.provenance.tree_digest, self.provenance.file_count, self.provenance.total_bytes)
        names = ("tree_digest", "file_count", "total_bytes")
        for name, value, expected in zip(names, stated, _totals(self.files), strict=True):
            if value != expected:
                raise ManifestInvalid(f"provenance.{name}", f"the files make it {expected}, not {value}")


def _receipt_order(receipt: ManifestReceipt) -> str:
    return digest_text(receipt.content_address.digest)


def _expiry_us(package: ManifestPackage, duration_us: int | None) -> int | None:
    return None if duration_us is None else package.finalized_at_us + duration_us


def _totals(files: Sequence[ManifestFile]) -> tuple[str, int, int]:
    try:
        digest = tree_digest(files)
    except PathRefused as error:
        raise ManifestInvalid("files", str(error)) from error
    return digest_text(digest), len(files), sum(file.size_bytes for file in files)
