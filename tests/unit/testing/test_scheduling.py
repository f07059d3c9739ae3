"""The order of tasks follows from the seed; and trio still has the private names that make it so."""

import random
from collections.abc import Awaitable, Callable
from importlib import import_module

import trio

from artifactstore.testing.scheduling import run_seeded, seeded_scheduling


def shuffled() -> Callable[[], Awaitable[list[int]]]:
    async def main() -> list[int]:
        order: list[int] = []

        async def note(number: int) -> None:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(note, number)
        return order

    return main


def test_trio_still_has_the_names_that_decide_the_order_of_tasks() -> None:
    run = import_module("trio._core._run")
    hint = "trio has changed how it shuffles tasks: look at its run loop, then at artifactstore.testing.scheduling"
    assert isinstance(getattr(run, "_r", None), random.Random), hint
    assert isinstance(getattr(run, "_ALLOW_DETERMINISTIC_SCHEDULING", None), bool), hint


def test_the_same_seed_gives_the_same_order_and_other_seeds_give_others() -> None:
    orders = [tuple(run_seeded(seed, shuffled())) for seed in range(10)]
    assert orders == [tuple(run_seeded(seed, shuffled())) for seed in range(10)]
    assert len(set(orders)) == 10


def test_what_was_before_is_back_afterwards() -> None:
    run = import_module("trio._core._run")
    before = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate()
    with seeded_scheduling(1):
        assert run._r.getstate() != before[1]
    assert (run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate()) == before


def test_time_is_virtual() -> None:
    async def sleep_for_a_year() -> float:
        await trio.sleep(365 * 24 * 3600)
        return trio.current_time()

    assert run_seeded(0, sleep_for_a_year) == 365 * 24 * 3600
