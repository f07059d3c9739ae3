"""Files, links and empty directories go into commands that are no larger than a command may be, in their order."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from artifactstore.ingest.scan import Scan, ScannedFile
from artifactstore.ingest.steps import BATCHES_TOGETHER, ingest_command, links_and_directories, runs
from artifactstore_protocols.commands import ENTRIES_MAX, OnExisting
from artifactstore_protocols.entries import directory_entry, link_entry
from artifactstore_protocols.links import TARGET_BYTES_MAX

PACKAGE = "0198f3a0-7c00-7000-8000-000000000001"


@given(
    links=st.integers(0, 2 * ENTRIES_MAX + 1),
    directories=st.integers(0, 2 * ENTRIES_MAX + 1),
    target=st.integers(1, TARGET_BYTES_MAX),
)
def test_every_batch_is_a_command_and_nothing_is_lost(links: int, directories: int, target: int) -> None:
    scan = Scan(
        root="/tree",
        files=(),
        links=tuple((f"a/{number}", "x" * target) for number in range(links)),
        directories=tuple(f"b/{number}" for number in range(directories)),
        excluded=(),
    )
    batches = list(links_and_directories(scan))
    for batch in batches:
        assert ingest_command(PACKAGE, (), OnExisting.REPLACE, batch).entries == batch, "or it would be refused"
    wanted = [link_entry(*link) for link in scan.links] + [directory_entry(path) for path in scan.directories]
    assert list(chain.from_iterable(batches)) == wanted


def test_small_links_fill_whole_batches() -> None:
    scan = Scan("/tree", (), tuple((f"{number}", "x") for number in range(ENTRIES_MAX + 1)), ("z",), ())
    assert [len(batch) for batch in links_and_directories(scan)] == [ENTRIES_MAX, 2]


@given(sizes=st.lists(st.integers(0, 80 << 20), max_size=3 * BATCHES_TOGETHER), small=st.integers(0, 6 * ENTRIES_MAX))
def test_a_run_is_bounded_by_batches_and_by_bytes_and_nothing_is_lost(sizes: list[int], small: int) -> None:
    files = [ScannedFile(f"{n:05}", f"{n:05}", False, size, b"") for n, size in enumerate([*sizes, *[1] * small])]
    found = list(runs(files))
    assert list(chain.from_iterable(chain.from_iterable(found))) == files
    for run in found:
        assert 0 < len(run) <= BATCHES_TOGETHER
        assert len(run) == 1 or sum(file.size_bytes for batch in run for file in batch) <= 64 << 20
