"""The version of the HTTP API, which a client and a service compare before they trust each other's answers.

Both send `Artifactstore-Api-Version` with every message. The number grows with each change that an older client or an
older service would misunderstand. Both sides name the side that is too old.
"""

import re
from typing import Final, Literal

__all__ = ["API_VERSION", "API_VERSION_HEADER", "misfit_text"]

API_VERSION: Final = 1
API_VERSION_HEADER: Final = "Artifactstore-Api-Version"

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}")


def misfit_text(theirs: str, *, side: Literal["client", "service"]) -> str | None:
    """Return why the other side cannot be understood, and which side to upgrade; None if it can.

    Args:
        theirs: the version that the other side sent.
        side: which side that is.
    """
    if theirs == str(API_VERSION):
        return None
    if _NUMBER.fullmatch(theirs) is None:
        return f"the {side} sent {theirs[:20]!r} as {API_VERSION_HEADER}, which is no number"
    us = "service" if side == "client" else "client"
    old = side if int(theirs) < API_VERSION else us
    return f"the {side} speaks version {theirs} of the API and the {us} version {API_VERSION}; upgrade the {old}"
