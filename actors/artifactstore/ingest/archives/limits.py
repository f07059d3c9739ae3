"""Limits on what an archive unpacks to: a small archive can hold more than any disk."""

from typing import Final

from artifactstore.ingest.archives.refusals import ArchiveRefused

__all__ = ["UNPACKED_BYTES_MAX", "Meter"]

UNPACKED_BYTES_MAX: Final = 1 << 40
"""The default for how many bytes are unpacked: 1 TiB. Directories for temporary files are smaller as a rule."""

_RATIO_MAX: Final = 500
"""The maximum ratio of unpacked to packed bytes. Logs and text reach 10 to 100; the most that deflate can reach, with
zeros only, is 1,032."""

_FREE_BYTES: Final = 256 << 20
"""The number of unpacked bytes from which on the ratio counts: what a disk has left, and a file of zeros may begin an
archive that is packed less later."""

_INSTEAD: Final = "if you trust it, unpack it yourself and ingest the directory"


class Meter:
    """Counts the bytes of one archive before and after unpacking.

    Args:
        archive: the name of the archive, for errors.
        bytes_max: the maximum number of unpacked bytes.
    """

    def __init__(self, archive: str, bytes_max: int) -> None:
        self._archive = archive
        self.bytes_max = bytes_max
        self._packed = self._unpacked = 0

    def count(self, *, packed: int = 0, unpacked: int = 0) -> None:
        """Add numbers of bytes.

        Raises:
            ArchiveRefused: there are too many unpacked bytes, by themselves or for so few packed bytes.
        """
        self._packed += packed
        self._unpacked += unpacked
        if self._unpacked > self.bytes_max:
            many = f"it unpacks to more than {self.bytes_max} bytes; {_INSTEAD}"
            raise ArchiveRefused(self._archive, "", many)
        if self._unpacked > max(_FREE_BYTES, _RATIO_MAX * self._packed):
            large = f"it unpacks to more than {_RATIO_MAX} times its size, as archives do that fill disks; {_INSTEAD}"
            raise ArchiveRefused(self._archive, "", large)
