"""What decisions and projections keep to, whatever is tried in whatever order."""

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from itertools import count, cycle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from artifactstore_protocols import manifest
from artifactstore_protocols.admission import admit, admit_part, examine, run_needs
from artifactstore_protocols.commands import CommandRequest, OnExisting
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import CommandOutcome
from artifactstore_protocols.event_types import (
    LOG_CREATED,
    ClockConfirmed,
    ClockObserved,
    ObjectsFlagged,
    ObjectsReprieved,
    ObjectsRestored,
    ObjectsStored,
    PackageFinalized,
    Payload,
    StoreVerified,
)
from artifactstore_protocols.events import Committed, EventRefused, StoredEvent
from artifactstore_protocols.judging import Judged, command_needs, decide, judge_batch, project
from artifactstore_protocols.manifest import check_tree
from artifactstore_protocols.packages import PackageGone, PathConflict, PathTaken
from artifactstore_protocols.paths import PathRefused, ancestors, path_key
from artifactstore_protocols.schema_requirements import requirements_of
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.totals import totals_rows
from artifactstore_protocols.views import FILES, PACKAGES, coalesce
from command_strategies import (
    Create,
    FileStep,
    Ids,
    Ingest,
    Ingested,
    Step,
    colliding_paths,
    evolved,
    ingest,
    ingested,
    opened,
    steps,
)
from memory_log import FILES_PER_PACKAGE_MAX, MemoryLog
from memory_views import MemoryViews


def _put(path: str, kind: str = "file") -> Ingest:
    return Ingest(1, (FileStep(path, b"x", False, kind=kind),), OnExisting.REFUSE)


# What is seldom drawn: an empty directory is an entry until something is put into it.
FILLED: list[Step] = [Create(1, "standard", {}), _put("c", "directory"), _put("c/d"), _put("c", "directory"), _put("c")]


def known(state: LogState, needed: Needs) -> LogState:
    """Of all that is true what is needed, and nothing more."""
    occupants = Counter(
        entry.digest
        for key in needed.occupants & state.packages.keys()
        for path, entry in state.packages[key].entries.items()
        if (key, path) in needed.entries | needed.at and entry.digest
    )
    released = {
        (key, path): entry.digest
        for key, first, last in needed.ranges
        for path, entry in (state.packages[key].entries.items() if key in state.packages else ())
        if first <= path <= last
    }
    digests = Counter(digest for digest in released.values() if digest)
    last = frozenset(digest for digest, count in digests.items() if state.references_to(digest) <= count)
    needed |= Needs(at=frozenset(released), contents=frozenset((*digests, *occupants)))
    needed |= Needs(references=last if needed.counts else frozenset())
    return LogState(
        packages={
            key: replace(
                package,
                entries={
                    path: entry for path, entry in package.entries.items() if (key, path) in needed.entries | needed.at
                },
                below={path: below for path, below in package.below.items() if (key, path) in needed.entries},
                annotations=package.annotations if key in needed.described else {},
                parents=package.parents if key in needed.described else {},
                expires_at_us=package.expires_at_us if key in needed.kept else None,
                retained_from_us=package.retained_from_us if key in needed.kept else 0,
                protected_tags=package.protected_tags if key in needed.kept else set(),
                holds=package.holds if key in needed.kept else set(),
            )
            for key, package in deepcopy(state.packages).items()
            if key in needed.packages
        },
        contents={key: content for key, content in deepcopy(state.contents).items() if key in needed.contents},
        objects={key: places for key, places in deepcopy(state.objects).items() if key in needed.contents},
        purged={key: facts for key, facts in state.purged.items() if key in needed.contents},
        references={key: state.references_to(key) for key in needed.references},
        classes={
            name: duration_us
            for name, duration_us in state.classes.items()
            if name in needed.classes
            or name in {state.packages[each].retention_class for each in needed.described if each in state.packages}
        },
        tokens={name: revoked for name, revoked in state.tokens.items() if name in needed.tokens},
        keep_policies=dict(state.keep_policies) if needed.keep_policies else {},
        groups={name: dict(state.groups.get(name, {})) for name in needed.groups},
        requirements=dict(state.requirements) if needed.requirements or needed.names else {},
        tags={tag: held for tag, held in state.tags.items() if tag in needed.tags},
        holds={hold_id: package_id for hold_id, package_id in state.holds.items() if hold_id in needed.holds},
        schemas={
            key: schema
            for key, schema in state.schemas.items()
            if key in needed.schema_texts
            or key in {state.packages[each].schema for each in needed.described if each in state.packages}
            or (key.partition("@")[0] in needed.schema_texts)
            or any(key in requirements_of(name, state.requirements).values() for name in needed.names)
        },
        schema_versions={key: version for key, version in state.schema_versions.items() if key in needed.schemas},
        totals=replace(state.totals),
        clock_us=state.clock_us if needed.clock else None,
        log_time_us=state.log_time_us,
    )


