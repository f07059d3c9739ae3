"""The manifest as a value: a complete, checked description of a finalized package.

A `Manifest` that breaks a rule cannot be made: its entries are a tree in tree order, its receipts cover exactly the
contents of its files, and its totals and tree digest match its entries. `Manifest.build` takes its parts in any order
and derives the rest. The constructor, which decoding uses, accepts only values that are already correct.

`codec` encodes a manifest; the package rules limit the number of entries.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from functools import cache
from itertools import pairwise
from operator import attrgetter
from typing import Final

from msgspec import Struct
from msgspec.structs import force_setattr

from artifactstore_protocols.identity import PRIMARY_ALGORITHM
from artifactstore_protocols.manifest.entries import Entry, FileEntry, check_entries
from artifactstore_protocols.manifest.parts import (
    ManifestInvalid,
    ManifestPackage,
    ManifestReceipt,
    Producer,
    Provenance,
    RetentionSummary,
    check_label,
    refuse,
)
from artifactstore_protocols.manifest.tree import tree_digest
from artifactstore_protocols.object_keys import check_object_key, first_key_of
from artifactstore_protocols.paths import tree_order
from artifactstore_protocols.storage_errors import KeyRefused

__all__ = ["MANIFEST_VERSION", "Manifest"]

MANIFEST_VERSION: Final = 1
"""The version of the manifest that this release writes and reads."""


class Manifest(Struct, frozen=True, kw_only=True):
    """The description of a finalized package. Its canonical bytes are the package's identity.

    Attributes:
        manifest_version: 1.
        digest_algorithm: the name of the algorithm of all primary digests below.
        package: the id, name, times and metadata of the package.
        entries: files, links and empty directories, in the order of `paths.tree_order`.
        storage_receipts: one receipt for each distinct content, in ascending order of digests.
        retention_summary: how long the package is kept.
        provenance: who made the package, and the totals of its entries.
    """

    manifest_version: int = MANIFEST_VERSION
    digest_algorithm: str
    package: ManifestPackage
    entries: tuple[Entry, ...]
    storage_receipts: tuple[ManifestReceipt, ...]
    retention_summary: RetentionSummary
    provenance: Provenance

    def __post_init__(self) -> None:
        if type(self.manifest_version) is not int or self.manifest_version != MANIFEST_VERSION:
            raise ManifestInvalid("manifest_version", f"{self.manifest_version} is not {MANIFEST_VERSION}")
        check_entries(self.entries, self.digest_algorithm)
        self._check_receipts()
        self._check_contents()
        self._check_expiry()
        self._check_totals()

    @staticmethod
    def build(
        *,
        package: ManifestPackage,
        entries: Iterable[Entry],
        storage_receipts: Iterable[ManifestReceipt],
        retention_class: str,
        retention_duration_us: int | None,
        producer: Producer,
        principal: str,
        digest_algorithm: str = PRIMARY_ALGORITHM,
    ) -> "Manifest":
        """Build a manifest from parts in any order; equal receipts count once, and the rest is derived.

        A receipt may name the content's first key; the manifest holds None instead.

        Raises:
            ManifestInvalid: the parts contradict each other.
        """
        ordered = tuple(sorted(entries, key=lambda entry: tree_order(entry.path)))
        check_entries(ordered, digest_algorithm)
        receipts = {_shortest(digest_algorithm, receipt) for receipt in storage_receipts}
        expires_at_us = _expiry_us(package, retention_duration_us)
        built = copy(_empty_manifest())  # skips `__post_init__`, which would derive the totals again
        for name, value in {
            "manifest_version": MANIFEST_VERSION,
            "digest_algorithm": digest_algorithm,
            "package": package,
            "entries": ordered,
            "storage_receipts": tuple(sorted(receipts, key=attrgetter("digest"))),
            "retention_summary": RetentionSummary(retention_class, retention_duration_us, expires_at_us),
            "provenance": Provenance(producer, principal, *_totals(digest_algorithm, ordered)),
        }.items():
            force_setattr(built, name, value)
        built._check_receipts()  # noqa: SLF001 - its own class
        built._check_contents()  # noqa: SLF001 - its own class
        return built

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """The entries that are files."""
        return tuple(entry for entry in self.entries if type(entry) is FileEntry)

    def content_address(self, entry: FileEntry | ManifestReceipt) -> str:
        """Return the address of an entry's or a receipt's content, as text."""
        return f"{self.digest_algorithm}:{entry.digest.hex()}"

    def object_key(self, receipt: ManifestReceipt) -> str:
        """Return the key of a receipt, also if it is the content's first key."""
        return receipt.object_key or first_key_of(self.digest_algorithm, receipt.digest.hex())

    def _check_receipts(self) -> None:
        backends = set[str]()
        for index, receipt in enumerate(self.storage_receipts):
            try:
                if type(receipt.digest) is not bytes:
                    refuse("digest", "expected a byte string")
                if type(receipt.backend_id) is not str:
                    refuse("backend_id", "expected text")
                if receipt.backend_id not in backends:
                    check_label("backend_id", receipt.backend_id)
                    backends.add(receipt.backend_id)
                if receipt.object_key is not None:
                    if type(receipt.object_key) is not str:
                        refuse("object_key", "expected text or null")
                    check_object_key(receipt.object_key)
                    if receipt.object_key == first_key_of(self.digest_algorithm, receipt.digest.hex()):
                        refuse("object_key", "it is null where it is the content's first key")
            except KeyRefused as error:
                raise ManifestInvalid(f"storage_receipts[{index}].object_key", str(error)) from error
            except ManifestInvalid as error:
                raise error.within(f"storage_receipts[{index}]") from error.__cause__
        for index, (before, after) in enumerate(pairwise(self.storage_receipts), 1):
            if before.digest >= after.digest:
                same = before.digest == after.digest
                reason = "there is more than one for this content" if same else "it belongs earlier"
                raise ManifestInvalid(f"storage_receipts[{index}].digest", reason)

    def _check_contents(self) -> None:
        contents: dict[bytes, FileEntry] = {}
        for index, entry in enumerate(self.entries):
            if type(entry) is not FileEntry:
                continue
            known = contents.setdefault(entry.digest, entry)
            if known.size_bytes != entry.size_bytes or known.sha256 != entry.sha256:
                reason = f"size or SHA-256 differ from those of {known.path!r}, which has the same content"
                raise ManifestInvalid(f"entries[{index}]", reason)
        for index, receipt in enumerate(self.storage_receipts):
            if contents.pop(receipt.digest, None) is None:
                raise ManifestInvalid(f"storage_receipts[{index}].digest", "no file has this content")
        for entry in contents.values():
            raise ManifestInvalid("storage_receipts", f"none is for the content of {entry.path!r}")

    def _check_expiry(self) -> None:
        expected_us = _expiry_us(self.package, self.retention_summary.duration_us)
        if self.retention_summary.expires_at_us != expected_us:
            reason = f"finalization and duration make it {expected_us}"
            raise ManifestInvalid("retention_summary.expires_at_us", reason)

    def _check_totals(self) -> None:
        said = self.provenance
        stated = (said.tree_digest, said.file_count, said.link_count, said.directory_count, said.total_bytes)
        names = ("tree_digest", "file_count", "link_count", "directory_count", "total_bytes")
        totals = _totals(self.digest_algorithm, self.entries)
        for name, value, expected in zip(names, stated, totals, strict=True):
            if value != expected:
                raise ManifestInvalid(f"provenance.{name}", f"the entries make it {expected}, not {value}")


