"""Where a local backend's objects lie, and the few steps that put one there whole or not at all.

An object appears by renaming a finished, synced, read-only temp file: so a name is there with all of its
bytes or not at all, and two who put the same content replace it by itself.
"""

import os
import stat
from dataclasses import dataclass

from artifactstore.backends.scratch import ScratchSpace
from artifactstore.target_limits import TargetLimits
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.storage import StorageOutcome, StorageReceipt, check_object_key

__all__ = ["LocalFiles", "seal", "write_all"]

_READ_ONLY = 0o444


def write_all(fd: int, view: memoryview) -> None:
    """Write every byte; the operating system may take fewer at a time."""
    while view:
        view = view[os.write(fd, view) :]


def seal(fd: int, limits: TargetLimits | None) -> None:
    """Make a finished temp file read-only, as objects are."""
    try:
        os.fchmod(fd, _READ_ONLY)
    except OSError as error:
        if limits is None or not limits.excuse("modes", error):
            raise


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """Names and moves below one root.

    Attributes:
        backend_id: for receipts and errors.
        root: absolute path of the directory that holds everything.
        scratch: temp files in the same file system, so that they can be renamed into place.
        limits: notes what the file system cannot do, for a backup; None for a store, which must have all of it.
    """

    backend_id: str
    root: str
    scratch: ScratchSpace
    limits: TargetLimits | None = None

    def path_of(self, object_key: str) -> str:
        """Path of a key.

        Raises:
            KeyRefused: it is not a key.
        """
        check_object_key(object_key)
        return f"{self.root}/{object_key}"

    def size_of(self, path: str) -> int | None:
        """Bytes of an object; None if there is no ordinary file of that name."""
        try:
            found = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - plain strings on the hot way
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def outcome_of(self, path: str, size_bytes: int, *, rewrite: bool) -> StorageOutcome:
        """What putting an object of this size under this path now amounts to."""
        present = self.size_of(path)
        if rewrite:
            return "rewritten"
        if present is None:
            return "stored"
        return "deduplicated" if present == size_bytes else "rewritten"

    def place(self, temp_path: str, path: str) -> None:
        """Rename a finished temp file into place; its directories are made when they are missed."""
        try:
            os.replace(temp_path, path)  # noqa: PTH105 - plain strings on the hot way
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - likewise
            os.replace(temp_path, path)  # noqa: PTH105 - likewise

    def directories_of(self, object_key: str) -> list[str]:
        """Every directory whose entries lead to an object, the root first."""
        chain = [self.root]
        for part in object_key.split("/")[:-1]:
            chain.append(f"{chain[-1]}/{part}")
        return chain

    def receipt(
        self, object_key: str, address: ContentAddress, size_bytes: int, outcome: StorageOutcome
    ) -> StorageReceipt:
        """Acknowledge an object that is durable; bytes on a local disk can always be read at once."""
        return StorageReceipt(self.backend_id, object_key, address, size_bytes, outcome, "immediate", "not_required")
