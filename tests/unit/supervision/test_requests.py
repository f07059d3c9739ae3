"""A request's name goes where its messages go: into handlers, what they ask, and threads; and no further."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import trio

from artifactstore.supervision import (
    Actor,
    ActorRef,
    ActorSpec,
    Batched,
    CrashReport,
    Message,
    Request,
    StartFailed,
    SupervisorSpec,
    handles,
    open_tree,
)
from artifactstore.supervision.envelope import current_actor
from artifactstore.supervision.reports import Reporter
from artifactstore.supervision.requests import current_request, request_named

type Seen = tuple[str | None, str | None]


class Role:
    pass


@dataclass(frozen=True, slots=True)
class Who(Request[Seen, Role]):
    """Answered with the request and the actor as its handler sees them."""


@dataclass(frozen=True, slots=True)
class WhoInThread(Request[Seen, Role]):
    pass


@dataclass(frozen=True, slots=True)
class WhoTogether(Request[Seen, Role]):
    pass


@dataclass(frozen=True, slots=True)
class PassOn(Request[Seen, Role]):
    pass


@dataclass(frozen=True, slots=True)
class Told(Message[Role]):
    pass


def seen() -> Seen:
    return current_request.get(), current_actor()


class Witness(Actor[Role]):
    """Says on whose behalf it works."""

    def __init__(self, other: ActorRef[Role], told: list[Seen]) -> None:
        self._other = other
        self._told = told

    @handles(Who)
    async def who(self, message: Who) -> Seen:  # noqa: ARG002 - all that it says is its type
        return seen()

    @handles(WhoInThread)
    async def who_in_thread(self, message: WhoInThread) -> Seen:  # noqa: ARG002 - all that it says is its type
        return await trio.to_thread.run_sync(seen)

    @handles(WhoTogether, mode=Batched(10, 1 << 20))
    async def who_together(self, messages: Sequence[WhoTogether]) -> Sequence[Seen]:
        return [seen()] * len(messages)

    @handles(PassOn)
    async def pass_on(self, message: PassOn) -> Seen:  # noqa: ARG002 - all that it says is its type
        await self._other.tell(Told())
        return await self._other.ask(Who())

    @handles(Told)
    async def take(self, message: Told) -> None:  # noqa: ARG002 - all that it says is its type
        self._told.append(seen())


@pytest.fixture
def told() -> list[Seen]:
    return []


@pytest.fixture
def refs() -> tuple[ActorRef[Role], ActorRef[Role]]:
    return ActorRef[Role]("a"), ActorRef[Role]("b")


@pytest.fixture
def spec(refs: tuple[ActorRef[Role], ActorRef[Role]], told: list[Seen]) -> SupervisorSpec:
    a, b = refs
    actors = (
        ActorSpec(ref=a, factory=lambda: Witness(b, told)),
        ActorSpec(ref=b, factory=lambda: Witness(a, told)),
    )
    return SupervisorSpec(name="root", children=actors)


async def test_what_is_asked_in_a_request_is_part_of_it(
    refs: tuple[ActorRef[Role], ActorRef[Role]], spec: SupervisorSpec, told: list[Seen]
) -> None:
    a, _b = refs
    async with open_tree(spec):
        with request_named("GET 7") as name:
            assert name == "GET 7"
            assert await a.ask(Who()) == ("GET 7", "root/a")
            assert await a.ask(WhoInThread()) == ("GET 7", "root/a")
            assert await a.ask(PassOn()) == ("GET 7", "root/b")
    assert told == [("GET 7", "root/b")]
    assert seen() == (None, None)


async def test_what_nobody_named_is_named_by_itself(
    refs: tuple[ActorRef[Role], ActorRef[Role]], spec: SupervisorSpec, told: list[Seen]
) -> None:
    a, _b = refs
    async with open_tree(spec):
        with request_named() as named:
            pass
        first, second = await a.ask(Who()), await a.ask(PassOn())
    assert None not in (first[0], second[0])
    assert len({named, first[0], second[0]}) == 3
    assert told == [(second[0], "root/b")]


async def test_a_batch_names_one_of_its_requests_and_counts_the_others(
    refs: tuple[ActorRef[Role], ActorRef[Role]], spec: SupervisorSpec
) -> None:
    a, _b = refs
    answers: list[Seen] = []

    async def ask(name: str) -> None:
        with request_named(name):
            answers.append(await a.ask(WhoTogether()))

    async with open_tree(spec), trio.open_nursery() as nursery:
        for name in ("x", "x", "x"):
            nursery.start_soon(ask, name)
    assert answers == [("x", "root/a")] * 3
    answers.clear()
    async with open_tree(spec), trio.open_nursery() as nursery:
        for name in ("x", "y", "z"):
            nursery.start_soon(ask, name)
    names = {name for name, _actor in answers if name is not None}
    assert names <= {"x", "y", "z"} | {f"{name} and {more} more" for name in "xyz" for more in (1, 2)}
    assert any("more" in name for name in names) or len(names) == 3


def test_a_log_line_about_a_failure_does_not_quote_it(caplog: pytest.LogCaptureFixture) -> None:
    """What a failure says may be a payload; its type and the supervisor's decision are not."""
    inner = StartFailed("root/core/b", ValueError("PAYLOAD"))
    report = CrashReport("root/core", 1, StartFailed("root/core", inner), (), {}, "restarts", starting=False, at=0.0)
    with caplog.at_level(logging.INFO, logger="artifactstore"):
        Reporter(None).send(report)
        Reporter(None).ready("root/core", 2)
        Reporter(None).ready("root/core", 1)
    said, up = caplog.records
    assert said.getMessage() == ("root/core: root/core did not start: root/core/b did not start: ValueError; restarts")
    assert up.getMessage() == "root/core is up again, start 2"
    assert vars(said)["actor"] == vars(up)["actor"] == "root/core"
