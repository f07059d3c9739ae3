"""Days, points in time and ages as text.

text                                         meaning
2026-11-28                                   that day, in UTC
2026-11-28T14:30, with seconds or an offset  that moment, in UTC without an offset
90s, 30m, 12h, 7d, 2w                        that long ago: seconds, minutes, hours, days or weeks
"""

import re
from datetime import UTC, datetime, timedelta

from artifactstore_protocols.errors import InvalidValue

__all__ = ["age_text", "duration_us", "moment_after", "span_of", "time_text"]

_TIME = re.compile(r"[0-9]{4}(-[0-9]{2}){2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?")
_AGO = re.compile(r"([0-9]{1,6})([smhdw])")
_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US
_UNITS_US = {"s": _SECOND_US, "m": 60 * _SECOND_US, "h": 3600 * _SECOND_US, "d": _DAY_US, "w": 7 * _DAY_US}
_SHOWN_CHARACTERS = 60


def span_of(text: str) -> tuple[int, int] | None:
    """Return the first microsecond since 1970 UTC of a day or a moment, and the first one after it.

    None if the text is neither.
    """
    if _TIME.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # there is no such day or hour
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    start_us = (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    return start_us, start_us + (1 if "T" in text else _DAY_US)


def moment_after(text: str, *, now_us: int, end: bool) -> int:
    """Return the first microsecond of what a text means, or with `end` the first one after it.

    Raises:
        InvalidValue: the text is no day, moment or age.
    """
    if (ago := _AGO.fullmatch(text)) is not None:
        return now_us - int(ago[1]) * _UNITS_US[ago[2]]
    if (span := span_of(text)) is None:
        reason = "write 7d (or s, m, h, w), a day such as 2026-11-28, or a time such as 2026-11-28T14:30"
        raise InvalidValue("time", text[:_SHOWN_CHARACTERS], reason)
    return span[end]


def duration_us(text: str) -> int | None:
    """Return a duration such as 30d in microseconds, of which 0 needs no unit; None if the text is none."""
    if text == "0":
        return 0
    found = _AGO.fullmatch(text)
    return None if found is None else int(found[1]) * _UNITS_US[found[2]]


def time_text(us: int) -> str:
    """Return a time as text for people: 2026-11-28T14:30:00Z."""
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%SZ")


def age_text(age_us: int) -> str:
    """Return an age as text for people, in the largest unit of which it has at least two: 90 min, 47 h, 13 d."""
    for unit, name in (("d", "d"), ("h", "h"), ("m", "min")):
        if age_us >= 2 * _UNITS_US[unit]:
            return f"{age_us // _UNITS_US[unit]} {name}"
    return f"{max(age_us, 0) // _SECOND_US} s"
