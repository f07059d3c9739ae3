"""Purging: the command that destroys contents for good, the record that stays, and the report.

A purge is for leaked secrets and personal data. It needs no released hold and no expired retention, and nobody can undo
it: the bytes go, and the store never takes the content again.
"""

from typing import Final, override

from msgspec import Struct

from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, digest_length
from artifactstore_protocols.life_cycle import LifeCycleCommand
from artifactstore_protocols.moments import time_text
from artifactstore_protocols.names import check_name
from artifactstore_protocols.storage_errors import StorageError
from artifactstore_protocols.typed import check_fields

__all__ = [
    "PURGED_MAX",
    "ContentPurged",
    "PurgeContents",
    "PurgeReport",
    "PurgeUnconfirmed",
    "PurgedContent",
]

PURGED_MAX: Final = 256
"""The maximum number of contents that one command purges."""


class ContentPurged(StorageError):
    """The content was purged. Its bytes are destroyed, and the store does not take them again.

    Attributes:
        content_address: the address of the content.
        at_us: the time of the purge, in microseconds since 1970 UTC.
        by: the principal who purged it.
        reason: the reason that this principal gave.
        path: the path of the file that has it, for a file that was to be stored.
    """

    content_address: str
    at_us: int
    by: str
    reason: str
    path: str = ""

    @override
    def __str__(self) -> str:
        of_file, now = "", "it cannot be read any more"
        if self.path:
            of_file, now = f" of {self.path!r}", "the store does not take it again: leave the file out, or replace it"
        return (
            f"content {self.content_address}{of_file} was purged on {time_text(self.at_us)} "
            f"by {self.by}: {self.reason}; {now}"
        )


class PurgeUnconfirmed(ArtifactStoreError):
    """A purge was not confirmed. Nothing was changed.

    Attributes:
        contents: the addresses of the contents that it would destroy.
        files: the number of files with these contents, in packages that are not gone.
    """

    contents: tuple[str, ...]
    files: int

    @override
    def __str__(self) -> str:
        named = " ".join(f"--confirm {each}" for each in self.contents[:3])
        more = " and so on for the others" if len(self.contents) > 3 else ""  # noqa: PLR2004 - the first three are shown
        return (
            f"a purge destroys the content of {self.files} file{'' if self.files == 1 else 's'} for good, "
            "also in packages under a hold; "
            f"if you are sure, repeat it with {named}{more}"
        )


class PurgeContents(LifeCycleCommand, frozen=True):
    """A command that purges contents, whatever refers to them. Contents that are purged already are left out.

    Attributes:
        contents: the primary digests, 1 to 256 different ones.
        reason: why, in 1 to 200 printable characters. It stays in the log, so it must not repeat the secret.
    """

    contents: tuple[bytes, ...]
    reason: str

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < len(self.contents) <= PURGED_MAX:
            raise InvalidValue("digests", str(len(self.contents)), f"name 1 to {PURGED_MAX}")
        if len(set(self.contents)) != len(self.contents):
            raise InvalidValue("digests", str(len(self.contents)), "one of them stands there twice")
        for digest in self.contents:
            if len(digest) != digest_length(PRIMARY_ALGORITHM):
                raise InvalidValue("digest", digest.hex()[:80], f"it is no digest of {PRIMARY_ALGORITHM}")
        check_name("reason", self.reason)

    @override
    def asked(self) -> list[RecordValue]:
        return ["purge", self.reason, list[RecordValue](self.contents)]


class PurgedContent(Struct, frozen=True):
    """A content that was purged.

    Attributes:
        content_address: its address, which stays in the log and in the manifests that name it.
        size_bytes: its size.
        reason: the reason for the purge.
        purged_by: the principal.
        purged_at_us: the time, in microseconds since 1970 UTC.
        sequence: the sequence of the event.
    """

    content_address: str
    size_bytes: int
    reason: str
    purged_by: str
    purged_at_us: int
    sequence: int

    def error_at(self, path: str = "") -> ContentPurged:
        """Return the error for somebody who needs the content, for the file at a path if that is known."""
        return ContentPurged(self.content_address, self.purged_at_us, self.purged_by, self.reason, path)


class PurgeReport(Struct, frozen=True):
    """The result of a purge.

    Attributes:
        contents: the purged contents, those purged earlier too.
        files: the number of files with these contents, in packages that are not gone.
        deleted_objects: the number of objects whose bytes this call deleted in this store.
        deleted_bytes: their total size.
        backups: the directories of the backups that hold none of the contents any more.
        failures: what could not be done. A repeated call does the rest.
    """

    contents: tuple[PurgedContent, ...]
    files: int
    deleted_objects: int
    deleted_bytes: int
    backups: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
