"""A package for people: sizes with units, times without microseconds, and no field that only programs need."""

from collections.abc import Mapping
from typing import cast

from msgspec.structs import replace

from artifactstore.cli.package_text import package_fields
from artifactstore.json_output import Json, to_json
from artifactstore_protocols.records import PackageRecord

DAY_US = 86_400_000_000
NOW_US = 1_796_000_000_000_000
OPEN = PackageRecord(
    "01a22cdc-b230-720a-a94a-283f51026f89", "nightly", "open", 7, 3, 0, 0, 5 << 20, "permanent", None, None,
    {"branch": "main"}, "ci", NOW_US - 90_000_000, None, None, None, 2, None,
)  # fmt: skip


def fields(record: PackageRecord) -> dict[str, str]:
    return dict(package_fields(record, cast("Mapping[str, Json]", to_json(record)), NOW_US))


def test_an_open_package() -> None:
    found = fields(OPEN)
    assert "version" not in found
    assert (found["bytes"], found["files"], found["metadata"]) == ("5.0 MiB", "3", "branch=main")
    assert found["created_at"] == "2026-11-30 00:51:50 UTC, 90 s ago"
    assert not found.keys() & {"retention_duration", "expires_at", "finalized_at", "tags", "schema", "gone_at"}


def test_a_finalized_package_that_expires() -> None:
    found = fields(replace(OPEN, retention_duration_us=30 * DAY_US, expires_at_us=NOW_US + 29 * DAY_US))
    assert found["retention_duration"] == "30 d"
    assert found["expires_at"] == "2026-12-29 00:53:20 UTC, in 29 d"


def test_a_package_that_is_gone_says_since_when_and_no_longer_when_it_would_expire() -> None:
    found = fields(replace(OPEN, status="deleted", expires_at_us=NOW_US + DAY_US, gone_at_us=NOW_US, gone_reason="old"))
    assert "expires_at" not in found
    assert (found["status"], found["gone_at"], found["gone_reason"]) == (
        "deleted",
        "2026-11-30 00:53:20 UTC, 0 s ago",
        "old",
    )
