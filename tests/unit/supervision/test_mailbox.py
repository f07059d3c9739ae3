"""A mailbox: bounded by count and bytes, first come first served, and nothing in it is ever lost in silence."""

import gc
import logging
import weakref

import pytest
import trio
import trio.testing

from artifactstore.supervision import (
    ActorStopped,
    AskTimeout,
    DeadLetterReason,
    MailboxFull,
    MailboxLimits,
    open_tree,
)

from .probe import Echo, Hold, Note, Parallel, Put, Script, ask_in_vain, ask_within, probe, tree_of


async def test_try_tell_is_refused_when_the_count_is_reached_and_names_the_limits() -> None:
    script = Script()
    ref, spec = probe(script, "a", mailbox=MailboxLimits(messages=2, bytes=10))
    async with open_tree(tree_of(spec)):
        ref.try_tell(Note("one"))
        ref.try_tell(Note("two"))
        with pytest.raises(MailboxFull) as caught:
            ref.try_tell(Note("three"))
        assert (caught.value.actor, caught.value.messages_limit, caught.value.bytes_limit) == ("root/a", 2, 10)
        await ref.ask(Echo("made room"))
    assert "note three" not in script.of("a")


async def test_bytes_bound_a_mailbox_too() -> None:
    script = Script()
    ref, spec = probe(script, "a", mailbox=MailboxLimits(messages=100, bytes=10))
    async with open_tree(tree_of(spec)) as tree:
        ref.try_tell(Note("one", weight=6))
        with pytest.raises(MailboxFull):
            ref.try_tell(Note("two", weight=5))
        ref.try_tell(Note("three", weight=4))
        mailbox = tree.snapshot().actor("root/a").mailbox
        assert (mailbox.depth, mailbox.size_bytes) == (2, 10)
        await ref.ask(Echo("done"))
        mailbox = tree.snapshot().actor("root/a").mailbox
        assert (mailbox.depth, mailbox.size_bytes, mailbox.size_bytes_peak) == (0, 0, 10)


async def test_a_message_that_can_never_fit_is_refused_at_once() -> None:
    script = Script()
    ref, spec = probe(script, "a", mailbox=MailboxLimits(bytes=10))
    async with open_tree(tree_of(spec)):
        for attempt in (ref.tell(Note("huge", weight=11)), ref.ask(Put(1, weight=11))):
            with pytest.raises(MailboxFull, match="can never enter"):
                await attempt


async def test_senders_wait_for_room_in_the_order_in_which_they_came() -> None:
    script = Script()
    ref, spec = probe(script, "a", mailbox=MailboxLimits(messages=1, bytes=10))
    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Hold("busy"))
        await script.waiting("busy").wait()
        for note in (Note("one"), Note("large", weight=10), Note("small")):
            nursery.start_soon(ref.tell, note)
            await trio.testing.wait_all_tasks_blocked()
        assert tree.snapshot().actor("root/a").mailbox.senders_waiting == 2
        with pytest.raises(MailboxFull):
            ref.try_tell(Note("no overtaking"))
        script.gate("busy").set()
    assert script.of("a")[3:-1] == ["note one", "note large", "note small"]


async def test_a_sender_that_stops_waiting_lets_the_next_one_in() -> None:
    script = Script()
    ref, spec = probe(script, "a", mailbox=MailboxLimits(messages=10, bytes=10))
    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Hold("busy"))
        await script.waiting("busy").wait()
        ref.try_tell(Note("half", weight=5))
        impatient = trio.CancelScope()

        async def send_large() -> None:
            with impatient:
                await ref.tell(Note("large", weight=10))

        nursery.start_soon(send_large)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ref.tell, Note("small", weight=5))
        await trio.testing.wait_all_tasks_blocked()
        impatient.cancel()
        await trio.testing.wait_all_tasks_blocked()
        script.gate("busy").set()
    assert script.of("a")[3:-1] == ["note half", "note small"]


async def test_an_ask_that_waits_for_room_is_bounded_by_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    ref, spec = probe(script, "a", mailbox=MailboxLimits(messages=1))
    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Hold("busy"))
        await script.waiting("busy").wait()
        ref.try_tell(Note("fills it"))
        with pytest.raises(AskTimeout) as caught:
            await ref.ask(Echo("no room"), timeout=2)
        assert not caught.value.may_have_taken_effect
        script.gate("busy").set()


async def test_a_sender_that_waits_when_the_actor_stops_is_told() -> None:
    script = Script()
    ref, spec = probe(script, "a", mailbox=MailboxLimits(messages=1))
    async with trio.open_nursery() as nursery, open_tree(tree_of(spec)):
        nursery.start_soon(ref.ask, Hold("busy"))
        await script.waiting("busy").wait()
        ref.try_tell(Note("fills it"))

        async def send() -> None:
            with pytest.raises(ActorStopped) as caught:
                await ref.tell(Note("too late"))
            assert not caught.value.may_have_taken_effect
            script.gate("busy").set()

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
    assert script.of("a")[-2:] == ["note fills it", "stop"]


