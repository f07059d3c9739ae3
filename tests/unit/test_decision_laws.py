"""What decisions and projections keep to, whatever is tried in whatever order."""

import re
from dataclasses import asdict, replace
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols import manifest
from artifactstore_protocols.commands import IngestedFile, OnExisting
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.manifest import check_tree
from artifactstore_protocols.packages import Draft, Facts, Needs, PathConflict, PathTaken, decide, needs
from artifactstore_protocols.paths import PathRefused, ancestors, path_key
from artifactstore_protocols.payloads import PackageFinalized
from artifactstore_protocols.views import FILES, PACKAGES, coalesce, project
from command_strategies import Step, colliding_paths, ingest, ingested, opened, steps
from memory_log import FILES_PER_PACKAGE_MAX, MemoryLog, MemoryViews


def known(facts: Facts, needed: Needs) -> Facts:
    """Of all facts those that are needed, and nothing more."""
    return Facts(
        {key: fact for key, fact in facts.packages.items() if key in needed.packages},
        {key: fact for key, fact in facts.files.items() if key in needed.files | needed.above},
        {key: fact for key, fact in facts.directories.items() if key in needed.files},
        {key: fact for key, fact in facts.schema_versions.items() if key in needed.schemas},
    )


@given(tried=steps())
def test_a_decision_needs_no_more_facts_than_needs_names(tried: list[Step]) -> None:
    log = MemoryLog()
    for step in tried:
        command = log.command(step)
        needed = needs(command)
        enough, all_there_are = known(log.facts, needed), log.facts.copy()
        outcomes: list[object] = []
        for facts in (enough, all_there_are):
            try:
                outcomes.append(decide(command, facts, files_per_package_max=FILES_PER_PACKAGE_MAX))
            except ArtifactStoreError as refusal:
                outcomes.append((type(refusal), str(refusal)))
        assert outcomes[0] == outcomes[1]
        log.commit(command)


@given(tried=steps())
def test_facts_stay_what_the_views_say(tried: list[Step]) -> None:
    log = MemoryLog()
    for step in tried:
        log.ask(step)
        said = log.views.facts()
        # Any file will do to show that a directory is one.
        for (package_id, key), path in log.facts.directories.items():
            assert key in ancestors(path_key(path))
            assert (package_id, path_key(path)) in log.facts.files
        assert log.facts.directories.keys() == said.directories.keys()
        assert replace(log.facts, directories={}) == replace(said, directories={})


@given(tried=steps())
def test_a_refused_command_leaves_no_trace(tried: list[Step]) -> None:
    log = MemoryLog()
    for step in tried:
        before = asdict(log.facts), list(log.events), log.views.digest()
        if log.ask(step) is not None:
            assert before == (asdict(log.facts), log.events, log.views.digest())


@given(tried=steps())
def test_every_event_of_a_log_has_its_own_id(tried: list[Step]) -> None:
    log = MemoryLog()
    for step in tried:
        log.ask(step)
    assert len({stored.event.event_id for stored in log.events}) == len(log.events)


@given(tried=st.lists(colliding_paths(), max_size=8))
def test_paths_are_accepted_exactly_if_they_are_files_of_one_tree(tried: list[str]) -> None:
    facts, kept = opened(), list[str]()
    for path in tried:
        evolved = facts.copy()
        try:
            decide(ingest(ingested(path)), evolved, files_per_package_max=len(tried))
        except (PathTaken, PathConflict):
            with pytest.raises(PathRefused):
                check_tree([*kept, path])
        else:
            facts = evolved
            kept.append(path)
            check_tree(kept)


@given(files=st.lists(st.builds(ingested, colliding_paths(), st.sampled_from([b"", b"x"])), max_size=6))
def test_one_command_with_many_files_is_many_commands_with_one_file_each(files: list[IngestedFile]) -> None:
    together, apart = opened(), opened()
    drafts: list[Draft] = []
    refused = ""
    try:
        for file in files:
            command = ingest(file, on_existing=OnExisting.REPLACE)
            drafts += decide(command, apart, files_per_package_max=FILES_PER_PACKAGE_MAX)
    except ArtifactStoreError as refusal:
        refused = str(refusal)
    command = ingest(*files, on_existing=OnExisting.REPLACE)
    if refused:
        with pytest.raises(ArtifactStoreError, match=f"^{re.escape(refused)}$"):
            decide(command, together, files_per_package_max=FILES_PER_PACKAGE_MAX)
    else:
        assert list(decide(command, together, files_per_package_max=FILES_PER_PACKAGE_MAX)) == drafts
        assert together == apart


@given(tried=steps(), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_a_replay_in_batches_of_any_size_gives_the_views(tried: list[Step], sizes: list[int]) -> None:
    log = MemoryLog()
    for step in tried:
        log.ask(step)
    replayed, start = MemoryViews(), 0
    for size in cycle(sizes):
        batch = log.events[start : start + size]
        if not batch:
            break
        replayed.apply(coalesce(operation for stored in batch for operation in project(stored)))
        start += size
    assert replayed.tables == log.views.tables
    assert replayed.digest() == log.views.digest()


@given(tried=steps())
def test_a_log_that_is_applied_twice_gives_the_same_views(tried: list[Step]) -> None:
    log = MemoryLog()
    for step in tried:
        log.ask(step)
    twice = MemoryViews()
    for stored in [*log.events, *log.events]:
        twice.apply(project(stored))
    assert twice.tables == log.views.tables


@given(tried=steps())
def test_totals_and_versions_are_those_of_the_files_in_the_log(tried: list[Step]) -> None:
    log = MemoryLog()
    for step in tried:
        log.ask(step)
        files = log.views.rows(FILES)
        for package in log.views.rows(PACKAGES):
            of_package = [row for row in files if row["package_id"] == package["package_id"]]
            changes = sum(
                stored.event.subject == package["package_id"] and stored.event.type.startswith("v1.file.")
                for stored in log.events
            )
            assert package["file_count"] == len(of_package) <= FILES_PER_PACKAGE_MAX
            assert package["total_bytes"] == sum(log.views.file_entry(row).size_bytes for row in of_package)
            assert package["version"] == 1 + changes


@given(tried=steps())
def test_what_was_accepted_can_be_sealed_and_stays_as_it_was_sealed(tried: list[Step]) -> None:
    log = MemoryLog()
    for step in tried:
        log.ask(step)
    for package_id in log.facts.packages:
        assert log.commit(log.finalize(package_id)) is None
    last = {stored.event.subject: stored.decode() for stored in log.events}
    for package_id in log.facts.packages:
        payload = last[package_id]
        assert isinstance(payload, PackageFinalized)
        assert manifest.decode(payload.manifest).files == log.manifest(package_id).files
