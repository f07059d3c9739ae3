"""What happened in a simulation, as lines: all of them in one digest, the last ones kept to be read."""

from collections import deque

import blake3
import trio

__all__ = ["Trace"]

_KEPT = 300


class Trace:
    """Lines that say what happened and when, in virtual seconds.

    Nothing enters that differs between two runs of the same plan, such as the name of a temp file.
    """

    def __init__(self) -> None:
        self._hasher = blake3.blake3()
        self._last: deque[str] = deque(maxlen=_KEPT)

    def note(self, *what: object) -> None:
        """Add a line."""
        line = f"{trio.current_time():12.6f}  {' '.join(map(str, what))}"
        self._hasher.update(f"{line}\n".encode())
        self._last.append(line)

    def digest(self) -> str:
        """Hex digest over every line so far."""
        return self._hasher.hexdigest()

    def last(self) -> tuple[str, ...]:
        """The latest lines."""
        return tuple(self._last)
