"""Expiry through the library, with a clock that can jump: what goes, what stays, and what stops a run."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from artifactstore import Registry, Settings, blocking, open_registry
from artifactstore.database.location import DatabaseLocation
from artifactstore.environment import Environment, environment
from artifactstore.errors import ClockDoubtful, InvalidValue, PackageGone, TooMuchExpires
from artifactstore.http.jobs import service_jobs
from artifactstore_protocols.expiry import OBSERVED_EVERY_US
from artifactstore_protocols.keep_rules import KeepRules
from artifactstore_protocols.records import ExpiredPackage
from integration.registry.samples import add, plant, settings_in, stream_of

DAY_US = 86_400_000_000


class Clock:
    """The environment of this process, with a clock that is ahead of the real one."""

    def __init__(self, real: Environment) -> None:
        self._real, self.ahead_us = real, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def now_us(self) -> int:
        return self._real.now_us() + self.ahead_us

    def advance(self, days: int) -> None:
        self.ahead_us += days * DAY_US


@pytest.fixture
async def clock() -> AsyncGenerator[Clock]:
    moved = Clock(environment.get())
    token = environment.set(cast("Environment", moved))
    yield moved
    environment.reset(token)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def store(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> AsyncGenerator[Registry]:
    """A store by that clock."""
    del clock
    settings = settings_in(tmp_path / "store")
    if request.param == "postgresql":
        location = cast("DatabaseLocation", request.getfixturevalue("postgres_location"))
        settings = replace(settings, database_url=location.url.render_as_string(hide_password=False))
    async with open_registry(settings) as registry:
        yield registry


async def pass_days(registry: Registry, clock: Clock, days: int) -> None:
    """Let time pass as a service sees it."""
    for _ in range(0, days, 30):
        clock.advance(min(days, 30))
        await registry.observe_clock()


async def expired(registry: Registry, *, dry_run: bool = False, yes_expire: int | None = None) -> list[ExpiredPackage]:
    return [each async for each in registry.expire_packages(dry_run=dry_run, yes_expire=yes_expire)]


async def test_a_permanent_package_is_not_abandoned(store: Registry, clock: Clock) -> None:
    kept = (await store.create_package("kept", retention="permanent")).package_id
    left = (await store.create_package("left")).package_id
    clock.advance(10)
    assert [each.package_id async for each in store.expire_packages()] == [left]
    assert (await store.get_package(kept)).status == "open"


async def test_what_is_due_goes_in_order_and_what_is_kept_stays(store: Registry, clock: Clock, tree: Path) -> None:
    plant(tree, {"f": b"content"})

    async def package(name: str, retention: str = "short") -> str:
        return (await store.ingest_tree(tree, name=name, retention=retention)).package_id

    later, held, tagged = await package("later"), await package("held"), await package("tagged")
    forever, long, sooner = await package("ever", "permanent"), await package("long", "long"), await package("s")
    await store.set_retention(sooner, "1d")
    hold = await store.place_hold(held, reason="case", principal="ann")
    await store.set_tag("release", tagged, protect=True)
    opened = (await store.create_package("draft")).package_id
    held_draft = (await store.create_package("draft")).package_id
    await store.place_hold(held_draft, reason="case")
    assert await expired(store) == []
    await pass_days(store, clock, 60)
    due = [each.package_id async for each in store.list_retention()]
    assert due == [sooner, later, held, tagged]
    assert due == [each.package_id async for each in store.list_retention("30d")]
    await store.set_keep_policy("*", KeepRules(last=99))  # keep policies keep nothing from `expire`
    report = await store.explain_retention(sooner)
    assert (report.is_kept, report.goes_by, [each.kept_by for each in report.policies]) == (
        False,
        ("retention",),
        [("last 99",)],
    )
    head = len(await store.read_events())
    planned = await expired(store, dry_run=True)
    assert [(each.package_id, each.rule, each.sequence) for each in planned] == [
        (sooner, "retention", None),
        (later, "retention", None),
        (opened, "abandoned", None),
    ]
    assert len(await store.read_events()) == head
    gone = await expired(store)
    assert [(each.package_id, each.rule, each.since_us) for each in gone] == [
        (each.package_id, each.rule, each.since_us) for each in planned
    ]
    assert await expired(store) == []
    for each in (held, tagged, forever, long, held_draft):
        assert not (await store.get_package(each)).is_gone
    with pytest.raises(PackageGone, match=r"expired on .*: by rule retention"):
        await store.list_files(later)
    reports = {each: await store.explain_retention(each) for each in (later, held, tagged, forever, long)}
    assert [each for each, report in reports.items() if report.is_kept] == [held, tagged, forever, long]
    assert f"hold {hold.hold_id} by ann: case (event {hold.sequence})" in reports[held].reasons
    went = await store.get_package(later)
    assert reports[later].reasons[0].endswith(f"by anonymous (event {went.gone_sequence})")
    assert reports[tagged].reasons[0].startswith("protected tag 'release' (event ")
    assert (await store.replay(check=True)).identical


async def test_a_clock_that_jumps_lets_nothing_go_until_it_is_confirmed(
    store: Registry, clock: Clock, tree: Path
) -> None:
    plant(tree, {"f": b"content"})
    package = (await store.ingest_tree(tree, name="nightly", retention="ephemeral")).package_id
    for days in (3650, -3650):
        clock.advance(days)
        if days > 0:
            with pytest.raises(ClockDoubtful):
                await store.observe_clock()
        if days > 0:
            await store.create_package("made by the wrong clock")
        for dry_run in (True, False):
            with pytest.raises(ClockDoubtful):
                await expired(store, dry_run=dry_run)
        assert not (await store.get_package(package)).is_gone
    # The clock is right again, but the newest event is not: a person has to say so.
    await store.confirm_clock()
    assert await expired(store) == []
    clock.advance(2)
    assert [each.package_id for each in await expired(store)] == [package]


async def test_most_packages_go_only_by_their_number(store: Registry, clock: Clock, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    for number in range(12):
        await store.ingest_tree(tree, name=f"run-{number}", retention="ephemeral")
    clock.advance(2)
    for wrong in (None, 11, 13):
        with pytest.raises(TooMuchExpires, match="12 of 12 packages would expire"):
            await expired(store, yes_expire=wrong)
    assert len(await expired(store, dry_run=True)) == 12
    assert len(await expired(store, yes_expire=12)) == 12
    assert (await store.stats()).packages == 0


async def test_a_service_observes_the_clock_an_hour_apart(store: Registry, clock: Clock, tmp_path: Path) -> None:
    await store.observe_clock()
    assert len(await store.read_events()) == 0
    await store.create_package("draft")
    before = len(await store.read_events())
    [job, *_others] = service_jobs(settings_in(tmp_path), lambda: store)
    assert (job.name, job.every_s * 1_000_000) == ("clock", OBSERVED_EVERY_US)
    await job.run()
    assert len(await store.read_events()) == before
    clock.ahead_us += OBSERVED_EVERY_US
    await job.run()
    await store.observe_clock()
    assert len(await store.read_events()) == before + 1
    with pytest.raises(InvalidValue, match="duration"):
        assert [each async for each in store.expire_packages(abandoned_after="soon")] == []


def test_plain_python_has_it_too(settings: Settings) -> None:
    with blocking.open_registry(settings) as registry:
        registry.create_package("draft")
        assert list(registry.expire_packages(dry_run=True)) == []
        assert list(registry.list_retention("7d")) == []
        registry.confirm_clock()


async def test_a_host_whose_clock_is_years_slow_gives_no_period_an_early_end(
    store: Registry, clock: Clock, tree: Path
) -> None:
    """Neither retention nor abandonment, nor the order of builds, nor the grace of condemned objects."""
    plant(tree, {"f": b"content"})
    for _ in range(2):
        await store.ingest_tree(tree, name="nightly")
    replaced = (await store.create_package("replaced")).package_id
    await add(store, replaced, "f", b"before")
    clock.advance(-3650)
    kept = (await store.ingest_tree(tree, name="kept", retention="long")).package_id
    draft = (await store.create_package("draft")).package_id
    newest = (await store.ingest_tree(tree, name="nightly")).package_id
    await store.ingest_file(replaced, "f", stream_of(b"after"), replace=True)
    await store.set_retention(kept, "1d")
    extended = await store.extend_retention(kept, "1d")
    clock.advance(3650)
    assert await expired(store) == []
    times = [stored.event.recorded_at_us for stored in await store.read_events(limit=100)]
    assert times == sorted(times)
    package = await store.get_package(kept)
    assert package.finalized_at_us is not None
    assert package.finalized_at_us >= times[0]
    assert (extended.expires_at_us or 0) - package.finalized_at_us >= 2 * DAY_US
    assert (await store.collect_garbage(grace_s=3600)).waiting.objects == 1
    await store.set_keep_policy("nightly", KeepRules(last=1))
    assert len([each async for each in store.apply_keep_policies() if not each.kept_by]) == 2
    assert (await store.get_package(newest)).status == "finalized"
    assert (await store.get_package(draft)).status == "open"
    assert (await store.replay(check=True)).identical


async def test_a_host_whose_clock_is_years_fast_sets_the_time_of_the_log_until_somebody_confirms_the_clock(
    store: Registry, clock: Clock, tree: Path
) -> None:
    plant(tree, {"f": b"content"})
    await store.create_package("draft")
    clock.advance(3650)
    late = (await store.ingest_tree(tree, name="late", retention="short")).package_id
    clock.advance(-3650)
    ended = (await store.ingest_tree(tree, name="ended", retention="short")).package_id
    for each in (late, ended):  # both are kept too long, and nothing expires meanwhile
        assert ((await store.get_package(each)).finalized_at_us or 0) > environment.get().now_us() + 3000 * DAY_US
    with pytest.raises(ClockDoubtful):
        await expired(store)
    await store.confirm_clock()
    right = (await store.ingest_tree(tree, name="right", retention="short")).package_id
    assert abs(((await store.get_package(right)).finalized_at_us or 0) - await store.confirm_clock()) < DAY_US
    assert await expired(store) == []
    clock.advance(31)
    with pytest.raises(ClockDoubtful):  # this clock may be the wrong one
        await store.delete_package(right, reason="old")
    await store.confirm_clock()
    await store.delete_package(right, reason="old")
    assert (await store.replay(check=True)).identical
