"""Code that must type-check as it stands: the ordinary runs of mypy and pyright read this file, nothing executes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_type

from artifactstore.supervision import (
    Actor,
    ActorRef,
    ActorSpec,
    Batched,
    Concurrent,
    Message,
    Refusal,
    Request,
    SupervisorSpec,
    TaskHandle,
    handles,
)


class StoreRole:
    """A kind of actor."""


@dataclass(frozen=True, slots=True)
class Size(Request[int, StoreRole]):
    """Answered with a number."""

    key: str


@dataclass(frozen=True, slots=True)
class Names(Request[tuple[str, ...] | None, StoreRole]):
    """Answered with several names, or none."""


@dataclass(frozen=True, slots=True)
class Hint(Message[StoreRole]):
    """Has no reply."""

    text: str


@dataclass(frozen=True, slots=True)
class Mark(Message[StoreRole]):
    """Has no reply, and comes in batches."""


class Store(Actor[StoreRole]):
    """Handles all of them."""

    @handles(Size, mode=Batched(8, 1024))
    async def size(self, messages: Sequence[Size]) -> Sequence[int | Refusal]:
        """A batch of requests."""
        return [len(message.key) for message in messages]

    @handles(Names, mode=Concurrent(4))
    async def names(self, _: Names) -> tuple[str, ...] | None:
        """A request."""
        return None

    @handles(Hint)
    async def hint(self, message: Hint) -> None:
        """A message."""
        assert_type(message, Hint)
        assert_type(self.context.start_child("task", self.task, 1, "one"), TaskHandle)

    @handles(Mark, mode=Batched(8, 1024))
    async def mark(self, _: Sequence[Mark]) -> None:
        """A batch of messages."""

    async def task(self, number: int, text: str) -> None:
        """Started with arguments that are checked."""


async def replies_have_the_type_that_the_request_names(ref: ActorRef[StoreRole]) -> None:
    """Ask, and tell what could be asked."""
    assert_type(await ref.ask(Size("key")), int)
    assert_type(await ref.ask(Names(), timeout=1.5), tuple[str, ...] | None)
    await ref.tell(Hint("text"))
    await ref.tell(Size("told, and its reply is dropped"))
    ref.try_tell(Mark())


async def a_decorated_handler_keeps_its_type(store: Store) -> None:
    """Handlers can be called as what they are, which is how to unit-test them."""
    assert_type(await store.size([Size("key")]), Sequence[int | Refusal])
    assert_type(await store.names(Names()), tuple[str, ...] | None)


def a_spec_ties_a_reference_to_the_actors_of_its_role(ref: ActorRef[StoreRole]) -> SupervisorSpec:
    """And a tree holds specs of every role."""
    return SupervisorSpec(name="root", children=(ActorSpec(ref=ref, factory=Store),))