def _expiry_us(package: ManifestPackage, duration_us: int | None) -> int | None:
    return None if duration_us is None else package.finalized_at_us + duration_us


def _shortest(digest_algorithm: str, receipt: ManifestReceipt) -> ManifestReceipt:
    if receipt.object_key is not None and receipt.object_key == first_key_of(digest_algorithm, receipt.digest.hex()):
        return ManifestReceipt(receipt.digest, receipt.backend_id, None)
    return receipt


@cache
def _empty_manifest() -> Manifest:
    return Manifest(
        manifest_version=MANIFEST_VERSION,
        digest_algorithm=PRIMARY_ALGORITHM,
        package=ManifestPackage("00000000-0000-7000-8000-000000000000", "empty", 0, 0, {}),
        entries=(),
        storage_receipts=(),
        retention_summary=RetentionSummary("permanent", None, None),
        provenance=Provenance(Producer("artifactstore", "0"), "nobody", *_totals(PRIMARY_ALGORITHM, ())),
    )


def _totals(digest_algorithm: str, entries: Sequence[Entry]) -> tuple[str, int, int, int, int]:
    kinds = [entry.kind for entry in entries]
    digest = tree_digest(entries, digest_algorithm)
    return (
        f"{digest.algorithm}:{digest.hex}",
        kinds.count("file"),
        kinds.count("link"),
        kinds.count("directory"),
        sum(entry.size_bytes for entry in entries if type(entry) is FileEntry),
    )
