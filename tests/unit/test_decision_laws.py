"""What decisions and projections keep to, whatever is tried in whatever order."""

from dataclasses import asdict, replace

from hypothesis import given

from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.packages import Facts, Needs, decide, needs
from artifactstore_protocols.paths import ancestors, path_key
from command_strategies import Step, steps
from memory_log import FILES_PER_PACKAGE_MAX, MemoryLog


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
