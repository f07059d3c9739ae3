"""Which of the offered media types a client prefers, by its `Accept` header (RFC 9110 section 12.5.1)."""

import re
from collections.abc import Sequence

from artifactstore.http.api.model import ANY

__all__ = ["preferred"]

_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def preferred(accept: str | None, offered: Sequence[str]) -> str | None:
    """Return the media type that a client likes best; None if it likes none.

    Args:
        accept: the header; None if there is none, which means that all will do.
        offered: media types, of which the first wins if several are liked the same; or `*/*` alone.
    """
    if accept is None or not accept.strip() or offered[0] == ANY:
        return offered[0]
    ranges = [_parsed(each) for each in accept.lower().split(",") if each.strip()]
    liked = [(_quality(each, ranges), -place, each) for place, each in enumerate(offered)]
    quality, _place, best = max(liked)
    return best if quality > 0 else None


def _parsed(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            quality = float(value) if _QUALITY.fullmatch(value.strip()) else 0.0
    return name, quality


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return what the most specific range says of a media type; 0 if there is none."""
    for wanted in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if found := [quality for name, quality in ranges if name == wanted]:
            return max(found)
    return 0.0
