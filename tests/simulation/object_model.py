"""A model of one content: ingests that store it, collectors that delete it, deaths, and calls that land late.

What a commit makes true is decided by the real rules, over a log that is reduced to what they read of it: the states
of the content's keys, and the paths that refer to it. All else is a few lines, so that every order of steps can be
explored.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, NamedTuple, cast

from artifactstore_protocols.commands import (
    Command,
    IngestFiles,
    OnExisting,
    RemoveObjects,
    RetireObjects,
)
from artifactstore_protocols.entries import Place, StoredObject, file_entry
from artifactstore_protocols.event_types import type_of
from artifactstore_protocols.events import CommandStamp, Event, StoredEvent
from artifactstore_protocols.judging import decide
from artifactstore_protocols.object_keys import first_key_of, parse_key
from artifactstore_protocols.packages import ObjectsNotStored
from artifactstore_protocols.state import ContentState, LogState, ObjectState, PackageState, PlaceState

__all__ = ["Faults", "State", "explore"]

_ID: Final = "0198f3a0-7c00-7000-8000-000000000001"
_CONTENT, _OTHER = b"\x01" * 32, b"\x02" * 32
_PATHS: Final = ("a", "b")
_GENERATIONS_MAX: Final = 3
"""Keys that a collector may retire: grace and the age of orphans let an ingest progress after some of them."""


class Log(NamedTuple):
    """What the rules read: state by generation, the paths that refer to the content, and whether it was ever stored."""

    rows: tuple[tuple[int, ObjectState], ...] = ()
    paths: frozenset[str] = frozenset()
    known: bool = False

    def state_of(self, generation: int) -> ObjectState | None:
        """The state of a key; None where no row names it."""
        return dict(self.rows).get(generation)


type Step = tuple[str, int]
"""What a process does next, and the generation that it does it to."""

_START, _IDLE, _ENDED = ("put", 1), ("idle", 0), ("ended", 0)


class State(NamedTuple):
    """Everything: the log, the generations whose bytes are there, processes, and calls of the dead on their way."""

    log: Log = Log()
    stored: frozenset[int] = frozenset()
    ingests: tuple[Step, ...] = (_START, _START)
    collectors: tuple[Step, ...] = (_IDLE, _IDLE)
    late: frozenset[Step] = frozenset()


@dataclass(frozen=True)
class Faults:
    """Rules that are broken, to see that the model notices."""

    deletes_before_retirement: bool = False
    commits_unchecked: bool = False


def explore(start: State, faults: Faults = Faults()) -> tuple[int, State | None]:
    """Visit every state that can be reached. Returns how many there are, and one in which bytes are lost or left."""
    seen, todo = {start}, [start]
    while todo:
        state = todo.pop()
        lost = any(held in {"live", "condemned"} and at not in state.stored for at, held in state.log.rows)
        if lost or _leaks(state):
            return len(seen), state
        for following in _steps(state, faults):
            if following not in seen:
                seen.add(following)
                todo.append(following)
    return len(seen), None


def _leaks(state: State) -> bool:
    """Whether a last sweep, when everything has ended, would leave bytes that no live or condemned key has."""
    if state.late or any(step != _ENDED for step in (*state.ingests, *state.collectors)):
        return False
    log = state.log
    for at in state.stored:
        if log.state_of(at) is None:
            log, _ = _commit(log, "orphan", "", at)
    return any(log.state_of(at) is None for at in state.stored)


def _steps(state: State, faults: Faults) -> Iterator[State]:
    log, _stored, ingests, collectors, late = state
    for path in log.paths:  # a user puts another content there
        yield state._replace(log=_commit(log, "drop", path, 0)[0])
    for step in late:
        yield _landed(step, state)._replace(late=late - {step})
    for number, step in enumerate(ingests):
        become = partial(_with, ingests, number)
        match step:
            case "put", at:
                yield _landed(step, state)._replace(ingests=become(("commit", at)))
                yield state._replace(ingests=become(_ENDED), late=late | {step})
            case "commit", at:
                after, refused = _commit(log, "ingest", _PATHS[number], at)
                if refused and faults.commits_unchecked:
                    rows = tuple(sorted((dict(log.rows) | {at: "live"}).items()))
                    after, refused = Log(cast("Any", rows), log.paths | {_PATHS[number]}, True), 0
                yield state._replace(log=after, ingests=become(("put", refused) if refused else _ENDED))
                yield state._replace(ingests=become(_ENDED))
            case _:
                assert step == _ENDED
    for number, step in enumerate(collectors):
        become = partial(_with, collectors, number)
        match step:
            case "idle", _:
                yield from _choices(state, become, faults)
                yield state._replace(collectors=become(_ENDED))
            case "delete", at:
                yield _landed(step, state)._replace(collectors=become(("remove", at)))
                yield state._replace(collectors=become(_ENDED), late=late | {step})
            case ("remove" | "orphan") as what, at:
                yield state._replace(log=_commit(log, what, "", at)[0], collectors=become(_IDLE))
                yield state._replace(collectors=become(_ENDED))
            case _:
                assert step == _ENDED


def _choices(state: State, become: Callable[[Step], tuple[Step, ...]], faults: Faults) -> Iterator[State]:
    """What a collector may begin: it retires what is condemned, notes orphans, and sweeps retired keys."""
    log = state.log
    deletable = {"retired", "removed"} | ({"condemned"} if faults.deletes_before_retirement else set[str]())
    for at, held in log.rows:
        if held == "condemned" and at <= _GENERATIONS_MAX:
            yield state._replace(log=_commit(log, "retire", "", at)[0])
        if held in deletable and at in state.stored:
            yield state._replace(collectors=become(("delete", at)))
    for at in state.stored:
        if log.state_of(at) is None and at <= _GENERATIONS_MAX:
            yield state._replace(collectors=become(("orphan", at)))


def _landed(step: Step, state: State) -> State:
    what, at = step
    return state._replace(stored=state.stored | {at} if what == "put" else state.stored - {at})


def _with(steps: tuple[Step, ...], number: int, step: Step) -> tuple[Step, ...]:
    return (*steps[:number], step, *steps[number + 1 :])


def _place(at: int, digest: bytes = _CONTENT) -> Place:
    key = first_key_of("blake3", digest.hex())
    return Place("local", key if at == 1 else f"{key}.g{at}")


@cache
def _commit(log: Log, what: str, path: str, at: int) -> tuple[Log, int]:
    """The log after a command that the real rules decide, and the generation to store next if they refuse it."""
    state = _log_state(log)
    try:
        payloads = decide(_command(what, path, at), state, entries_max=9)
    except ObjectsNotStored as refused:
        [place] = refused.next_places.values()
        return log, parse_key(place.object_key)[1]
    for payload in payloads:
        event = Event(_ID, type_of(payload).name, "", "ci", 1, b"", CommandStamp(_ID))
        type_of(payload).evolve(payload, StoredEvent(2, event), state)
    places = state.places_of(_CONTENT)
    rows: dict[int, ObjectState] = {parse_key(at.object_key)[1]: held.state for at, held in places.items()}
    entries = state.packages[_ID].entries
    paths = frozenset(path for path in entries if entries[path].digest == _CONTENT)
    return Log(tuple(sorted(rows.items())), paths, _CONTENT in state.contents), 0


def _command(what: str, path: str, at: int) -> Command:
    match what:
        case "ingest" | "drop":
            digest = _CONTENT if what == "ingest" else _OTHER
            entry = file_entry(path, False, "text/plain", 1, digest)
            stored = StoredObject(digest, digest, 1, _place(max(at, 1), digest))
            return IngestFiles(_ID, (entry,), (stored,), OnExisting.REPLACE)
        case "retire" | "orphan":
            return RetireObjects((_place(at),), "condemned" if what == "retire" else "orphan")
        case _:
            return RemoveObjects((_place(at),))


def _log_state(log: Log) -> LogState:
    count = len(log.paths)
    package = PackageState(_ID, 1, "p", "standard", b"", 1, files=count, total_bytes=count)
    package.entries = {path: file_entry(path, False, "text/plain", 1, _CONTENT) for path in log.paths}
    return LogState(
        packages={_ID: package},
        contents={_CONTENT: ContentState("blake3", _CONTENT, 1, count)} if log.known else {},
        objects={_CONTENT: {_place(at): PlaceState("intact", 1, held) for at, held in log.rows}},
        references={_CONTENT: count},
    )
