"""Complete writes to file descriptors of any kind.

`os.write` may write only a part of its data, and a non-blocking descriptor may accept nothing for a while. This module
must load fast, since `artifactstore version` uses it.
"""

import os

TYPE_CHECKING = False  # type checkers treat it as True; importing `typing` would take longer than the rest
if TYPE_CHECKING:
    from collections.abc import Buffer
    from pathlib import Path

__all__ = ["descriptor_named", "write_all"]

_LINKS_MAX = 40
"""The number of symbolic links that Linux follows in a path."""


def write_all(descriptor: int, data: "Buffer") -> None:
    """Write all of `data`. Waits for a non-blocking descriptor with `poll`, not in a busy loop.

    Raises:
        OSError: a part of the data could not be written.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            _wait_writable(descriptor)


def _wait_writable(descriptor: int) -> None:
    import select  # noqa: PLC0415 - rarely needed

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


def descriptor_named(path: "str | Path") -> int | None:
    """Return the descriptor of this process that a path names, such as `/dev/stdout` or `/dev/fd/3`; None for others.

    Use the descriptor instead of opening such a path: an open starts at the beginning of a redirected file.
    """
    from pathlib import Path  # noqa: PLC0415 - rarely needed

    found = Path(path)
    own = {Path(where).resolve() for where in ("/dev/fd", "/proc/self/fd", "/proc/thread-self/fd")}
    for _ in range(_LINKS_MAX):
        directory = found.parent.resolve()
        if found.name.isascii() and found.name.isdecimal() and directory in own:
            return int(found.name)
        found = directory / found.name
        if not found.is_symlink():
            return None
        found = directory / found.readlink()
    return None
