"""What the head of a log admits while an import is unfinished, as pure decisions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.unfinished_import import (
    ImportRun,
    ImportUnfinished,
    LogEnd,
    UnfinishedImport,
    admit_command,
    admit_import,
    after_import,
)

ENDS = st.builds(LogEnd, st.integers(1, 3), st.sampled_from("ab"))
UNFINISHED = st.builds(UnfinishedImport, ENDS, st.just("artifactstore restore /b"))
RUNS = st.builds(ImportRun, st.just("/b"), st.integers(0, 3), UNFINISHED, st.none() | ENDS)


def test_a_head_that_waits_for_nothing_admits_everything() -> None:
    admit_command(None, 7)
    admit_import(None, ImportRun("/b", 7, UnfinishedImport(LogEnd(9, "a"), "x")), 7)


@given(found=UNFINISHED, head=st.integers(0, 3))
def test_no_command_is_admitted_while_an_import_is_unfinished(found: UnfinishedImport, head: int) -> None:
    with pytest.raises(ImportUnfinished) as refused:
        admit_command(found, head)
    assert (refused.value.head, refused.value.end) == (
        head,
        found.end.sequence,
    )


@given(found=UNFINISHED, run=RUNS)
def test_an_import_is_admitted_exactly_if_its_log_holds_the_end(found: UnfinishedImport, run: ImportRun) -> None:
    if found.end in {run.until.end, run.continues}:
        admit_import(found, run, 0)
    else:
        with pytest.raises(ImportUnfinished):
            admit_import(found, run, 0)


@given(run=RUNS, head=st.integers(0, 4))
def test_an_import_is_finished_with_its_last_event(run: ImportRun, head: int) -> None:
    assert after_import(head, run) == (run.until if head < run.until.end.sequence else None)


def test_the_refusal_says_what_finishes_it() -> None:
    assert str(ImportUnfinished(4, 12, "artifactstore restore /b")) == (
        "an import into this store is not finished: 4 of 12 events are here, and nothing else can be written before "
        "the last one; wait for it if it runs, or finish it by `artifactstore restore /b`"
    )
