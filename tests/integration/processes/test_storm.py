"""Processes that append at once while they are killed and cut off, and one that reads along: one gapless log."""

import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from artifactstore import Settings, open_registry
from artifactstore.database.location import DatabaseLocation
from artifactstore_protocols.events import StoredEvent
from integration.processes.appender import ASKERS, LAST, Asked, events_of
from integration.registry.samples import check_sound, temp_files


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of it there is. A command that puts files writes two events, however many files it has."""

    processes: int
    commands: int
    files: int
    events_min: int


SAMPLE = {"sqlite": Scale(3, 8, 4, 250), "postgresql": Scale(3, 8, 4, 250)}
WHOLE = {"sqlite": Scale(4, 66, 4, 4_000), "postgresql": Scale(8, 160, 4, 20_000)}


@pytest.mark.parametrize(
    ("scales", "seed"), [(SAMPLE, 1), *(pytest.param(WHOLE, seed, marks=pytest.mark.soak) for seed in range(1, 4))]
)
def test_every_acknowledged_event_is_there_once_and_seen_once(
    location: DatabaseLocation, tmp_path: Path, scales: dict[str, Scale], seed: int
) -> None:
    scale = scales["sqlite" if location.is_sqlite else "postgresql"]
    url = location.url.render_as_string(hide_password=False)
    settings = Settings(database_url=url, storage_local_root=tmp_path / "objects")
    numbers = map(str, (scale.processes, scale.commands, scale.files, seed))
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "integration.processes.storm", url, tmp_path / "objects", *numbers],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), f"seed {seed}"
    report = json.loads(ran.stdout)
    happened = report["happened"]
    log = trio.run(_read, settings)

    assert happened["killed"] == 2 * scale.processes
    assert location.is_sqlite or happened["cut"] > 0
    assert len(log) >= scale.events_min
    assert [(stored.sequence, stored.event.event_id) for stored in log] == [tuple(event) for event in report["seen"]]

    acknowledged = {Asked(*asked): sequences for asked, sequences in report["acknowledged"]}
    doubtful = {Asked(*asked) for asked in report["doubtful"]}
    found = _by_command(log)
    assert found.pop(Asked(LAST, 0, 0)) == [len(log)]
    assert {asked: found.get(asked) for asked in acknowledged} == acknowledged
    assert found.keys() - acknowledged.keys() <= doubtful
    every = {Asked(*key) for key in _all_keys(scale)}
    assert every - acknowledged.keys() <= doubtful, "what was asked to its end was answered"
    for asked, sequences in found.items():
        assert [log[sequence - 1].event.event_id for sequence in sequences] == events_of(asked)
        assert all(after == before + 1 for before, after in pairwise(sequences)), "a command is written in one piece"
    assert temp_files(settings) == []


def _all_keys(scale: Scale) -> list[tuple[int, int, int]]:
    return [
        (process, asker, index)
        for process in range(scale.processes)
        for asker in range(ASKERS)
        for index in range(scale.commands)
    ]


def _by_command(log: list[StoredEvent]) -> dict[Asked, list[int]]:
    commands: dict[Asked, list[int]] = {}
    for stored in log[1:]:  # the first begins the log, and no command asked for it
        commands.setdefault(Asked.of(stored.event.command.command_id), []).append(stored.sequence)
    return commands


async def _read(settings: Settings) -> list[StoredEvent]:
    async with open_registry(settings) as registry:
        assert (await registry.health(max_age_s=0)).healthy
        return await check_sound(registry)
