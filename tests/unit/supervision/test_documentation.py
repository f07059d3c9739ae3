"""`docs/SUPERVISION.md` tells the truth about which OTP cases are tests."""

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[2] / "docs" / "SUPERVISION.md"
CASES = 93


def rows() -> list[tuple[int, str, str]]:
    found = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    return [(int(number), case, here) for number, case, here in found]


def test_every_otp_case_is_listed_once_as_a_test_or_with_a_reason() -> None:
    assert [number for number, _, _ in rows()] == list(range(1, CASES + 1))
    assert all(here == "test" or len(here.split()) > 2 for _, _, here in rows())


def test_the_cases_that_are_listed_as_tests_are_the_tests_that_exist() -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_otp_*.py"))
    assert {case for _, case, here in rows() if here == "test"} == set(re.findall(r"def test_otp_(\w+)\(", written))