async def test_an_abandoned_ask_frees_its_bytes_and_keeps_its_place_until_it_is_reached() -> None:
    script = Script()
    ref, spec = probe(script, "a", mailbox=MailboxLimits(messages=2, bytes=10))
    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Hold("busy"))
        await script.waiting("busy").wait()
        impatient = trio.CancelScope()
        nursery.start_soon(ask_within, impatient, ref, Put(1, weight=10))
        await trio.testing.wait_all_tasks_blocked()
        impatient.cancel()
        await trio.testing.wait_all_tasks_blocked()
        mailbox = tree.snapshot().actor("root/a").mailbox
        assert (mailbox.depth, mailbox.size_bytes, mailbox.abandoned) == (1, 0, 1)
        ref.try_tell(Note("fits again", weight=10))
        with pytest.raises(MailboxFull):
            ref.try_tell(Note("the place is still taken"))
        script.gate("busy").set()
        await ref.ask(Echo("all is done"))
        mailbox = tree.snapshot().actor("root/a").mailbox
        assert (mailbox.depth, mailbox.size_bytes) == (0, 0)
    assert script.of("a")[3:-1] == ["note fits again"]


class Text(str):
    """A text that can be watched."""

    __slots__ = ("__weakref__",)


@pytest.mark.slow
async def test_an_idle_actor_keeps_no_message_alive() -> None:
    """Its workers wait for the next one, and may do so for long."""
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)):
        for make in (Echo, Parallel):
            text = Text("a large one")
            script.gate(text).set()
            watched = weakref.ref(text)
            await ref.ask(make(text))
            script.gates.clear()
            script.entered.clear()
            del text
            gc.collect()
            assert watched() is None, make.__name__


async def test_an_actor_that_has_recovered_keeps_no_message_of_its_crash_alive(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(logging.getLogger("artifactstore.supervision"), "disabled", True)  # pytest keeps its records
    script = Script()
    ref, spec = probe(script, "a", max_deliveries=1)
    async with open_tree(tree_of(spec)) as tree:
        text = Text("poison")
        watched = weakref.ref(text)
        await ref.tell(Note(text))
        del text
        await trio.sleep(1)
        assert [letter.message for letter in tree.dead_letters] == [Note("poison")]
        for _ in range(300):
            await ref.tell(Note("refuse"))
        assert await ref.ask(Echo("well again")) == "well again"
        script.actors.clear()
        gc.collect()
        assert watched() is None, "the ring of dead letters has moved on, and nobody else has it"


async def test_what_was_told_and_never_handled_is_a_dead_letter_when_the_actor_stops_for_good(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a", shutdown_timeout_s=1)
    async with trio.open_nursery() as nursery:
        async with open_tree(tree_of(spec)) as tree:
            nursery.start_soon(ask_in_vain, ref, Hold("never"))
            await script.waiting("never").wait()
            ref.try_tell(Note("late"))
        (letter,) = tree.dead_letters
    assert (letter.actor, letter.message, letter.reason) == ("root/a", Note("late"), DeadLetterReason.STOPPED)
    assert letter.deliveries == 0
    assert tree.dead_letter_counts == {
        DeadLetterReason.POISON: 0,
        DeadLetterReason.REFUSED: 0,
        DeadLetterReason.STOPPED: 1,
    }


async def test_concurrent_workers_pick_up_what_waited_through_a_restart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        script.holding_starts.add("a")
        nursery.start_soon(tree.restart_child, "root/a")
        await script.waiting("a").wait()
        for gate in ("one", "two", "three"):
            nursery.start_soon(ref.ask, Parallel(gate))
        await trio.testing.wait_all_tasks_blocked()
        script.gate("a").set()
        await trio.testing.wait_all_tasks_blocked()
        assert len([said for said in script.of("a") if said.startswith("parallel")]) == 2
        for gate in ("one", "two", "three"):
            script.gate(gate).set()


async def test_how_long_the_oldest_message_waits_is_known(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Hold("busy"))
        await script.waiting("busy").wait()
        assert tree.snapshot().actor("root/a").mailbox.oldest_s is None, "what is being handled does not wait"
        await ref.tell(Note("one"))
        await trio.sleep(2)
        await ref.tell(Note("two"))
        await trio.sleep(3)
        assert tree.snapshot().actor("root/a").mailbox.oldest_s == 5
        assert (await ref.ping()).oldest_s == 5
        script.gate("busy").set()
        await ref.ask(Echo("all done"))
        assert tree.snapshot().actor("root/a").mailbox.oldest_s is None
