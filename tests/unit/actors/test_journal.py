"""A resume journal gives back what was written to it, and whatever befalls it, is never an error and never a lie."""

import errno
import fcntl
import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.ingest.journal import Journal
from artifactstore.ingest.resuming import Note
from artifactstore.ingest.scan import FileStamp

NOTE = Note(FileStamp(3, 2**63, -1, 7, 1), "blake3:" + "0" * 64)
NAME = "ab" * 32


def file_in(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def begun(directory: Path) -> str:
    """A journal with two notes, as an interrupted ingest leaves it. Returns its key."""
    journal = Journal.open(directory, NAME)
    journal.begin()
    journal.note([("a", NOTE)])
    journal.note([("b/\u00e9", NOTE)])
    journal.note([])
    journal.close()
    assert journal.key is not None
    return journal.key


def test_what_an_interrupted_ingest_noted_is_there_for_the_next_one(tmp_path: Path) -> None:
    key = begun(tmp_path / "new")
    again = Journal.open(tmp_path / "new", NAME)
    assert (again.key, again.begun, dict(again.notes)) == (key, True, {"a": NOTE, "b/\u00e9": NOTE})
    again.begin()
    again.finish()
    again.close()
    again.close()
    assert list((tmp_path / "new").iterdir()) == []
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0, "the names of somebody's files are in there"


def test_another_ingest_has_another_journal(tmp_path: Path) -> None:
    key = begun(tmp_path)
    other = Journal.open(tmp_path, "cd" * 32)
    assert other.key != key
    assert dict(other.notes) == {}
    other.close()


def test_a_journal_in_which_nothing_began_is_not_kept(tmp_path: Path) -> None:
    Journal.open(tmp_path, NAME).close()
    assert list(tmp_path.iterdir()) == []


def test_a_second_ingest_at_the_same_time_goes_without(tmp_path: Path) -> None:
    first = Journal.open(tmp_path, NAME)
    second = Journal.open(tmp_path, NAME)
    assert first.key is not None
    assert second.key is None
    second.begin()
    second.note([("a", NOTE)])
    second.close()
    first.begin()
    first.close()
    third = Journal.open(tmp_path, NAME)
    assert (third.key, dict(third.notes)) == (first.key, {})
    third.close()


def test_without_a_directory_there_is_none(tmp_path: Path) -> None:
    journal = Journal.open(None, NAME)
    journal.restart()
    assert journal.key is None
    journal.close()


def test_a_restart_forgets(tmp_path: Path) -> None:
    key = begun(tmp_path)
    journal = Journal.open(tmp_path, NAME)
    journal.restart()
    assert journal.key != key
    journal.begin()
    journal.close()
    again = Journal.open(tmp_path, NAME)
    assert (again.key, again.begun, dict(again.notes)) == (journal.key, True, {})
    again.close()


@given(data=st.data())
def test_a_torn_journal_is_read_as_far_as_it_goes_and_written_on(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("journals")
    key = begun(directory)
    path = file_in(directory)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    journal = Journal.open(directory, NAME)
    lines = whole[:cut].count(b"\n")
    assert (journal.key == key) == (lines > 0)
    assert journal.begun == (lines > 0)
    assert list(journal.notes) == ["a", "b/\u00e9"][: max(0, lines - 1)]
    journal.begin()
    journal.note([("c", NOTE)])
    journal.close()
    again = Journal.open(directory, NAME)
    assert (again.key, again.notes["c"]) == (journal.key, NOTE)
    again.close()


WRONG = [
    b"\xff\xfe\n",
    b"no JSON\n",
    b"[1]\n",
    b"5\n",
    b"{}\n",
    b'{"journal": 2, "key": "01890a5d-ac96-774b-bcce-b302099a8057"}\n',
    b'{"journal": 1, "key": 5}\n',
    b'{"journal": 1, "key": "mine"}\n',
    b"[" * 100_000 + b"\n",
]


@pytest.mark.parametrize("content", WRONG, ids=range(len(WRONG)))
def test_a_journal_that_is_none_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    begun(tmp_path)
    file_in(tmp_path).write_bytes(content)
    journal = Journal.open(tmp_path, NAME)
    assert journal.key is not None
    assert (journal.begun, dict(journal.notes)) == (False, {})
    journal.begin()
    journal.close()
    assert json.loads(file_in(tmp_path).read_text().splitlines()[0])["key"] == journal.key


ROWS = [
    '{"files": [["b"]]}',
    '{"files": [["b", "x", 1, 2, 3, 4, "x"]]}',
    '{"files": [["b", "x", 1, 2, 3, 4, 1e999]]}',
    '{"files": 7}',
    '{"other": 1}',
]


@pytest.mark.parametrize("row", ROWS)
def test_a_line_that_is_no_note_ends_what_is_believed(tmp_path: Path, row: str) -> None:
    begun(tmp_path)
    path = file_in(tmp_path)
    header, first, second = path.read_text().splitlines()
    path.write_text(f"{header}\n{first}\n{row}\n{second}\n")
    journal = Journal.open(tmp_path, NAME)
    assert list(journal.notes) == ["a"]
    journal.close()


def aged(path: Path, days: float) -> Path:
    changed_s = time.time() - days * 24 * 3600
    os.utime(path, (changed_s, changed_s))
    return path


def test_one_that_nobody_went_on_with_for_a_week_is_removed(tmp_path: Path) -> None:
    begun(tmp_path)
    aged(file_in(tmp_path), 7.1)
    (tmp_path / "somebody else's").write_bytes(b"")
    aged(tmp_path / "somebody else's", 7.1)
    Journal.open(tmp_path, "cd" * 32).close()
    assert [path.name for path in tmp_path.iterdir()] == ["somebody else's"]


def test_one_that_is_younger_or_in_use_is_kept(tmp_path: Path) -> None:
    begun(tmp_path)
    younger = aged(file_in(tmp_path), 6.9)
    in_use = Journal.open(tmp_path, "ef" * 32)
    in_use.begin()
    (used,) = set(tmp_path.iterdir()) - {younger}
    aged(used, 400)
    Journal.open(tmp_path, "cd" * 32).close()
    assert set(tmp_path.iterdir()) == {younger, used}
    in_use.close()


def test_reading_one_ends_when_it_is_not_wanted(tmp_path: Path) -> None:
    begun(tmp_path)
    kept = file_in(tmp_path).read_bytes()

    class NotWanted(Exception):
        pass

    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise NotWanted

    with pytest.raises(NotWanted):
        Journal.open(tmp_path, NAME, check)
    again = Journal.open(tmp_path, NAME)
    assert list(again.notes) == ["a", "b/\u00e9"], "and it is neither locked nor shortened"
    again.close()
    assert file_in(tmp_path).read_bytes() == kept


def test_a_place_that_cannot_be_used_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    journal = Journal.open(tmp_path / "file" / "below", NAME)
    assert journal.key is None
    journal.close()


@pytest.mark.parametrize("kind", ["FIFO", "directory", "link", "hard link"])
def test_what_is_no_file_of_a_journal_is_left_alone(tmp_path: Path, kind: str) -> None:
    """A FIFO can be opened for reading and writing, and then gives nothing and never ends."""
    begun(tmp_path / "journals")
    place = file_in(tmp_path / "journals")
    other = place.rename(tmp_path / "other")
    kept = other.read_bytes()
    match kind:
        case "FIFO":
            os.mkfifo(place)
        case "directory":
            place.mkdir()
        case "link":
            place.symlink_to(other)
        case _:
            place.hardlink_to(other)
    journal = Journal.open(tmp_path / "journals", NAME)
    assert journal.key is None
    journal.begin()
    journal.note([("c", NOTE)])
    journal.finish()
    journal.close()
    assert place.exists()
    assert other.read_bytes() == kept


def test_no_more_notes_are_read_than_ingests_write(tmp_path: Path) -> None:
    key = begun(tmp_path)
    row = ["a", NOTE.content_address, 1, 1, 1, 1, 1]
    line = json.dumps({"files": [[f"{number}/{row[0]}", *row[1:]] for number in range(1000)]}) + "\n"
    with file_in(tmp_path).open("a") as file:
        for _ in range(30):
            file.write(line.replace("/a", f"/{file.tell()}"))
    journal = Journal.open(tmp_path, NAME, files=5)
    assert journal.key == key
    assert 10_000 < len(journal.notes) <= 11_100
    journal.close()
    journal = Journal.open(tmp_path, NAME, files=5000)
    assert len(journal.notes) <= 11_100, "what was not believed is gone"
    journal.close()


def test_a_disk_that_fills_up_ends_the_journal_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(tmp_path, NAME)
    key = journal.key
    journal.begin()

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        journal.note([("a", NOTE)])
    journal.note([("b", NOTE)])
    journal.close()
    again = Journal.open(tmp_path, NAME)
    assert (again.key, again.begun, dict(again.notes)) == (key, True, {})
    again.close()


def test_a_journal_that_cannot_be_read_is_gone_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(tmp_path)

    def broken(fd: int, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", broken)
        assert Journal.open(tmp_path, NAME).key is None
    journal = Journal.open(tmp_path, NAME)
    assert list(journal.notes) == ["a", "b/\u00e9"]
    journal.close()


def test_a_journal_that_its_last_owner_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our opening and our locking it, the ingest before this one finished."""
    begun(tmp_path)
    flock = fcntl.flock
    removed: list[str] = []

    def late(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(file_in(tmp_path).name)
            file_in(tmp_path).unlink()
        flock(descriptor, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", late)
        journal = Journal.open(tmp_path, NAME)
    assert dict(journal.notes) == {}
    journal.begin()
    journal.close()
    assert file_in(tmp_path).name == removed[0]


def test_a_file_system_without_locks_has_no_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert Journal.open(tmp_path, NAME).key is None
