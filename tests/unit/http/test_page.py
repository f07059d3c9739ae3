"""What the page says of a report and a tree, and that whatever is in them is text to it."""

from collections.abc import Sequence

import trio

from artifactstore.http.app import make_app
from artifactstore.http.page import view_of
from artifactstore.http.streams import EventStreams
from artifactstore.supervision import Actor, ActorRef, ActorSpec, Strategy, SupervisorSpec, open_tree
from artifactstore_protocols.messages import ProjectionRole
from artifactstore_protocols.records import ComponentHealth, HealthReport
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
    view = view_of(report_of(ComponentHealth("database", True, "ok", details, 0.002, 4_000_000)), None, 5_000_000)
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
    assert view.since == 28_000 - 20


def test_what_is_notable_about_an_actor_is_in_the_tree() -> None:
    tree = view_of(report_of(), ROOT, 0).tree
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
    view = view_of("health is down", ROOT, 0)
    assert (view.status, view.healthy, view.reasons, view.parts) == ("unavailable", False, ("health is down",), ())


async def _rendered(parts: Sequence[ComponentHealth], tree: SupervisorSnapshot | None) -> str:
    async def measure() -> HealthReport:
        return report_of(*parts)

    app = make_app(measure, lambda: tree, EventStreams(ActorRef[ProjectionRole]("projection")))
    answer = await app.test_client().get("/")
    assert answer.content_type == "text/html; charset=utf-8"
    return await answer.get_data(as_text=True)


async def test_whatever_is_in_it_is_text() -> None:
    unwell = ComponentHealth("storage", False, HOSTILE, {"root": HOSTILE, HOSTILE: 1}, 0.0, 0)
    page = await _rendered([unwell], ROOT)
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 5
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
