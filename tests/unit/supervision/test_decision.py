"""The rules of supervision, one by one, without a runtime."""

from collections.abc import Callable

import pytest

from artifactstore_protocols.supervision import (
    ChildBusy,
    ChildExists,
    ChildState,
    Intensity,
    Phase,
    Restart,
    Strategy,
    SupervisorNotRunning,
    UnknownChild,
)
from artifactstore_protocols.supervision.events import (
    Action,
    Add,
    Delay,
    Elapsed,
    Enter,
    Event,
    Release,
    Remove,
    RestartChild,
    Shutdown,
    Start,
    StartChild,
    Stop,
    StopChild,
)
from artifactstore_protocols.supervision.lifecycle import IllegalSignal, Signal
from artifactstore_protocols.supervision.table import Supervision

from .machine import Machine, row, running

ONE, REST, ALL = Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL
PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY


def rest(name: str) -> Release:
    return Release(name, removed=False)


def drop(name: str) -> Release:
    return Release(name, removed=True)


def halt(name: str) -> Stop:
    return Stop(name, drain=False)


def drain(name: str) -> Stop:
    return Stop(name, drain=True)


def test_names_must_differ() -> None:
    with pytest.raises(ValueError, match="names that differ"):
        Supervision("sup", ONE, None, (row("a"), row("a")))


@pytest.mark.parametrize("strategy", Strategy)
def test_a_boot_starts_each_child_after_the_one_before_is_ready(strategy: Strategy) -> None:
    machine = Machine("a", "b", strategy=strategy)
    assert machine.last.actions == (Start("a"),)
    assert machine.ready("a") == (Start("b"),)
    assert machine.ready("b") == (Enter(Phase.RUNNING),)


def test_a_boot_without_children_is_over_at_once() -> None:
    assert Machine().last.actions == (Enter(Phase.RUNNING),)


def test_a_failed_start_at_boot_unwinds_in_reverse() -> None:
    machine = Machine("a", "b", "c", "d")
    machine.ready("a", "b")
    assert machine.crash("c") == (rest("c"), rest("d"), halt("b"))
    assert str(machine.last.outcome) == "the start of its supervisor fails"
    assert machine.finish("b") == (rest("b"), halt("a"))
    assert machine.finish("a") == (rest("a"), Enter(Phase.START_FAILED))


def test_a_temporary_child_that_does_not_start_at_boot_fails_the_boot_too() -> None:
    machine = Machine(row("a", TEMPORARY))
    assert machine.crash("a") == (rest("a"), Enter(Phase.START_FAILED))


def test_a_child_that_was_ready_once_is_restarted_even_while_others_boot() -> None:
    machine = Machine("a", "b", strategy=ONE)
    machine.ready("a")
    assert machine.crash("a") == (Delay("a", 1, 1),)
    assert machine.ready("b") == (), "the boot is over when all are ready"
    assert machine.do(Elapsed("a", 1)) == (Start("a"),)
    assert machine.crash("a") == (Delay("a", 2, 2),), "and its restart is not the boot's failure"
    machine.do(Elapsed("a", 2))
    assert machine.ready("a") == (Enter(Phase.RUNNING),)


@pytest.mark.parametrize(
    ("restart", "end", "expected"),
    [
        (PERMANENT, Machine.crash, (Delay("a", 1, 1),)),
        (PERMANENT, Machine.finish, (Delay("a", 1, 1),)),
        (TRANSIENT, Machine.crash, (Delay("a", 1, 1),)),
        (TRANSIENT, Machine.finish, (rest("a"),)),
        (TEMPORARY, Machine.crash, (drop("a"),)),
        (TEMPORARY, Machine.finish, (drop("a"),)),
    ],
)
def test_the_restart_type_decides_what_an_exit_leads_to(
    restart: Restart, end: Callable[[Machine, str], tuple[Action, ...]], expected: tuple[Action, ...]
) -> None:
    assert end(running(row("a", restart)), "a") == expected


