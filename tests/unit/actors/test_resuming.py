"""What an ingest may leave out: only what its stamp, its note and its record agree about, and never by a note alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.ingest.resuming import Note, may_go_on, untouched, worth_noting
from artifactstore.ingest.scan import FileStamp, ScannedFile
from artifactstore_protocols.records import FileRecord

ADDRESS = "blake3:" + "0" * 64
OTHER = "blake3:" + "1" * 64
STAMP = FileStamp(size_bytes=3, mtime_ns=1_000, ctime_ns=2_000, inode=7, device=1)
SEEN = ScannedFile("a.txt", "a.txt", executable=False, stamp=STAMP)
NOTE = Note(STAMP, ADDRESS)
RECORD = FileRecord("p", "a.txt", "file", 3, False, "text/plain", ADDRESS, "sha256:" + "2" * 64, "", 9)


def test_a_file_that_nobody_has_touched_is_left_out() -> None:
    assert untouched([SEEN], {"a.txt": NOTE}, {"a.txt": RECORD}) == {"a.txt": RECORD}


@pytest.mark.parametrize("field", ["size_bytes", "mtime_ns", "ctime_ns", "inode", "device"])
def test_whatever_an_inode_says_otherwise_has_it_read(field: str) -> None:
    touched = STAMP._replace(**{field: getattr(STAMP, field) + 1})
    assert untouched([SEEN._replace(stamp=touched)], {"a.txt": NOTE}, {"a.txt": RECORD}) == {}


@pytest.mark.parametrize(
    "record",
    [
        replace(RECORD, content_address=OTHER),
        replace(RECORD, size_bytes=4),
        replace(RECORD, executable=True),
        replace(RECORD, media_type="text/html"),
    ],
    ids=["content", "size", "executable", "media type"],
)
def test_a_record_of_something_else_has_it_read(record: FileRecord) -> None:
    assert untouched([SEEN], {"a.txt": NOTE}, {"a.txt": record}) == {}


def test_neither_a_note_nor_a_record_is_enough() -> None:
    assert untouched([SEEN], {"a.txt": NOTE}, {}) == {}
    assert untouched([SEEN], {}, {"a.txt": RECORD}) == {}
    assert untouched([SEEN], {"b": NOTE}, {"b": RECORD}) == {}


@given(changed_ns=st.integers(0, 2**62), looked_at_us=st.integers(0, 2**52))
def test_a_file_is_noted_only_if_it_had_been_quiet_for_two_seconds(changed_ns: int, looked_at_us: int) -> None:
    quiet_ns = looked_at_us * 1000 - changed_ns
    assert worth_noting(STAMP._replace(mtime_ns=changed_ns), looked_at_us) == (quiet_ns > 2_000_000_000)


def test_a_package_becomes_the_directorys_only_if_it_can() -> None:
    assert may_go_on("open", [], ["a.txt"])
    assert may_go_on("open", ["a.txt"], ["a.txt", "b"])
    assert not may_go_on("finalized", ["a.txt"], ["a.txt"])
    assert not may_go_on("open", ["a.txt", "gone"], ["a.txt"])
