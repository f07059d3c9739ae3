"""What the page says of a report and a tree, and that whatever is in them is text to it."""

from collections.abc import Sequence

import trio
from msgspec import structs

from artifactstore.http.app import make_app
from artifactstore.http.overview import Overview
from artifactstore.http.page import Copied, view_of
from artifactstore.http.streams import EventStreams
from artifactstore.supervision import Actor, ActorRef, ActorSpec, Strategy, SupervisorSpec, open_tree
from artifactstore_protocols.messages import ProjectionRole
from artifactstore_protocols.records import ComponentHealth, HealthReport, PackageRecord
from artifactstore_protocols.store_stats import LastRun, StoreStats
from artifactstore_protocols.supervision import (
    ActorSnapshot,
    ChildState,
    Failure,
    MailboxLimits,
    MailboxSnapshot,
    Phase,
    Restart,
    Stall,
    SupervisorSnapshot,
    WorkSnapshot,
)
from artifactstore_protocols.verification import VerificationState
from http_viewer import VIEWER, viewers

HOSTILE = "<script>alert(1)</script>"
BOX = MailboxSnapshot(
    depth=3,
    depth_peak=9,
    oldest_s=2.5,
    size_bytes=0,
    size_bytes_peak=0,
    senders_waiting=0,
    abandoned=0,
    limits=MailboxLimits(),
    open=True,
)
ACTOR = ActorSnapshot(
    name="storage",
    path="root/storage",
    state=ChildState.BACKOFF,
    restart=Restart.PERMANENT,
    starts=3,
    uptime_s=None,
    mailbox=BOX,
    work=(WorkSnapshot("StoreFiles", 1, 0.25),),
    tasks=("serve-1",),
    last_failure=Failure("OSError", HOSTILE, 1.0, "restart"),
    stall=Stall(1.0, "somewhere"),
)
ROOT = SupervisorSnapshot(
    name="root",
    path="root",
    state=ChildState.RUNNING,
    phase=Phase.RUNNING,
    restart=Restart.PERMANENT,
    starts=1,
    strategy=Strategy.ONE_FOR_ONE,
    intensity=None,
    restarts_in_period=0,
    children=(ACTOR,),
    last_failure=None,
    at=2.0,
)


def report_of(*parts: ComponentHealth) -> HealthReport:
    return HealthReport("1.0", 5_000_000, parts)


def test_readings_are_shown_as_people_read_them() -> None:
    details: dict[str, str | int | float] = {"head": 28_000, "free_bytes": 3 << 30, "canary_latency_s": 0.0042}
    details |= {"age_s": 75.0, "database": "log.db"}
    view = view_of(report_of(ComponentHealth("database", True, "ok", details, 0.002, 4_000_000)), None, None, 5_000_000)
    [part] = view.parts
    assert dict(part.details) == {
        "head": "28,000",
        "free": "3.0 GiB",
        "canary latency": "4.2 ms",
        "age": "75.0 s",
        "database": "log.db",
    }
    assert part.measured == "1.0 s ago, took 2.0 ms"
    assert (view.status, view.reasons, view.tree) == ("healthy", (), None)
    assert view.since == 28_000 - 200


def test_what_is_notable_about_an_actor_is_in_the_tree() -> None:
    tree = view_of(report_of(), ROOT, None, 0).tree
    assert tree is not None
    assert (tree.name, tree.good, tree.notes) == ("root", True, ["one for one"])
    [actor] = tree.children
    assert (actor.state, actor.good) == ("backoff", False)
    assert actor.notes == [
        "restarts 2",
        "mailbox 3 (peak 9)",
        "oldest waits 2.5 s",
        "StoreFiles for 250.0 ms",
        "tasks 1",
        "will not stop",
    ]
    assert actor.failure == f"last failure OSError: {HOSTILE}"


def test_without_a_report_it_says_why() -> None:
    view = view_of("health is down", ROOT, None, 0)
    assert (view.status, view.healthy, view.reasons) == ("unavailable", False, ("health is down",))
    assert not view.parts


def well(actor: str) -> ActorSnapshot:
    return structs.replace(
        ACTOR, name=actor, path=f"root/{actor}", state=ChildState.RUNNING, starts=1, last_failure=None, stall=None
    )


def component(name: str, *, healthy: bool) -> ComponentHealth:
    return ComponentHealth(name, healthy, "ok" if healthy else "down", {}, 0.0, 0)


def test_actors_that_are_well_are_one_line() -> None:
    tree = structs.replace(ROOT, children=(well("a"), structs.replace(well("b"), starts=3)))
    parts = [component("database", healthy=True), component("actor:a", healthy=True)]
    view = view_of(report_of(*parts), tree, None, 0)
    assert (view.actors, view.ill) == ("All 2 actors run, 2 restarts so far", False)
    assert [part.name for part in view.parts] == ["database"]


def test_an_actor_that_is_ill_brings_back_the_tree() -> None:
    view = view_of(report_of(), structs.replace(ROOT, children=(well("a"), ACTOR)), None, 0)
    assert (view.actors, view.ill) == ("1 of 2 actors run, 2 restarts so far", True)
    sound = structs.replace(ROOT, children=(well("a"),))
    assert not view_of(report_of(), sound, None, 0).ill
    stalled = structs.replace(ROOT, children=(structs.replace(well("a"), stall=Stall(1.0, "there")),))
    assert view_of(report_of(), stalled, None, 0).ill
    given_up = structs.replace(ROOT, children=(structs.replace(sound, state=ChildState.BACKOFF),))
    assert view_of(report_of(), given_up, None, 0).ill
    unwell = view_of(report_of(component("actor:a", healthy=False)), sound, None, 0)
    assert (unwell.ill, [part.name for part in unwell.parts]) == (True, ["actor:a"])
    assert view_of("health is down", sound, None, 0).ill