def test_the_wait_grows_with_failures_in_a_row_and_is_forgotten_after_a_healthy_time() -> None:
    machine = running("a")
    for generation, delay in enumerate((1, 2, 4, 8), start=1):
        assert machine.crash("a") == (Delay("a", delay, generation),)
        machine.do(Elapsed("a", generation))
        machine.ready("a")
    machine.now += 99
    assert machine.crash("a") == (Delay("a", 16, 5),), "99 s are not healthy yet"
    machine.do(Elapsed("a", 5))
    machine.ready("a")
    machine.now += 100
    assert machine.crash("a") == (Delay("a", 1, 6),)


def test_a_healthy_time_of_an_earlier_run_does_not_excuse_a_start_that_fails() -> None:
    machine = running("a")
    machine.now += 1000
    machine.crash("a")
    machine.do(Elapsed("a", 1))
    assert machine.crash("a") == (Delay("a", 2, 2),)


def test_only_the_timer_of_the_present_backoff_counts() -> None:
    machine = running("a")
    machine.crash("a")
    machine.do(RestartChild("a"))
    machine.ready("a")
    machine.crash("a")
    assert machine.do(Elapsed("a", 1)) == ()
    assert machine.do(Elapsed("nobody", 1)) == ()
    assert machine.do(Elapsed("a", 2)) == (Start("a"),)
    assert machine.do(Elapsed("a", 2)) == ()


def test_rest_for_one_takes_down_those_after_it_in_reverse_and_starts_them_in_order() -> None:
    machine = running("a", "b", "c", "d", strategy=REST)
    assert machine.crash("b") == (Delay("b", 1, 1), halt("d"))
    assert machine.last.outcome is not None
    assert machine.last.outcome.siblings == ("c", "d")
    assert str(machine.last.outcome) == "restart in 1.000 s, with c, d"
    assert machine.finish("d") == (halt("c"),)
    assert str(machine.last.outcome) == "restart as ordered"
    assert machine.finish("c") == (), "nothing starts before the failed child has"
    assert machine.do(Elapsed("b", 1)) == (Start("b"),)
    assert machine.ready("b") == (Start("c"),)
    assert machine.ready("c") == (Start("d"),)
    assert machine.ready("d") == ()


def test_a_group_waits_until_all_of_it_is_down_even_when_the_backoff_is_over() -> None:
    machine = running("a", "b", strategy=REST)
    machine.crash("a")
    assert machine.do(Elapsed("a", 1)) == ()
    assert machine.finish("b") == (Start("a"),)


def test_one_for_all_takes_all_down_and_waits_for_the_failed_one() -> None:
    machine = running("a", "b", "c", strategy=ALL)
    assert machine.crash("b") == (Delay("b", 1, 1), halt("c"))
    assert machine.finish("c") == (halt("a"),)
    assert machine.finish("a") == ()
    assert machine.do(Elapsed("b", 1)) == (Start("a"),)
    assert machine.ready("a") == (Start("b"),)
    assert machine.ready("b") == (Start("c"),)


def test_a_temporary_bystander_of_a_group_restart_is_removed() -> None:
    machine = running("a", row("b", TEMPORARY), row("c", TRANSIENT), strategy=REST)
    assert machine.crash("a") == (Delay("a", 1, 1), halt("c"))
    assert machine.last.outcome is not None
    assert machine.last.outcome.siblings == ("c",)
    assert machine.finish("c") == (halt("b"),)
    assert machine.finish("b") == (drop("b"),)
    assert list(machine.states()) == ["a", "c"]


def test_a_group_restart_leaves_down_what_is_down() -> None:
    machine = running("a", "b", row("c", TRANSIENT), strategy=ALL)
    machine.do(StopChild("b"))
    machine.finish("b")
    machine.finish("c")
    machine.crash("a")
    assert machine.do(Elapsed("a", 1)) == (Start("a"),)
    assert machine.ready("a") == ()
    assert machine.states() == {"a": ChildState.RUNNING, "b": ChildState.IDLE, "c": ChildState.IDLE}


def test_an_earlier_failure_takes_over_a_later_childs_backoff() -> None:
    machine = running("a", "b", strategy=REST)
    machine.crash("b")
    assert machine.crash("a") == (Delay("a", 1, 1),)
    assert machine.do(Elapsed("b", 1)) == ()
    assert machine.do(Elapsed("a", 1)) == (Start("a"),)
    assert machine.ready("a") == (Start("b"),)


