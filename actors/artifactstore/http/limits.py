"""Limits for clients of the service: requests at once, and failed attempts to say who they are."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import trio

from artifactstore.http.api.problems import Problem

__all__ = ["FAILURES_FREE", "REQUESTS_EACH_MAX", "Failures", "Requests"]

REQUESTS_EACH_MAX: Final = 256
"""The most requests of one principal at once: half of the connections, so that nobody keeps all others out."""

FAILURES_FREE: Final = 60
"""The failures of an address that are answered at once. It gets one of them back every `_PAUSE_S`."""

_PAUSE_S: Final = 1.0
_ADDRESSES_MAX: Final = 4096
_WAITING_MAX: Final = 64
_AGAIN_AFTER_S: Final = "5"


class Requests:
    """The requests that are being answered, by principal."""

    def __init__(self) -> None:
        self._running = Counter[str]()

    @contextmanager
    def counted(self, principal: str) -> Generator[None]:
        """Count a request while it is answered.

        Raises:
            Problem: the principal has as many requests as it may.
        """
        if self._running[principal] >= REQUESTS_EACH_MAX:
            detail = f"This token has {REQUESTS_EACH_MAX} requests at once, which is the most; ask again later."
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", detail, {"Retry-After": _AGAIN_AFTER_S})
        self._running[principal] += 1
        try:
            yield
        finally:
            self._running[principal] -= 1
            if not self._running[principal]:
                del self._running[principal]


class Failures:
    """The failed attempts of each address. Valid tokens are never slowed down, whatever their neighbours do.

    Of each address it keeps when its failures will be forgotten. If there are too many addresses, it forgets the one
    that failed first.
    """

    def __init__(self) -> None:
        self._forgotten_at: dict[str, float] = {}
        self._waiting = 0

    def pause_s(self, address: str, now: float) -> float:
        """Count a failure, and return how long its answer has to wait, in seconds."""
        forgotten_at = max(now, self._forgotten_at.pop(address, now)) + _PAUSE_S
        is_late = forgotten_at - now > FAILURES_FREE * _PAUSE_S
        self._forgotten_at[address] = min(forgotten_at, now + FAILURES_FREE * _PAUSE_S)
        if len(self._forgotten_at) > _ADDRESSES_MAX:
            del self._forgotten_at[next(iter(self._forgotten_at))]
        return _PAUSE_S if is_late else 0.0

    async def slow_down(self, address: str) -> None:
        """Count a failure, and wait if the address has failed often.

        Raises:
            Problem: too many clients are waiting already.
        """
        pause_s = self.pause_s(address, trio.current_time())
        if not pause_s:
            return
        if self._waiting >= _WAITING_MAX:
            detail = "Too many requests had no valid token; ask again later, with a valid one."
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too_many_failures", detail, {"Retry-After": _AGAIN_AFTER_S})
        self._waiting += 1
        try:
            await trio.sleep(pause_s)
        finally:
            self._waiting -= 1