def comparable(state: LogState) -> LogState:
    """A state without what only a message shows: which of its paths makes a directory one."""
    packages = {
        key: replace(package, below=dict.fromkeys(package.below, "")) for key, package in state.packages.items()
    }
    totals = replace(state.totals, changed=False)
    return replace(state, packages=packages, references={}, referred=set(), commands=set(), last=None, totals=totals)


def logged(tried: list[Step]) -> MemoryLog:
    log = MemoryLog()
    for step in tried:
        log.ask(step)
    return log


def judged(requests: list[CommandRequest], state: LogState, events: list[StoredEvent], clock: Iterator[int]) -> Judged:
    """A batch against a log, of which it sees no more than a store would show it."""
    keys = {request.idempotency_key for request in requests} - {None}
    stamps = [stored.event.command for stored in events]
    met = {request.command_id for request in requests}
    met |= {stamp.command_id for stamp in stamps if stamp.idempotency_key in keys}
    return judge_batch(
        requests,
        known(state, command_needs([request.command for request in requests])),
        [stored for stored in events if stored.event.command.command_id in met],
        head=len(events),
        now_us=lambda: next(clock),
        new_id=Ids(1 << 40),
        entries_max=FILES_PER_PACKAGE_MAX,
    )


def asked(tried: list[Step]) -> tuple[list[CommandRequest], list[CommandOutcome], MemoryLog]:
    """Each step as a request, some sent twice and some with a key that came before; judged one by one."""
    log, ids, clock = MemoryLog(), Ids(), count(1)
    requests: list[CommandRequest] = []
    outcomes: list[CommandOutcome] = []
    for number, step in enumerate(tried):
        key = f"key {number % 5}" if number % 3 == 0 else None
        request = CommandRequest(ids(), log.command(step), "ci", key)
        for again in [request, request] if number % 4 == 0 else [request]:
            one = judged([again], log.views.state(events=log.events), log.events, clock)
            log.events += one.events
            log.views.apply(one.operations)
            log.state = log.views.state(events=log.events)
            requests.append(again)
            outcomes += one.outcomes
    return requests, outcomes, log


def said(outcome: CommandOutcome) -> object:
    return outcome if isinstance(outcome, Committed) else (type(outcome), str(outcome))


@pytest.mark.slow
@example(tried=FILLED)
@given(tried=steps())
def test_a_decision_needs_no_more_of_the_state_than_its_command_names(tried: list[Step]) -> None:
    log = MemoryLog()
    for step in tried:
        command = log.command(step)
        outcomes: list[object] = []
        for state in (known(log.state, command_needs([command])), log.state):
            try:
                outcomes.append(decide(command, state, entries_max=FILES_PER_PACKAGE_MAX))
            except ArtifactStoreError as refusal:
                outcomes.append((type(refusal), str(refusal)))
        assert outcomes[0] == outcomes[1]
        log.commit(command)


@pytest.mark.slow
@given(tried=steps())
def test_a_decision_changes_nothing_whether_it_is_refused_or_not(tried: list[Step]) -> None:
    log = MemoryLog()
    for step in tried:
        command, before = log.command(step), deepcopy(log.state)
        try:
            decide(command, log.state, entries_max=FILES_PER_PACKAGE_MAX)
        except ArtifactStoreError:
            events, views = list(log.events), log.views.digest()
            log.commit(command)
            assert (events, views) == (log.events, log.views.digest())
        assert log.state == before
        log.commit(command)