def test_a_child_that_is_queued_behind_a_failure_stays_queued_when_an_earlier_one_fails() -> None:
    machine = running("a", "b", "c", strategy=REST)
    machine.crash("b")
    machine.finish("c")
    machine.crash("a")
    machine.do(Elapsed("a", 1))
    assert machine.ready("a") == (Start("b"),)
    assert machine.ready("b") == (Start("c"),)


def test_a_child_that_crashes_while_it_is_to_be_restarted_spends_nothing() -> None:
    machine = running("a", "b", strategy=REST, intensity=Intensity(1, 10))
    machine.crash("a")
    machine.crash("b")
    assert machine.phase is Phase.RUNNING
    assert len(machine.state.restarts) == 1


def test_a_child_that_gets_ready_although_it_is_to_stop_is_stopped_all_the_same() -> None:
    machine = running("a", "b", "c", strategy=REST)
    machine.crash("b")
    machine.finish("c")
    machine.do(Elapsed("b", 1))
    machine.crash("a")
    assert machine.ready("b") == ()
    assert machine.states()["b"] is ChildState.STOPPING
    assert machine.finish("b") == ()
    assert machine.states() == {"a": ChildState.BACKOFF, "b": ChildState.QUEUED, "c": ChildState.QUEUED}


def test_a_child_may_get_ready_while_it_waits_for_its_turn_to_stop() -> None:
    machine = running("a", "b", "c", strategy=REST)
    machine.do(RestartChild("b"))
    machine.finish("b")
    assert machine.states()["b"] is ChildState.STARTING
    machine.crash("a")
    assert machine.states()["b"] is ChildState.DOOMED, "c has to be down first"
    assert machine.ready("b") == ()
    assert machine.finish("c") == (halt("b"),)


def test_above_the_intensity_all_stop_in_reverse_and_the_supervisor_gives_up() -> None:
    machine = running("a", "b", "c", intensity=Intensity(1, 10))
    machine.crash("a")
    machine.now = 10
    assert machine.crash("b") == (rest("b"), rest("a"), halt("c"))
    assert str(machine.last.outcome) == "its supervisor gives up"
    assert machine.finish("c") == (rest("c"), Enter(Phase.GAVE_UP))


def test_restarts_that_are_older_than_the_period_do_not_count() -> None:
    machine = running("a", intensity=Intensity(1, 10))
    for generation in range(1, 6):
        machine.crash("a")
        machine.do(Elapsed("a", generation))
        machine.ready("a")
        machine.now += 10.5
    assert machine.phase is Phase.RUNNING


def test_a_failed_restart_spends_intensity() -> None:
    machine = running("a", intensity=Intensity(2, 10))
    machine.crash("a")
    machine.do(Elapsed("a", 1))
    machine.crash("a")
    machine.do(Elapsed("a", 2))
    assert machine.crash("a") == (rest("a"), Enter(Phase.GAVE_UP))


def test_without_an_intensity_it_never_gives_up() -> None:
    machine = running("a")
    for generation in range(1, 100):
        machine.crash("a")
        assert machine.do(Elapsed("a", generation)) == (Start("a"),)
        machine.ready("a")
    assert machine.state.restarts == ()


@pytest.mark.parametrize("strategy", Strategy)
def test_a_shutdown_drains_in_reverse_one_by_one(strategy: Strategy) -> None:
    machine = running("a", "b", strategy=strategy)
    assert machine.shutdown() == (drain("b"),)
    assert machine.crash("b") == (rest("b"), drain("a")), "how it ends does not matter any more"
    assert machine.finish("a") == (rest("a"), Enter(Phase.STOPPED))
    assert machine.shutdown() == ()


def test_a_shutdown_without_drain_says_so_to_every_child() -> None:
    machine = running("a")
    assert machine.do(Shutdown(drain=False)) == (halt("a"),)


def test_a_shutdown_ends_a_boot_and_every_wait() -> None:
    machine = Machine("a", "b", "c")
    machine.ready("a")
    machine.crash("a")
    assert machine.shutdown() == (rest("a"), rest("c"), drain("b"))
    assert machine.crash("b") == (rest("b"), Enter(Phase.STOPPED))


