"""Days, points in time and ages as text."""

import pytest

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.moments import age_text, duration_us, moment_after

HOUR_US = 3_600_000_000
NOW_US = 1_000 * HOUR_US


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("1970-01-02", 24 * HOUR_US, 48 * HOUR_US),
        ("1970-01-02T01:00", 25 * HOUR_US, 25 * HOUR_US + 1),
        ("1970-01-02T01:00:00.000001+01:00", 24 * HOUR_US + 1, 24 * HOUR_US + 2),
        ("1969-12-31T23:00Z", -HOUR_US, -HOUR_US + 1),
        ("90s", NOW_US - 90 * 1_000_000, NOW_US - 90 * 1_000_000),
        ("90m", NOW_US - 90 * 60 * 1_000_000, NOW_US - 90 * 60 * 1_000_000),
        ("12h", NOW_US - 12 * HOUR_US, NOW_US - 12 * HOUR_US),
        ("2d", NOW_US - 48 * HOUR_US, NOW_US - 48 * HOUR_US),
        ("1w", NOW_US - 168 * HOUR_US, NOW_US - 168 * HOUR_US),
    ],
)
def test_a_text_means_a_span(text: str, first: int, after: int) -> None:
    assert moment_after(text, now_us=NOW_US, end=False) == first
    assert moment_after(text, now_us=NOW_US, end=True) == after


@pytest.mark.parametrize(("text", "us"), [("0", 0), ("0d", 0), ("90s", 90_000_000), ("00", None), ("1", None)])
def test_no_time_at_all_needs_no_unit(text: str, us: int | None) -> None:
    assert duration_us(text) == us


@pytest.mark.parametrize(
    "text", ["", "7", "d", "7x", "-1d", "7 d", "1970-02-30", "1970-1-1", "19700101", "9999999d", "\u0667d"]
)
def test_another_text_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InvalidValue, match="write 7d"):
        moment_after(text, now_us=NOW_US, end=False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_an_age_is_in_the_largest_unit_of_which_it_has_two(seconds: int, text: str) -> None:
    assert age_text(seconds * 1_000_000) == text
