"""When a client sends a request again that had no answer. Only requests that change nothing are sent again."""

from typing import Final

__all__ = ["ATTEMPTS_MAX", "pause_s"]

ATTEMPTS_MAX: Final = 5
"""How often a request is sent before its client gives up."""

_FIRST_S: Final = 0.1
_FACTOR: Final = 3.0
_PAUSE_MAX_S: Final = 10.0
"""The longest pause. A service that asks for a longer one is asked again after this one."""


def pause_s(attempts: int, asked_s: float | None = None) -> float | None:
    """Return how long to wait before the next attempt, in seconds; None to give up.

    Args:
        attempts: how often the request was sent in vain, at least once.
        asked_s: how long the service asks to wait, in seconds; None if it does not say.
    """
    if attempts >= ATTEMPTS_MAX:
        return None
    own_s: float = _FIRST_S * _FACTOR ** (attempts - 1)
    return min(_PAUSE_MAX_S, max(own_s, asked_s or 0.0))
