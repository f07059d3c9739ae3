"""Types of file systems, by the magic numbers of statfs(2)."""

import ctypes
import os
from typing import Final

__all__ = ["filesystem_type", "network_filesystem"]

_STATFS_BYTES: Final = 256  # larger than the structure on any platform; the type is its first field
_TYPE_MASK: Final = 0xFFFF_FFFF
_NETWORK: Final = {
    0x00006969: "NFS",
    0x0000517B: "SMB",
    0xFE534D42: "SMB",
    0xFF534D42: "CIFS",
    0x01021997: "9P",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
}


def filesystem_type(fd: int) -> int | None:
    """Return the magic number of a descriptor's file system; None if the kernel does not report it."""
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None).fstatfs(fd, answer) != 0:
        return None
    return ctypes.c_ulong.from_buffer(answer).value & _TYPE_MASK


def network_filesystem(directory: str) -> str | None:
    """Return the name of the network file system that a directory is on; None if it is on no known one.

    Raises:
        OSError: the directory cannot be opened.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _NETWORK.get(filesystem_type(fd) or 0)
    finally:
        os.close(fd)
