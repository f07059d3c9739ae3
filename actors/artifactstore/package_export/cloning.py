"""Copies of whole objects that share their blocks with the object: reflinks of XFS, btrfs and others.

A reflink takes neither time nor space, and a later write to either file changes the other one in no way. A hard link
would: its user could change stored bytes. Where the file system cannot do it, the bytes are copied as always. Every
byte of the new file is read and compared with the content address. Where it differs, nothing of it is kept, and the
object is read as always, which says what is wrong with it.
"""

import fcntl
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from artifactstore_protocols.identity import ContentAddress, new_hasher
from artifactstore_protocols.storage import HeldFile

__all__ = ["OpenFileOf", "clone_checked", "reflink"]

type OpenFileOf = Callable[[str], Awaitable[HeldFile | None]]
"""Opens the file that holds exactly the object of a content address; None if there is no such file."""

_CHUNK_BYTES: Final = 8 << 20


def reflink(source: int, target: int) -> None:
    """Give an empty file the blocks of another one.

    Raises:
        OSError: the file system does not support this, or the files are on different ones.
    """
    fcntl.ioctl(target, fcntl.FICLONE, source)


def clone_checked(
    source: HeldFile, target: int, content_address: str, size_bytes: int, check_cancelled: Callable[[], None]
) -> bool:
    """Make an empty file a reflink of an object, and compare its bytes with their address.

    Args:
        source: the file of the object.
        target: the descriptor of the empty file, open for reading and writing.
        content_address: the address of the object.
        size_bytes: the size that the object should have.
        check_cancelled: is called before each chunk.

    Returns:
        Whether the file holds the content; otherwise it is empty again.

    Raises:
        OSError: the file cannot be made empty.
    """
    with suppress(OSError):  # if it is an error of the device, copying meets it too and can say of what
        with source.opened() as descriptor:
            reflink(descriptor, target)
        if _holds(target, ContentAddress.parse(content_address), size_bytes, check_cancelled):
            return True
    os.ftruncate(target, 0)
    os.lseek(target, 0, os.SEEK_SET)
    return False


def _holds(fd: int, address: ContentAddress, size_bytes: int, check_cancelled: Callable[[], None]) -> bool:
    if os.fstat(fd).st_size != size_bytes:
        return False
    hasher = new_hasher(address.digest.algorithm)
    buffer = memoryview(bytearray(min(_CHUNK_BYTES, size_bytes)))
    offset = 0
    while offset < size_bytes:
        check_cancelled()
        count = os.preadv(fd, [buffer], offset)
        if not count:
            return False
        hasher.update(buffer[:count])
        offset += count
    return hasher.hexdigest() == address.digest.hex