def test_a_shutdown_overtakes_a_restart_that_is_under_way() -> None:
    machine = running("a", "b", strategy=REST)
    machine.crash("a")
    assert machine.shutdown() == (rest("a"),)
    assert machine.finish("b") == (rest("b"), Enter(Phase.STOPPED))


def test_a_shutdown_does_not_change_how_a_supervisor_that_gives_up_ends() -> None:
    machine = running("a", "b", intensity=Intensity(0, 1))
    machine.crash("a")
    assert machine.shutdown() == ()
    assert machine.finish("b") == (rest("b"), Enter(Phase.GAVE_UP))


def test_under_one_for_one_children_stop_and_start_independently() -> None:
    machine = running("a", "b")
    assert machine.do(StopChild("b")) == (drain("b"),)
    assert machine.do(StopChild("a")) == (drain("a"),)
    assert machine.finish("a") == (rest("a"),)
    assert machine.do(StartChild("a")) == (Start("a"),)


def test_stopping_a_child_keeps_its_place_unless_it_is_temporary() -> None:
    machine = running("a", row("b", TEMPORARY))
    machine.do(StopChild("a"))
    assert machine.finish("a") == (rest("a"),)
    machine.do(StopChild("b"))
    assert machine.finish("b") == (drop("b"),)
    assert machine.do(StopChild("a")) == (), "it is down already"


def test_a_stop_wins_over_a_restart_that_is_under_way() -> None:
    machine = running("a", "b", strategy=REST)
    machine.crash("a")
    machine.do(StopChild("b"))
    assert machine.finish("b") == (rest("b"),)
    assert machine.do(StopChild("a")) == (rest("a"),), "so it does over a backoff"


def test_a_group_restart_does_not_revive_a_child_that_is_being_stopped() -> None:
    machine = running("a", "b", strategy=REST)
    machine.do(StopChild("b"))
    machine.crash("a")
    assert machine.finish("b") == (rest("b"),)


def test_a_child_can_be_stopped_before_its_turn_to_start() -> None:
    machine = running("a", "b", strategy=REST)
    machine.crash("a")
    machine.finish("b")
    assert machine.do(StopChild("b")) == (rest("b"),)


def test_an_added_child_is_started_last_and_forgotten_when_it_does_not_start() -> None:
    machine = running("a")
    assert machine.do(Add(row("b"))) == (Start("b"),)
    assert machine.crash("b") == (drop("b"),)
    machine.do(Add(row("b")))
    machine.ready("b")
    assert machine.crash("b") == (Delay("b", 1, 1),), "once it was ready it is a child like any other"


def test_a_child_started_by_order_is_down_again_when_it_does_not_start() -> None:
    machine = running(row("a", TRANSIENT))
    machine.finish("a")
    assert machine.do(StartChild("a")) == (Start("a"),)
    assert machine.crash("a") == (rest("a"),)
    assert machine.do(RestartChild("a")) == (Start("a"),)
    assert machine.crash("a") == (rest("a"),)
    assert machine.state.restarts == ()


def test_a_restart_by_order_stops_and_starts_without_spending_anything() -> None:
    machine = running("a", "b", strategy=ALL, intensity=Intensity(0, 1))
    assert machine.do(RestartChild("a")) == (halt("a"),)
    assert machine.finish("a") == (Start("a"),)
    machine.ready("a")
    assert machine.phase is Phase.RUNNING


def test_a_running_child_that_is_restarted_by_order_and_does_not_start_is_a_failed_restart() -> None:
    machine = running("a", "b", intensity=Intensity(0, 1))
    machine.do(RestartChild("a"))
    machine.finish("a")
    machine.crash("a")
    assert machine.phase is Phase.GIVING_UP


def test_a_restart_by_order_ends_a_backoff() -> None:
    machine = running("a")
    machine.crash("a")
    assert machine.do(RestartChild("a")) == (Start("a"),)


def test_a_child_that_is_down_can_be_removed() -> None:
    machine = running("a")
    machine.do(StopChild("a"))
    machine.finish("a")
    assert machine.do(Remove("a")) == (drop("a"),)
    assert machine.states() == {}


