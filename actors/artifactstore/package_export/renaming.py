"""Rename of a file to an unused name by `renameat2(2)` with `RENAME_NOREPLACE`, which Python does not offer."""

import ctypes
import errno
import os
from collections.abc import Callable
from functools import cache
from typing import Final

__all__ = ["rename_new"]

_NOREPLACE: Final = 1


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """Load `renameat2` from the C library; None if the library lacks it."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # a C library without it
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    renameat2: Callable[[int, bytes, int, bytes, int], int] = function
    return renameat2


def rename_new(old: bytes, new: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Rename a file in one open directory to a name in another one.

    Raises:
        FileExistsError: the new name is in use; nothing was changed.
        OSError: the system or the file system does not support the call, or rejects the name.
    """
    renameat2 = _renameat2()
    number = errno.ENOSYS
    if renameat2 is not None:
        if renameat2(src_dir_fd, old, dst_dir_fd, new, _NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))
