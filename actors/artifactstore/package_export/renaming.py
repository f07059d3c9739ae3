"""A file's new name, in place of nothing else: `renameat2(2)` with `RENAME_NOREPLACE`, which Python does not offer."""

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
        FileExistsError: something has the new name; nothing was changed.
        OSError: the system or the file system cannot do this, or does not take the name.
    """
    renameat2 = _renameat2()
    number = errno.ENOSYS
    if renameat2 is not None:
        if renameat2(src_dir_fd, old, dst_dir_fd, new, _NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))
