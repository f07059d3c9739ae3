"""Writing to file descriptors: everything or an error, whatever the descriptor is.

`os.write` may take less than it is given, and a non-blocking descriptor may take nothing for a while. Loading this
module must cost next to nothing, since `artifactstore version` uses it.
"""

import os

TYPE_CHECKING = False  # as type checkers take it; loading `typing` would take longer than the rest
if TYPE_CHECKING:
    from collections.abc import Buffer
    from pathlib import Path

__all__ = ["descriptor_named", "write_all"]

_LINKS_MAX = 40
"""As many as Linux follows."""


def write_all(descriptor: int, data: "Buffer") -> None:
    """Write all of `data`. Waits, without using the processor, while the descriptor takes nothing.

    Raises:
        OSError: a part of it could not be written.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            _wait_writable(descriptor)


def _wait_writable(descriptor: int) -> None:
    import select  # noqa: PLC0415 - hardly anybody needs it

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


def descriptor_named(path: "str | Path") -> int | None:
    """Return the descriptor of this process that a path names, such as `/dev/stdout` or `/dev/fd/3`; None for others.

    Opening such a path is something else than using the descriptor: it starts at the beginning of a redirected file.
    """
    from pathlib import Path  # noqa: PLC0415 - as above

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
