"""Items are prepared ahead and finished in order; the first that fails ends the rest, and is raised as it was."""

from collections.abc import Iterator

import pytest
import trio
import trio.testing

from artifactstore.ingest.pipeline import in_order


class Boom(Exception):
    """What fails in these tests."""


async def nothing(_item: int, _prepared: int) -> None:
    """Finish at once."""


async def itself(item: int) -> int:
    """Prepare at once."""
    await trio.lowlevel.checkpoint()
    return item


async def test_the_next_items_are_prepared_while_one_is_finished() -> None:
    """The second stage holds the first item until the first stage is done with the two that follow."""
    prepared: list[int] = []
    finished: list[int] = []
    two_more = trio.Event()

    async def prepare(item: int) -> int:
        await trio.lowlevel.checkpoint()
        prepared.append(item)
        if len(prepared) == 3:
            two_more.set()
        return 10 * item

    async def finish(item: int, found: int) -> None:
        await two_more.wait()
        assert found == 10 * item
        finished.append(item)

    await in_order(iter(range(6)), prepare, finish, in_flight=3)
    assert (sorted(prepared), finished) == (list(range(6)), list(range(6)))


@pytest.mark.parametrize("in_flight", [1, 2, 3])
async def test_no_more_items_are_begun_than_may_be_in_flight(in_flight: int) -> None:
    begun = 0
    most = 0

    def items() -> Iterator[int]:
        nonlocal begun, most
        for item in range(7):
            begun += 1
            most = max(most, begun)
            yield item

    async def finish(_item: int, _found: int) -> None:
        nonlocal begun
        await trio.testing.wait_all_tasks_blocked()  # what else could begin has begun
        begun -= 1

    await in_order(items(), itself, finish, in_flight=in_flight)
    assert most == in_flight


async def test_items_that_are_prepared_out_of_order_are_finished_in_order() -> None:
    third_is_ready = trio.Event()
    finished: list[int] = []

    async def prepare(item: int) -> int:
        if item == 2:
            third_is_ready.set()
        else:
            await third_is_ready.wait()
        return item

    async def finish(item: int, _found: int) -> None:
        await trio.lowlevel.checkpoint()
        finished.append(item)

    await in_order(iter(range(3)), prepare, finish, in_flight=3)
    assert finished == [0, 1, 2]


async def test_a_failed_preparation_is_raised_when_its_turn_comes_and_ends_the_later_ones() -> None:
    finished: list[int] = []
    abandoned: list[int] = []
    failed = trio.Event()
    failure = Boom()

    async def prepare(item: int) -> int:
        if item == 1:
            failed.set()
            raise failure
        if item == 2:
            try:
                await trio.sleep_forever()
            finally:
                abandoned.append(item)
        return item

    async def finish(item: int, _found: int) -> None:
        await failed.wait()
        finished.append(item)

    items = iter(range(9))
    with pytest.raises(Boom) as raised:
        await in_order(items, prepare, finish, in_flight=3)
    assert raised.value is failure
    assert (finished, abandoned) == ([0], [2])
    assert next(items) == 4, "nothing is begun any more after the failure was met"


async def test_a_failure_to_finish_is_raised_at_once_and_ends_the_later_ones() -> None:
    failure = Boom()
    abandoned: list[int] = []

    async def prepare(item: int) -> int:
        if item:
            try:
                await trio.sleep_forever()
            finally:
                abandoned.append(item)
        return item

    async def finish(_item: int, _found: int) -> None:
        await trio.testing.wait_all_tasks_blocked()
        raise failure

    with pytest.raises(Boom) as raised:
        await in_order(iter(range(9)), prepare, finish, in_flight=3)
    assert raised.value is failure
    assert sorted(abandoned) == [1, 2]


async def test_cancelling_ends_both_stages() -> None:
    abandoned: list[str] = []

    async def prepare(item: int) -> int:
        if item:
            try:
                await trio.sleep_forever()
            finally:
                abandoned.append("prepare")
        return item

    async def finish(_item: int, _found: int) -> None:
        scope.cancel()
        try:
            await trio.sleep_forever()
        finally:
            abandoned.append("finish")

    with trio.CancelScope() as scope:
        await in_order(iter(range(9)), prepare, finish, in_flight=2)
    assert scope.cancelled_caught
    assert sorted(abandoned) == ["finish", "prepare"]


async def test_nothing_is_nothing() -> None:
    await in_order(iter(()), itself, nothing, in_flight=3)
