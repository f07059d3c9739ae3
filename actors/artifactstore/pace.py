"""A limit for bytes a second. It uses trio's clock, which a simulation and tests replace."""

import trio

__all__ = ["Pace"]


class Pace:
    """Makes a task wait before it reads, so that its reads stay below a rate on average.

    Reads can overlap. The first one starts at once, and a pause is not made up for by faster reads later.

    Args:
        bytes_per_s: the rate; None for no limit.
    """

    def __init__(self, bytes_per_s: int | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    async def before(self, size_bytes: int) -> None:
        """Wait until `size_bytes` may be read."""
        if self._bytes_per_s is None:
            return
        starts_at = max(self._free_at, trio.current_time())
        self._free_at = starts_at + size_bytes / self._bytes_per_s
        await trio.sleep_until(starts_at)