def busy(state: ChildState) -> Machine:
    """A machine whose child "b" is in this state."""
    machine = running("a", "b", strategy=REST)
    match state:
        case ChildState.IDLE:
            machine.do(StopChild("b"))
            machine.finish("b")
        case ChildState.QUEUED:
            machine.crash("a")
            machine.finish("b")
        case ChildState.STARTING:
            machine.crash("b")
            machine.do(Elapsed("b", 1))
        case ChildState.STOPPING:
            machine.do(StopChild("b"))
        case ChildState.BACKOFF:
            machine.crash("b")
        case _:
            pass
    assert machine.states()["b"] is state
    return machine


UNDER_WAY = [ChildState.QUEUED, ChildState.STARTING, ChildState.STOPPING]


@pytest.mark.parametrize(
    ("order", "state", "error"),
    [
        *((StartChild("b"), state, ChildBusy) for state in [*UNDER_WAY, ChildState.BACKOFF]),
        (StartChild("b"), ChildState.RUNNING, ChildExists),
        *((RestartChild("b"), state, ChildBusy) for state in UNDER_WAY),
        *((Remove("b"), state, ChildBusy) for state in [*UNDER_WAY, ChildState.BACKOFF, ChildState.RUNNING]),
        *((Add(row("b")), state, ChildExists) for state in [*UNDER_WAY, ChildState.IDLE, ChildState.RUNNING]),
    ],
)
def test_an_order_that_does_not_fit_the_state_is_refused_and_names_it(
    order: Event, state: ChildState, error: type[ChildBusy] | type[ChildExists]
) -> None:
    machine = busy(state)
    with pytest.raises(error, match=f"sup/b (exists and )?is {state}"):
        machine.do(order)


@pytest.mark.parametrize("order", [StartChild("x"), StopChild("x"), RestartChild("x"), Remove("x")])
def test_an_order_about_an_unknown_child_is_refused(order: Event) -> None:
    with pytest.raises(UnknownChild, match="sup/x"):
        running("a").do(order)


@pytest.mark.parametrize("order", [Add(row("x")), StartChild("a"), StopChild("a"), RestartChild("a"), Remove("a")])
def test_a_supervisor_that_is_not_running_takes_no_orders(order: Event) -> None:
    booting = Machine("a")
    stopping = running("a")
    stopping.shutdown()
    for machine in (booting, stopping):
        with pytest.raises(SupervisorNotRunning) as caught:
            machine.do(order)
        assert caught.value.phase == machine.phase


def test_an_event_that_cannot_happen_is_an_error_of_the_caller() -> None:
    with pytest.raises(IllegalSignal):
        running("a").ready("a")


@pytest.mark.parametrize(
    ("restart", "words"), [(TRANSIENT, "stays down"), (TEMPORARY, "is removed"), (PERMANENT, "restart in 1.000 s")]
)
def test_an_outcome_reads_as_what_happens_next(restart: Restart, words: str) -> None:
    machine = running(row("a", restart))
    machine.finish("a")
    assert str(machine.last.outcome) == words


def test_the_stronger_of_two_reasons_to_stop_wins_whichever_came_first() -> None:
    machine = running("a", row("b", TEMPORARY), strategy=REST)
    machine.crash("a")
    machine.shutdown()
    assert machine.state.child("b").then is Signal.DROP


def test_a_child_that_was_restarted_with_a_sibling_fails_on_its_own_account_the_next_time() -> None:
    machine = running("a", "b", strategy=REST, intensity=Intensity(5, 10))
    machine.crash("a")
    machine.finish("b")
    machine.do(Elapsed("a", 1))
    machine.ready("a", "b")
    assert machine.crash("b") == (Delay("b", 1, 2),)
    assert len(machine.state.restarts) == 2


def test_a_boot_is_over_when_some_children_run_and_others_have_finished() -> None:
    machine = Machine(row("a", TRANSIENT), "b")
    machine.ready("a")
    machine.finish("a")
    assert machine.ready("b") == (Enter(Phase.RUNNING),)


def test_a_child_that_was_stopped_by_order_starts_with_a_clean_slate() -> None:
    machine = running("a")
    for generation in (1, 2):
        machine.crash("a")
        machine.do(Elapsed("a", generation))
        machine.ready("a")
    machine.do(StopChild("a"))
    machine.finish("a")
    machine.do(StartChild("a"))
    machine.ready("a")
    assert machine.crash("a") == (Delay("a", 1, 4),)