@pytest.mark.slow
@example(tried=FILLED)
@given(tried=steps())
def test_the_state_evolves_to_what_the_views_say(tried: list[Step]) -> None:
    log = MemoryLog()
    for step in tried:
        log.ask(step)
        assert comparable(log.state) == comparable(log.views.state(events=log.events))
        for package in log.state.packages.values():
            for key, path in package.below.items():
                assert key in ancestors(path_key(path))


@pytest.mark.slow
@example(tried=FILLED)
@given(tried=steps())
def test_a_batch_is_judged_as_its_commands_are_one_by_one(tried: list[Step]) -> None:
    requests, outcomes, log = asked(tried)
    together = judged(requests, LogState(), [], count(1))
    assert together.events == log.events
    assert list(map(said, together.outcomes)) == list(map(said, outcomes))
    views = MemoryViews()
    views.apply(coalesce(together.operations))
    assert views.tables == log.views.tables


@pytest.mark.slow
@given(tried=steps())
def test_every_event_of_a_log_has_its_own_id(tried: list[Step]) -> None:
    _requests, _outcomes, log = asked(tried)
    assert len({stored.event.event_id for stored in log.events}) == len(log.events)


@pytest.mark.slow
@example(tried=FILLED, sizes=[1])
@given(tried=steps(), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_a_log_that_was_decided_is_admitted_run_by_run(tried: list[Step], sizes: list[int]) -> None:
    """Each run is held against what `run_needs` names of the views, and implies the rows that were written."""
    _requests, _outcomes, log = asked(tried)
    views, start = MemoryViews(), 0
    commands, last = set[str](), None
    for size in cycle(sizes):
        events = log.events[start : start + size]
        run = [examine(stored, in_parts=len(events) == 1) for stored in events]
        if not run:
            break
        state = known(views.state(events=log.events[:start]), run_needs(run))
        state.commands, state.last = commands, last
        operations = [operation for examined in run for operation in admit(examined, state)]
        operations += totals_rows(state)
        for examined in run if len(run) == 1 else ():
            for part in examined.parts():
                admit_part(examined, part, known(views.state(events=log.events[:start]), part.needs))
        views.apply(coalesce(operations))
        commands, last = state.commands, state.last
        start += size
    assert views.tables == log.views.tables


def test_the_events_of_a_command_stand_together() -> None:
    begun, first, second, third = logged(FILLED[:3]).events[:4]
    late = StoredEvent(5, replace(third.event, command=first.event.command))
    state = LogState()
    for stored in (begun, first, second, third):
        admit(examine(stored), state)
    with pytest.raises(EventRefused, match="stand together"):
        admit(examine(late), state)


@pytest.mark.slow
@given(tried=steps(), data=st.data())
def test_an_event_is_not_admitted_where_it_is_true_already(tried: list[Step], data: st.DataObject) -> None:
    """Any event once more, right after itself or later, as if another command had made it."""
    events = logged(tried).events
    at = data.draw(st.integers(1, len(events)))
    state, ids = LogState(), Ids(1 << 40)
    for stored in events[:at]:
        admit(examine(stored), state)
    again = data.draw(st.sampled_from(events[:at])).event
    again = replace(
        again, event_id=ids(), recorded_at_us=state.log_time_us, command=replace(again.command, command_id=ids())
    )
    if again.type == LOG_CREATED.name:
        with pytest.raises(EventRefused, match="no other event is"):
            examine(StoredEvent(at + 1, again))
        return
    repeated = examine(StoredEvent(at + 1, again))
    if not _may_happen_again(repeated.payload, state):
        with pytest.raises(EventRefused):
            admit(repeated, state)


def _may_happen_again(payload: Payload, state: LogState) -> bool:
    """Objects may be verified once more, and flagged once more if they were restored. A clock may be seen again.

    An event about no objects says nothing that could be true already.
    """
    if isinstance(payload, StoreVerified | ClockObserved | ClockConfirmed):
        return True
    if isinstance(payload, ObjectsReprieved | ObjectsStored):
        return not payload.objects
    return isinstance(payload, ObjectsFlagged | ObjectsRestored) and all(
        state.objects[finding.digest][finding.place].integrity != finding.integrity for finding in payload.findings
    )


@pytest.mark.slow
@given(tried=st.lists(colliding_paths(), max_size=8))
def test_paths_are_accepted_exactly_if_they_are_files_of_one_tree(tried: list[str]) -> None:
    state, kept = opened(), list[str]()
    for number, path in enumerate(tried):
        try:
            evolved(state, ingest(ingested(path)), entries_max=len(tried), after=1 + 2 * number)
        except (PathTaken, PathConflict):
            with pytest.raises(PathRefused):
                check_tree([*kept, path])
        else:
            kept.append(path)
            check_tree(kept)


@pytest.mark.slow
@given(
    files=st.lists(
        st.builds(ingested, colliding_paths(), st.sampled_from([b"", b"x"])),
        min_size=1,
        max_size=6,
        unique_by=lambda file: path_key(file.entry.path),
    )
)
def test_one_command_with_many_files_comes_to_the_same_as_many_with_one_each(files: list[Ingested]) -> None:
    together, apart, sequence = opened(), opened(), count(2, 10)
    refusals: list[object] = []
    commands = [ingest(file, on_existing=OnExisting.REPLACE) for file in files]
    for state, each in ((apart, commands), (together, [ingest(*files, on_existing=OnExisting.REPLACE)])):
        try:
            for command in each:
                evolved(state, command, after=next(sequence))
        except ArtifactStoreError as refusal:
            refusals.append((type(refusal), str(refusal)))
    if refusals:
        assert refusals[0] == refusals[1]
    else:
        one, other = (state.packages.popitem()[1] for state in (together, apart))
        assert one == replace(other, version=one.version)


@pytest.mark.slow
@given(tried=steps(), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_a_replay_in_batches_of_any_size_gives_the_views(tried: list[Step], sizes: list[int]) -> None:
    log = logged(tried)
    replayed, start = MemoryViews(), 0
    for size in cycle(sizes):
        batch = log.events[start : start + size]
        if not batch:
            break
        replayed.apply(coalesce(operation for stored in batch for operation in project(stored)))
        start += size
    replayed.count_totals()
    assert replayed.tables == log.views.tables
    assert replayed.digest() == log.views.digest()


@pytest.mark.slow
@given(tried=steps())
def test_a_log_that_is_applied_twice_gives_the_same_views(tried: list[Step]) -> None:
    log = logged(tried)
    twice = MemoryViews()
    for stored in [*log.events, *log.events]:
        twice.apply(project(stored))
    twice.count_totals()
    assert twice.tables == log.views.tables


@pytest.mark.slow
@example(tried=FILLED)
@given(tried=steps())
def test_totals_and_versions_are_those_of_the_entries_in_the_log(tried: list[Step]) -> None:
    log = MemoryLog()
    for step in tried:
        log.ask(step)
        rows = log.views.rows(FILES)
        for package in log.views.rows(PACKAGES):
            of_package = [row for row in rows if row["package_number"] == package["created_sequence"]]
            files = [row for row in of_package if row["digest_primary"] is not None]
            changes = sum(
                stored.event.subject == package["package_id"] and stored.event.type == "v1.files.ingested"
                for stored in log.events
            )
            kinds = [row["kind"] for row in of_package]
            counts = [package[f"{kind}_count"] for kind in ("file", "link", "directory")]
            assert counts == [kinds.count(kind) for kind in (0, 1, 2)]
            assert len(of_package) <= FILES_PER_PACKAGE_MAX
            assert package["total_bytes"] == sum(log.views.file_entry(row).size_bytes for row in files)
            assert package["version"] == 1 + changes


@pytest.mark.slow
@given(tried=steps())
def test_what_was_accepted_can_be_finalized_and_stays_as_it_was_finalized(tried: list[Step]) -> None:
    log = logged(tried)
    for package_id, package in log.state.packages.items():
        assert isinstance(log.commit(log.finalize(package_id)), type(None) if package.gone is None else PackageGone)
    finalized = [
        payload for payload in (stored.decode() for stored in log.events) if isinstance(payload, PackageFinalized)
    ]
    manifests = {each.package.package_id: each for each in (manifest.decode(payload.manifest) for payload in finalized)}
    assert manifests.keys() == {each for each, package in log.state.packages.items() if package.finalized}
    for package_id, each in manifests.items():
        assert each.files == log.manifest(package_id).files
