"""Test an actor of one's own with the harness: one real actor, and probes in the place of those that it works with.

Run me: pytest test_with_harness.py (needs pytest-trio)
The actor under test is below; its collaborator is the store's own StorageActor, which a probe stands in for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import trio

from artifactstore.storage import StorageActor
from artifactstore.supervision import Actor, ActorCrashed, ActorRef, AskTimeout, Request, handles
from artifactstore.testing import Probe, open_actor
from artifactstore_protocols.dataplane import VerifyResult
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.messages import StorageRole, VerifyObjects
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.storage import KnownObject, Place, StorageFailed

pytestmark = pytest.mark.trio


def known(number: int) -> KnownObject:
    """Return an object as a row of the log names it."""
    address = ContentAddress.parse(f"blake3:{number:064x}")
    return KnownObject(address, 1, Place("local", first_key(address)))


ONE, TWO = known(1), known(2)


class CheckerRole:
    """Samples objects and says which are missing."""


@dataclass(frozen=True, slots=True)
class CheckObjects(Request[tuple[str, ...], CheckerRole]):
    """Ask which of some objects are missing.

    Attributes:
        known: the objects.
    """

    known: tuple[KnownObject, ...]


class Checker(Actor[CheckerRole]):
    """Asks the storage about one object after the other."""

    def __init__(self, storage: ActorRef[StorageRole]) -> None:
        self._storage = storage

    @handles(CheckObjects)
    async def check(self, message: CheckObjects) -> tuple[str, ...]:
        """Lets the storage's refusals pass to the caller."""
        answers = [await self._storage.ask(VerifyObjects((each,)), timeout=10) for each in message.known]
        return tuple(str(answer.address) for (answer,) in answers if answer.status == "missing")


def missing(known: Sequence[KnownObject]) -> tuple[VerifyResult, ...]:
    return tuple(VerifyResult(each.address, "missing", None, None) for each in known)


async def test_it_names_what_is_missing() -> None:
    storage = Probe(StorageActor, "storage")
    storage.answer(VerifyObjects, lambda message: missing(message.known))
    async with open_actor("checker", lambda: Checker(storage.ref), storage) as harness:
        assert await harness.ref.ask(CheckObjects((ONE, TWO))) == (str(ONE.address), str(TWO.address))
        assert [message for message in storage.received if isinstance(message, VerifyObjects)] == [
            VerifyObjects((ONE,)),
            VerifyObjects((TWO,)),
        ]


async def test_it_asks_for_one_object_at_a_time() -> None:
    storage = Probe(StorageActor, "storage")
    async with open_actor("checker", lambda: Checker(storage.ref), storage) as harness, trio.open_nursery() as nursery:
        nursery.start_soon(harness.ref.ask, CheckObjects((ONE, TWO)))
        first = await storage.expect(VerifyObjects)
        storage.expect_nothing()  # the second waits until the first is answered
        first.reply(missing(first.message.known))
        second = await storage.expect(VerifyObjects)
        assert second.message.known == (TWO,)
        second.reply(missing([TWO]))


async def test_a_refusal_of_the_storage_is_its_answer_and_no_crash() -> None:
    storage = Probe(StorageActor, "storage")
    async with open_actor("checker", lambda: Checker(storage.ref), storage) as harness, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(StorageFailed, match="check the device"):
                await harness.ref.ask(CheckObjects((ONE,)))

        nursery.start_soon(ask)
        (await storage.expect(VerifyObjects)).refuse(StorageFailed("local", "read", "EIO"))
    assert harness.crashes == []


async def test_after_a_crash_the_next_question_finds_a_new_actor() -> None:
    storage = Probe(StorageActor, "storage")
    storage.answer(VerifyObjects, lambda message: missing(message.known))
    async with open_actor("checker", lambda: Checker(storage.ref), storage) as harness:
        harness.crash_at("before CheckObjects")
        with pytest.raises(ActorCrashed) as crashed:
            await harness.ref.ask(CheckObjects((ONE,)))
        assert crashed.value.may_have_taken_effect
        assert await harness.ref.ask(CheckObjects((ONE,))) == (str(ONE.address),)
        assert harness.snapshot.starts == 2


async def test_a_storage_that_never_answers_is_given_up_on(autojump_clock: trio.testing.MockClock) -> None:
    """Ten seconds pass in no time: the clock is virtual, and jumps when every task waits."""
    storage = Probe(StorageActor, "storage")
    async with open_actor("checker", lambda: Checker(storage.ref), storage) as harness:
        with pytest.raises(AskTimeout):
            await harness.ref.ask(CheckObjects((ONE,)))
        assert trio.current_time() >= 10
