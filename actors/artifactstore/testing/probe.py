"""Probes: actors that replace the collaborators of the actor under test and do what the test says.

A probe receives the messages of the actor that it replaces. Each message waits until the test expects it and settles it
with a reply, a refusal or a crash. A test can also set the reply to all messages of a type in advance.
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
    """The error that a test injects into an actor."""


class Received[M: Message[Any]]:
    """A message that a probe received, with methods for the test to settle it.

    Attributes:
        message: the message.
    """

    def __init__(self, message: M) -> None:
        self.message = message
        self._settled = trio.Event()
        self._settle: Callable[[], object] = lambda: None

    def reply(self, value: object = None) -> None:
        """Reply to the message. A message that was sent with `tell` gets no reply; the probe only continues."""
        self._end(lambda: value)

    def refuse(self, refusal: Refusal) -> None:
        """Reply with a refusal."""
        self._end(_raising(refusal))

    def crash(self) -> None:
        """Make the probe fail while it handles this message. The probe restarts immediately."""
        self._end(_raising(InjectedCrash("as the test said")))

    async def settled(self) -> object:
        """Wait until the test settles the message, then return the reply or raise the error; the probe calls this."""
        await self._settled.wait()
        return self._settle()

    def _end(self, settle: Callable[[], object]) -> None:
        """Settle the message with what `settle` returns or raises."""
        if self._settled.is_set():
            raise RuntimeError(f"{type(self.message).__name__} is settled already")
        self._settle = settle
        self._settled.set()


class Probe[Role]:
    """An actor that replaces a collaborator of the actor under test.

    Attributes:
        ref: the address to give to the actor under test.
        received: every message so far, in order.
    """

    def __init__(self, stands_for: type[Actor[Role]], name: str) -> None:
        """Create a probe.

        Args:
            stands_for: the class of the actor that the probe replaces.
            name: the name of the probe in the tree.
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
        """Reply to every later message of a type with what `reply` returns or raises."""
        self._check(kind)
        self._standing[kind] = reply

    def ignore(self, kind: type[Message[Any]]) -> None:
        """Reply None to every later message of a type."""
        self.answer(kind, lambda _: None)

    async def expect[M: Message[Any]](self, kind: type[M]) -> Received[M]:
        """Wait for the next unsettled message, which must be of this type, and return it.

        Raises:
            AssertionError: the message is of another type, or no message arrives within 10 seconds.
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
            raise AssertionError(text)  # noqa: TRY004 - the error of a failed test
        return cast("Received[M]", received)

    def expect_nothing(self) -> None:
        """Check that no message waits to be settled.

        Raises:
            AssertionError: a message waits.
        """
        if self._waiting:
            raise AssertionError(f"{self.ref.name} was sent {self._waiting[0].message!r}")

    def spec(self) -> ActorSpec[Role]:
        """Return the specification with which a tree runs the probe."""
        actor = self._actor_class()
        return ActorSpec(ref=self.ref, factory=lambda: actor(self), backoff=Backoff(initial_s=0, jitter=0))

    def _actor_class(self) -> "type[_ProbeActor[Role]]":
        class Standing(_ProbeActor[Role]):
            pass

        # By default, a class gets its handlers from its own methods. The probe needs those of the replaced actor.
        Standing.handlers = self._handlers
        return Standing

    async def take(self, message: Message[Any]) -> object:
        """Handle a message; the actor of the probe calls this."""
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
            if received in self._waiting:  # the sender stopped waiting
                self._waiting.remove(received)

    def _check(self, kind: type[Message[Any]]) -> None:
        if kind not in self._handlers:
            raise TypeError(f"{self.ref.name} takes no {kind.__name__}")


class _ProbeActor[Role](Actor[Role]):
    """The actor of a probe, which passes every message to the probe."""

    def __init__(self, probe: Probe[Role]) -> None:
        self._probe = probe

    async def take(self, message: Message[Any]) -> object:
        return await self._probe.take(message)


def _raising(error: Exception) -> Callable[[], object]:
    def settle() -> object:
        raise error

    return settle
