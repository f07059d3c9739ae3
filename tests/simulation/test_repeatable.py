"""The same plan goes the same way: in this process and in another one; and a failure can be seen again."""

import json
import os
import random
import re
import shlex
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from documents import ROOT
from simulation import simulate as command
from simulation import soak
from simulation.grammar import as_json, from_json, sample
from simulation.log import SimulatedLog
from simulation.outcome import Outcome
from simulation.plan import Plan
from simulation.run import simulate
from simulation.simulate import plan_of
from simulation.strategies import plans


def outcome_of(plan: Plan) -> Outcome:
    return simulate(plan.seed, plan.workload, plan.faults)


@pytest.mark.slow
@given(plan=plans())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_no_drawn_plan_violates_an_oracle(plan: Plan) -> None:
    outcome_of(plan).check()


@pytest.mark.slow
@given(plan=plans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_plan_survives_being_written_down(plan: Plan) -> None:
    assert from_json(json.loads(json.dumps(as_json(plan)))) == plan


def test_a_sampled_plan_survives_being_written_down() -> None:
    for seed in range(100):
        plan = sample(Plan, random.Random(seed))  # noqa: S311 - simulated chance
        assert from_json(json.loads(json.dumps(as_json(plan)))) == plan


def forget_what_was_committed(*_: object) -> None:
    """Stands in for `SimulatedLog.append`: nothing that is acknowledged is there."""


def test_a_failure_shrinks_to_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedLog, "append", forget_what_was_committed)
    smallest = find(
        plans(),
        lambda plan: bool(outcome_of(plan).violations),
        settings=settings(
            max_examples=60,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow],
            database=None,
            derandomize=True,
            deadline=None,
        ),
    )
    assert smallest.faults == ()
    assert [len(client.operations) for client in smallest.workload.clients] == [1]


@pytest.mark.parametrize("seed", [3, 8])
@pytest.mark.slow
def test_another_process_sees_the_same(seed: int) -> None:
    outcome = outcome_of(plan_of(seed))
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, *shlex.split(outcome.command)[2:]],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "tests"},
            cwd=ROOT,
        )
        assert run.returncode == 0, run.stderr
        assert f"trace: {outcome.trace_digest}" in run.stdout


def test_a_violation_is_told_with_the_command_that_shows_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(SimulatedLog, "append", forget_what_was_committed)
    outcome = outcome_of(plan_of(1))
    with pytest.raises(AssertionError, match=re.escape(outcome.command)):
        outcome.check()
    assert command.main(shlex.split(outcome.command)[4:]) == 1
    assert f"VIOLATED: {outcome.violations[0]}" in capsys.readouterr().out
    assert soak.main(["--minutes", "0", "--first", "1"]) == 1
    assert outcome.command in capsys.readouterr().out


def test_a_soak_says_what_it_has_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.main(["--minutes", "0", "--first", "6"]) == 0
    assert re.match(
        r"2 simulations, .*\noperations: \d+ .*\noracle checks: \d+\nfaults injected: \d+\n", capsys.readouterr().out
    )


@pytest.mark.parametrize("plan", ["", "[]", "{}", '{"seed": 1, "workload": {"clients": [{}]}, "faults": []}'])
def test_what_is_no_plan_is_refused(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--plan", plan])
    assert "this is no plan" in capsys.readouterr().err
