"""Every case of OTP's suite is a test here, or has a reason."""

import re
from pathlib import Path

from otp_cases import CASES

HERE = Path(__file__).parent


def test_every_otp_case_is_listed_as_a_test_or_with_a_reason() -> None:
    assert len(CASES) == 93
    assert all(reason is None or len(reason.split()) > 2 for reason in CASES.values())


def test_the_cases_that_are_listed_as_tests_are_the_tests_that_exist() -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_otp_*.py"))
    assert {case for case, reason in CASES.items() if reason is None} == set(
        re.findall(r"def test_otp_(\w+)\(", written)
    )
