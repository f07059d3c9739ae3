"""What limits all uploads of a server together: how many are received at once, and the space that they leave free."""

from http import HTTPStatus
from typing import Final

from artifactstore.http.api.model import Call
from artifactstore.http.api.problems import Problem
from artifactstore.http.api.sending import Places

__all__ = ["RECEIVING", "UPLOADS_MAX", "check_room"]

UPLOADS_MAX: Final = 16
"""The most bodies that go into the store at once. Each holds up to 16 MiB."""

_READING_AGE_S: Final = 1.0
"""The maximum age of a reading of the free space."""

# They bound the memory of the process, so all servers in it share them.
RECEIVING: Final = Places(
    UPLOADS_MAX, "too_many_uploads", "The service receives as many files as it may; ask again later."
)
"""The places for bodies that go into the store."""


async def check_room(call: Call, size_bytes: int) -> None:
    """Refuse an upload that would leave less space free than the service keeps.

    Args:
        call: the request.
        size_bytes: the bytes that are to come, as far as they are known.

    Raises:
        Problem: there is no room.
    """
    report = await call.registry.health(max_age_s=_READING_AGE_S)
    free = [
        value
        for part in report.components
        for name, value in part.details.items()
        if name.endswith("free_bytes") and isinstance(value, int)
    ]
    if free and min(free) - size_bytes < call.limits.free_bytes_min:
        detail = "The store has no room for this; ask again when it has."
        raise Problem(HTTPStatus.INSUFFICIENT_STORAGE, "storage_full", detail)