def test_the_name_of_a_system_error_is_for_programs() -> None:
    storage = ComponentHealth("storage", False, "no such file", {"local_failure_code": "ENOENT"}, 0.0, 0)
    assert view_of(report_of(storage), None, None, 0).parts[0].details == []


MINUTE_US = 60_000_000
STATS = StoreStats(
    packages=1_234, finalized=1_230, files=1_000_000, links=2, bytes=3 << 40, objects=700_000, object_bytes=1 << 40
)
PACKAGE = PackageRecord(
    package_id="01a22cde-c237-7b14-be7a-b7a51b57d89a",
    name=HOSTILE,
    status="finalized",
    version=2,
    files=1,
    links=0,
    directories=1,
    bytes=2048,
    retention_class="standard",
    retention_duration_us=None,
    expires_at_us=None,
    metadata={},
    created_by="ci",
    created_at_us=0,
    finalized_at_us=1,
    manifest_digest=f"blake3:{'5a' * 32}",
    tree_digest=f"sha256:{'5b' * 32}",
    created_sequence=2,
    finalized_sequence=3,
)


def test_the_page_leads_with_what_is_stored() -> None:
    view = view_of(report_of(), ROOT, Overview(STATS, (PACKAGE,)), 90 * MINUTE_US)
    assert view.unread is None
    assert view.stored == (
        ("packages", "1,234, 4 of them open"),
        ("content", "1,000,000 files, 2 links"),
        ("logical size", "3.0 TiB"),
        ("stored size", "1.0 TiB in 700,000 objects"),
        ("deduplication", "3.00 times"),
        ("to collect", "0 B in 0 objects"),
        ("collected", "0 B in 0 objects so far"),
        ("gone", "0 packages deleted, 0 expired"),
        ("last collection", "never recorded"),
        ("last backup", "never recorded"),
        ("last verification", "never recorded"),
    )
    [shown] = view.packages
    assert (shown.name, shown.age, shown.by, shown.state) == (HOSTILE, "90 min", "ci", "finalized")
    assert shown.content == "1 file, 1 empty directory, 2.0 KiB"
    assert shown.package_id == Copied(PACKAGE.package_id, "…1b57d89a")
    assert shown.digest == Copied(f"blake3:{'5a' * 32}", "blake3:5a5a5a5a5a5a…")


def test_an_open_package_has_no_digest() -> None:
    still_open = structs.replace(PACKAGE, status="open", manifest_digest=None, finalized_at_us=None)
    [shown] = view_of(report_of(), ROOT, Overview(STATS, (still_open,)), 0).packages
    assert (shown.state, shown.digest) == ("open", None)


def test_the_last_backup_and_verification_have_ages_and_flaws() -> None:
    last = LastRun(ended_at_us=0, sequence=1_500, objects=9, flaws=2)
    verified = VerificationState(verified_at_us=10 * MINUTE_US, verified_sequence=1_500, oldest_at_us=0)
    stats = structs.replace(STATS, last_backup=last, verification=verified)
    stored = dict(view_of(report_of(), ROOT, Overview(stats, ()), 30 * MINUTE_US).stored)
    assert stored["last backup"] == "30 min ago, up to event 1,500, with 2 flaws"
    read = "the oldest object was last read 30 min ago"
    assert stored["last verification"] == f"20 min ago, by event 1,500; {read}"


def test_contents_that_cannot_be_read_say_why() -> None:
    view = view_of(report_of(), ROOT, "the disk is away", 0)
    assert (view.stored, view.packages, view.unread) == ((), (), "the disk is away")
    assert view_of(report_of(), None, None, 0).unread == "The store is starting."


async def _rendered(
    parts: Sequence[ComponentHealth], tree: SupervisorSnapshot | None, found: Overview | str | None = None
) -> str:
    async def measure() -> HealthReport:
        return report_of(*parts)

    async def look() -> Overview | str | None:
        return found

    app = make_app(measure, lambda: tree, EventStreams(ActorRef[ProjectionRole]("projection")), viewers(), look=look)
    answer = await app.test_client().get("/", headers=dict([VIEWER]), scope_base={"client": None})
    assert answer.content_type == "text/html; charset=utf-8"
    return await answer.get_data(as_text=True)


async def test_whatever_is_in_it_is_text() -> None:
    unwell = ComponentHealth("storage", False, HOSTILE, {"root": HOSTILE, HOSTILE: 1}, 0.0, 0)
    page = await _rendered([unwell], ROOT, Overview(STATS, (PACKAGE,)))
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 6
    assert "&lt;script&gt;" in await _rendered([], ROOT, HOSTILE)
    assert "<script>alert" not in page


async def test_a_page_of_a_store_that_starts_says_so() -> None:
    assert "The store is starting." in await _rendered([], None)


async def test_a_tree_as_it_runs_is_shown() -> None:
    class Role:
        pass

    class Idle(Actor[Role]):
        pass

    spec = SupervisorSpec(name="root", children=(ActorSpec(ref=ActorRef[Role]("idle"), factory=Idle),))
    async with open_tree(spec) as tree:
        await trio.lowlevel.checkpoint()
        assert "<b>idle</b>" in await _rendered([], tree.snapshot())
