"""Probes: actors that stand in for the collaborators of the one under test, and do what the test says.

A probe takes the messages of the actor that it stands in for. Each waits until the test expects it and says what
becomes of it: a reply, a refusal, a crash; unless the test has said so beforehand for all messages of the type.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, cast

import trio

from artifactstore.supervision import Actor, ActorRef, ActorSpec, Backoff, Concurrent, Message, OnCancel, Refusal
from artifactstore.supervision.handlers import Handler

__all__ = ["InjectedCrash", "Probe", "Received"]

_AT_ONCE = 256
_EXPECTED_WITHIN_S = 10.0


class InjectedCrash(Exception):
    """What an actor fails with because a test said so."""


class Received[M: Message[Any]]:
    """A message that a probe was sent, and the test's means to settle it.

    Attributes:
        message: what was sent.
    """

    def __init__(self, message: M) -> None:
        self.message = message
        self._settled = trio.Event()
        self._settle: Callable[[], object] = lambda: None

    def reply(self, value: object = None) -> None:
        """Answer; for a message that was told, let the probe continue."""
        self._end(lambda: value)

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal."""
        self._end(_raising(refusal))

    def crash(self) -> None:
        """Let the probe fail while it handles this message; it is started again at once."""
        self._end(_raising(InjectedCrash("as the test said")))

    async def settled(self) -> object:
        """Wait for the test's word and follow it; for the probe."""
        await self._settled.wait()
        return self._settle()

    def _end(self, settle: Callable[[], object]) -> None:
        if self._settled.is_set():
            raise RuntimeError(f"{type(self.message).__name__} is settled already")
        self._settle = settle
        self._settled.set()


class Probe[Role]:
    """Stands in for an actor.

    Attributes:
        ref: what the actor under test is given.
        received: every message so far, in order.
    """

    def __init__(self, stands_for: type[Actor[Role]], name: str) -> None:
        """Make one.

        Args:
            stands_for: whose messages it takes.
            name: its name in the tree.
        """
        self.ref = ActorRef[Role](name)
        self.received: list[Message[Any]] = []
        self._waiting: list[Received[Any]] = []
        self._arrived = trio.Event()
        self._standing: dict[type[Message[Any]], Callable[[Any], object]] = {}
        self._handlers = MappingProxyType(
            {kind: Handler(kind, Concurrent(_AT_ONCE), OnCancel.CANCEL, "take") for kind in stands_for.handlers}
        )

    def answer[M: Message[Any]](self, kind: type[M], reply: Callable[[M], object]) -> None:
        """From now on, answer every message of a type with what `reply` returns or raises."""
        self._check(kind)
        self._standing[kind] = reply

    def ignore(self, kind: type[Message[Any]]) -> None:
        """From now on, take note of messages of a type and answer them with None."""
        self.answer(kind, lambda _: None)

    async def expect[M: Message[Any]](self, kind: type[M]) -> Received[M]:
        """The next unsettled message, which must be of this type.

        Raises:
            AssertionError: it is of another type, or none comes within 10 seconds.
        """
        self._check(kind)
        with trio.move_on_after(_EXPECTED_WITHIN_S):
            while not self._waiting:
                await self._arrived.wait()
        if not self._waiting:
            raise AssertionError(f"{self.ref.name} was to be sent {kind.__name__}, and was sent nothing")
        received = self._waiting.pop(0)
        if not isinstance(received.message, kind):
            text = f"{self.ref.name} was to be sent {kind.__name__}, and was sent {received.message!r}"
            raise AssertionError(text)  # noqa: TRY004 - a test has failed
        return cast("Received[M]", received)

    def expect_nothing(self) -> None:
        """Hold that no message waits to be settled.

        Raises:
            AssertionError: one does.
        """
        if self._waiting:
            raise AssertionError(f"{self.ref.name} was sent {self._waiting[0].message!r}")

    def spec(self) -> ActorSpec[Role]:
        """How to run it."""
        actor = self._actor_class()
        return ActorSpec(ref=self.ref, factory=lambda: actor(self), backoff=Backoff(initial_s=0, jitter=0))

    def _actor_class(self) -> "type[_ProbeActor[Role]]":
        class Standing(_ProbeActor[Role]):
            pass

        Standing.handlers = self._handlers  # a class finds its own in its methods, and this one's come from another
        return Standing

    async def take(self, message: Message[Any]) -> object:
        """Handle a message; for the probe's own actor."""
        self.received.append(message)
        standing = self._standing.get(type(message))
        if standing is not None:
            return standing(message)
        received = Received(message)
        self._waiting.append(received)
        self._arrived.set()
        self._arrived = trio.Event()
        try:
            return await received.settled()
        finally:
            if received in self._waiting:  # the asker has left
                self._waiting.remove(received)

    def _check(self, kind: type[Message[Any]]) -> None:
        if kind not in self._handlers:
            raise TypeError(f"{self.ref.name} takes no {kind.__name__}")


class _ProbeActor[Role](Actor[Role]):
    def __init__(self, probe: Probe[Role]) -> None:
        self._probe = probe

    async def take(self, message: Message[Any]) -> object:
        return await self._probe.take(message)


def _raising(error: Exception) -> Callable[[], object]:
    def settle() -> object:
        raise error

    return settle
