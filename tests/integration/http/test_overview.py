"""What the page says of a store's contents, as the service sends it."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from artifactstore import Registry, Settings
from artifactstore.database.database import Database
from artifactstore.database.errors import DatabaseUnavailable
from artifactstore.http.overview import NAMES_MAX, PACKAGES_SHOWN, Overview, overview_of
from integration.http.serving import Service
from integration.registry.samples import plant


async def test_the_page_shows_the_latest_packages(service: Service) -> None:
    for number in range(PACKAGES_SHOWN + 2):
        await service.registry.create_package(f"package-{number}")
    page = (await service.ask("/")).body.decode()
    shown = [f"<b>package-{number}</b>" in page for number in range(PACKAGES_SHOWN + 2)]
    assert shown == [False] * 2 + [True] * PACKAGES_SHOWN
    assert page.index(f"package-{PACKAGES_SHOWN + 1}") < page.index("package-2")


async def test_a_page_without_its_database_is_there_and_says_so(service: Service, settings: Settings) -> None:
    database = trio.Path(settings.database_url.removeprefix("sqlite:///"))
    await service.registry.create_package("hidden")
    await database.rename(f"{database}.aside")
    answer = await service.ask("/")
    assert answer.status == 200
    assert "The contents cannot be shown now:" in answer.body.decode()
    assert "<b>hidden</b>" not in answer.body.decode()
    await trio.Path(f"{database}.aside").rename(database)
    assert "<b>hidden</b>" in (await service.ask("/")).body.decode()


async def test_the_health_report_has_the_totals(service: Service, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(b"12345")
    await service.registry.ingest_tree(tmp_path / "tree", name="one")
    await service.registry.ingest_tree(tmp_path / "tree", name="two")
    report = await service.registry.health(max_age_s=0)
    details = {part.name: part.details for part in report.components}["registry"]
    assert details == {"packages": 2, "files": 2, "logical_bytes": 10, "stored_bytes": 5}


@pytest.mark.slow
async def test_metrics_count_what_goes_and_the_page_names_what_takes_most_space(
    service: Service, tmp_path: Path
) -> None:
    store = service.registry
    for number in range(NAMES_MAX + 2):
        await store.create_package(f"package-{number}")
    for name in ("kept", "gone", "waiting"):
        plant(tmp_path / name, {"a": name.encode()})
        record = await store.ingest_tree(tmp_path / name, name=name)
        if name != "kept":
            await store.delete_package(record.package_id, reason="a test", before_expiry=True)
        if name == "gone":
            await store.collect_garbage(grace_s=0.0)
    await store.verify()
    text = (await service.ask("/metrics")).body.decode()
    metrics = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("artifactstore_"))
    expected = {
        "packages": NAMES_MAX + 3,
        "logical_bytes": 4,
        "stored_bytes": 11,
        "unreleased_bytes": 7,
        "condemned_bytes": 0,
        "packages_deleted_total": 2,
        "packages_expired_total": 0,
        "objects_retired_total": 1,
        "retired_bytes_total": 4,
        "objects_removed_total": 1,
        'name_logical_bytes{name="kept"}': 4,
    }
    assert {name: float(metrics[f"artifactstore_{name}"]) for name in expected} == expected
    assert float(metrics["artifactstore_collection_timestamp_seconds"]) > 0
    ages = "artifactstore_verification_age_seconds", "artifactstore_oldest_unverified_seconds"
    assert all(float(metrics[age]) >= 0 for age in ages)
    assert len([name for name in metrics if name.startswith("artifactstore_name_packages{")]) == NAMES_MAX
    assert "kept: 4 B" in (await service.ask("/")).body.decode()


async def test_a_store_that_starts_has_no_contents_yet() -> None:
    assert await overview_of(lambda: None)() is None


async def test_the_contents_are_two_reads(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither reads more rows than it shows: see the tests of plans and of queries."""
    for number in range(PACKAGES_SHOWN + 1):
        await service.registry.create_package(f"package-{number}")
    look = overview_of(lambda: service.registry)
    first = await look()
    assert isinstance(first, Overview)
    assert len(first.names) == min(NAMES_MAX, PACKAGES_SHOWN + 1)
    asked: list[str] = []

    def counted[**P, R](read: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            asked.append(read.__name__)
            return await read(*args, **kwargs)

        return call

    monkeypatch.setattr(Database, "read", counted(Database.read))
    assert await look() == first, "the space by name is kept"
    assert len(asked) == 2


async def test_a_database_that_fails_or_hangs_leaves_the_reason(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_registry: Registry) -> None:
        raise DatabaseUnavailable("log.db", "the disk is away")

    look = overview_of(lambda: service.registry)
    monkeypatch.setattr(Registry, "stats", fail)
    reason = await look()
    assert isinstance(reason, str)
    assert "the disk is away" in reason

    async def hang(_registry: Registry) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Registry, "stats", hang)
    monkeypatch.setattr("artifactstore.http.overview.PROBE_TIMEOUT_S", 0.0)
    assert await look() == "the database did not answer within 0 s"
