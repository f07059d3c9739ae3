"""Log files: what an encoder wrote is read back, in pieces of any size, and nothing else is."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import reference_cbor
from artifactstore_protocols import canonical
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.events import CommandStamp, Event, PayloadDiffers, StoredEvent, encode_record
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.log_file import (
    LogDiffers,
    LogFileEncoder,
    LogFileHeader,
    LogFileInvalid,
    LogFileReader,
    LogFileSummary,
    chain_of,
    check_link,
    log_file_name,
)
from artifactstore_protocols.log_file.cbor_framing import ItemSplitter, NotAnItem
from strategies import mutations, record_values

PREVIOUS = ContentAddress.parse(f"blake3:{'0' * 64}")
ID = "0198f3a0-7c00-7000-8000-0000000000{:02}"

events = st.builds(
    Event,
    st.uuids().map(str),
    st.text(max_size=8),
    st.text(max_size=8),
    st.text(max_size=8),
    st.integers(0, canonical.INTEGER_MAX),
    st.binary(max_size=300),
    st.builds(CommandStamp, st.uuids().map(str), st.none() | st.text(max_size=8), st.none() | st.text(max_size=8)),
)


def event(number: int) -> Event:
    return Event(
        ID.format(number), "v1.object.repaired", "subject", "ci", number, b"\xa0", CommandStamp(ID.format(number))
    )


def stored(header: LogFileHeader, of: Sequence[Event]) -> list[StoredEvent]:
    return [StoredEvent(header.after + number, each) for number, each in enumerate(of, 1)]


def items_of(header: LogFileHeader, log: Sequence[StoredEvent]) -> list[bytes]:
    """A file, item by item."""
    encoder = LogFileEncoder(header)
    begin, middle = encoder.begin(), [encoder.add(each) for each in log]
    return [begin, *middle, encoder.end()]


def read(payload: bytes, *, piece_bytes: int | None = None) -> tuple[list[StoredEvent], LogFileSummary]:
    reader = LogFileReader("f")
    step = piece_bytes or max(1, len(payload))
    found = [each for start in range(0, len(payload), step) for each in reader.feed(payload[start : start + step])]
    return found, reader.finish()


def item(sequence: int, payload: bytes = b"\xa0") -> bytes:
    """An item of the log's first event, at another place or with another payload."""
    return canonical.encode_record([sequence, encode_record(event(0)), payload])


HEADER = LogFileHeader(7, 10, PREVIOUS)
LOG = stored(HEADER, [event(number) for number in range(3)])
ITEMS = items_of(HEADER, LOG)
FILE = b"".join(ITEMS)


@pytest.mark.slow
@given(of=st.lists(events, max_size=5), after=st.sampled_from([0, 1, 1000]), piece_bytes=st.integers(1, 2000))
def test_what_is_written_is_read_back_in_pieces_of_any_size(of: list[Event], after: int, piece_bytes: int) -> None:
    header = LogFileHeader(after, after + len(of), PREVIOUS if after else None)
    log = stored(header, of)
    encoder = LogFileEncoder(header)
    payload = b"".join([encoder.begin(), *map(encoder.add, log), encoder.end()])
    found, summary = read(payload, piece_bytes=piece_bytes)
    assert found == log
    assert summary.header == header
    assert summary == encoder.summary
    assert summary.header.count == len(of)


def test_the_items_are_those_that_the_blueprint_describes() -> None:
    begin, *middle, end = ITEMS
    assert begin == reference_cbor.encode(
        {"format": "artifactstore-log", "version": 1, "after": 7, "last": 10, "previous": str(PREVIOUS)}
    )
    assert middle == [
        reference_cbor.encode([each.sequence, encode_record(each.event), each.event.payload]) for each in LOG
    ]
    records = [reference_cbor.encode([each.sequence, encode_record(each.event)]) for each in LOG]
    digest = f"blake3:{blake3(begin + b''.join(records)).hexdigest()}"
    assert end == reference_cbor.encode({"count": 3, "last": 10, "digest": digest})
    assert str(read(FILE)[1].digest) == digest


def test_the_header_is_known_as_soon_as_it_has_come() -> None:
    reader = LogFileReader("f")
    assert reader.header is None
    assert reader.feed(ITEMS[0]) == []
    assert reader.header == HEADER
    assert reader.feed(ITEMS[1]) == LOG[:1]


@pytest.mark.slow
def test_every_flipped_bit_is_found() -> None:
    header = LogFileHeader(7, 8, PREVIOUS)
    payload = b"".join(items_of(header, LOG[:1]))
    for position in range(len(payload)):
        for bit in range(8):
            changed = bytearray(payload)
            changed[position] ^= 1 << bit
            with pytest.raises((LogFileInvalid, PayloadDiffers)):
                read(bytes(changed))


def test_a_payload_that_its_record_does_not_name_is_refused_with_file_and_sequence() -> None:
    with pytest.raises(PayloadDiffers) as refused:
        read(ITEMS[0] + item(8, b"other"))
    error = refused.value
    assert (error.code, error.source, error.sequence) == ("payload-differs", "log file f", 8)
    assert error.recorded == LOG[0].event.payload_digest


def test_the_digest_of_a_file_commits_to_records_and_so_to_payloads_it_does_not_read() -> None:
    """What a redaction would leave: the records alone give the digest that the footer has."""
    begin, *middle, _end = ITEMS
    records = [canonical.decode_record(item) for item in middle]
    hasher = blake3(begin)
    for sequence, record, _payload in cast("list[list[canonical.RecordValue]]", records):
        hasher.update(canonical.encode_record([sequence, record]))
    assert str(read(FILE)[1].digest) == f"blake3:{hasher.hexdigest()}"


def test_a_file_that_ends_anywhere_before_its_end_is_found() -> None:
    for length in range(len(FILE)):
        with pytest.raises(LogFileInvalid, match="cut off"):
            read(FILE[:length])


@given(payload=mutations(FILE))
def test_a_changed_file_is_refused(payload: bytes) -> None:
    if payload == FILE:
        return
    with pytest.raises(
        (LogFileInvalid, PayloadDiffers), match=r"log file f (cannot be used|is not intact at byte|was changed)"
    ):
        read(payload)


@pytest.mark.parametrize("more", [b"\x00", ITEMS[-1], ITEMS[1], FILE, b"\x19", b"\xff"])
def test_nothing_may_follow_the_end(more: bytes) -> None:
    with pytest.raises(LogFileInvalid):
        read(FILE + more)
    with pytest.raises(LogFileInvalid):
        read(FILE + more, piece_bytes=len(FILE))


def test_events_in_another_order_or_number_are_found_though_the_checksum_is_right() -> None:
    begin, first, second, third, end = ITEMS
    orders = {
        "reordered": [begin, second, first, third],
        "left out": [begin, first, third],
        "too few": [begin, first, second],
        "repeated": [begin, first, first, second, third],
        "too many": [begin, first, second, third, item(11)],
    }
    for items in orders.values():
        with pytest.raises(LogFileInvalid, match=r"where .* should be|should end at 10"):
            read(b"".join([*items, footer(items)]))
    assert footer([begin, first, second, third]) == end


def footer(items: Sequence[bytes], **fields: canonical.RecordValue) -> bytes:
    hasher = blake3(items[0])
    for each in items[1:]:
        sequence, record, _payload = cast("list[canonical.RecordValue]", canonical.decode_record(each))
        hasher.update(canonical.encode_record([sequence, record]))
    digest = f"blake3:{hasher.hexdigest()}"
    return canonical.encode_record({"count": 3, "last": 10, "digest": digest, **fields})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"count": 2}, "it ends at 10, and should end at 10"),
        ({"last": 9}, "should end at 10"),
        ({"digest": str(PREVIOUS)}, "checksum does not match"),
        ({"more": 1}, "other fields"),
    ],
)
def test_a_footer_says_what_the_file_is(fields: dict[str, canonical.RecordValue], reason: str) -> None:
    with pytest.raises(LogFileInvalid, match=reason):
        read(b"".join([*ITEMS[:-1], footer(ITEMS[:-1], **fields)]))


def header(**fields: canonical.RecordValue) -> bytes:
    value = cast("dict[str, canonical.RecordValue]", canonical.decode_record(ITEMS[0]))
    return canonical.encode_record(value | fields)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (header(format="other"), "does not begin as a log file does"),
        (header(version=2), "it is of version 2"),
        (header(more=1), "it is of version 1"),
        (header(after="7"), "two numbers and a digest"),
        (header(last=None), "two numbers and a digest"),
        (header(previous=1), "two numbers and a digest"),
        (header(after=True), "two numbers and a digest"),
        (header(after=11), "from 0 or more upwards"),
        (header(after=-1), "from 0 or more upwards"),
        (header(after=0), "names the one before it"),
        (header(previous=None), "names the one before it"),
        (header(previous="blake3:00"), "invalid digest"),
        (ITEMS[1], "does not begin as a log file does"),
        (b"\xf5", "does not begin as a log file does"),
        (b"\x18\x01", "not canonical"),
        (b"\x9f", "indefinite length"),
        (b"\xc0", "has a tag"),
        (b"\x5b" + b"\xff" * 8, "more than"),
    ],
)
def test_what_does_not_begin_as_a_log_file_is_refused(item: bytes, reason: str) -> None:
    with pytest.raises(LogFileInvalid, match=reason) as refused:
        read(item)
    assert (refused.value.file, refused.value.offset) == ("f", 0)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (canonical.encode_record([8]), "neither an event nor the footer"),
        (canonical.encode_record([True, b"", b""]), "neither an event nor the footer"),
        (canonical.encode_record([8, "text", b""]), "neither an event nor the footer"),
        (canonical.encode_record([8, encode_record(LOG[0].event)]), "neither an event nor the footer"),
        (canonical.encode_record([8, encode_record(LOG[0].event), "text"]), "neither an event nor the footer"),
        (canonical.encode_record("text"), "neither an event nor the footer"),
        (canonical.encode_record([8, b"\xa0", b""]), "event 8 is not the record of an event"),
        (item(9), "it has event 9 where 8"),
    ],
)
def test_what_is_no_event_is_refused_where_it_stands(item: bytes, reason: str) -> None:
    with pytest.raises(LogFileInvalid, match=reason) as refused:
        read(ITEMS[0] + item)
    assert refused.value.offset == len(ITEMS[0])


def test_an_encoder_writes_nothing_that_a_reader_would_refuse() -> None:
    encoder = LogFileEncoder(LogFileHeader(0, 1))
    encoder.begin()
    with pytest.raises(InvalidValue, match="ends at 0 already"):
        encoder.end()
    with pytest.raises(InvalidValue, match="the next one of this file is 1"):
        LogFileEncoder(LogFileHeader(0, 1)).add(StoredEvent(2, event(1)))
    encoder.add(StoredEvent(1, event(1)))
    with pytest.raises(InvalidValue, match="the next one of this file is 2"):
        encoder.add(StoredEvent(2, event(2)))
    with pytest.raises(InvalidValue, match="range of a log file"):
        LogFileHeader(2, 1, PREVIOUS)


@pytest.mark.slow
@given(values=st.lists(record_values(), max_size=6), piece_bytes=st.integers(1, 40))
def test_a_sequence_is_split_where_its_items_end(values: list[canonical.RecordValue], piece_bytes: int) -> None:
    items = [canonical.encode_record(value) for value in values]
    payload = b"".join(items)
    splitter = ItemSplitter(10_000, 10_000)
    found = [
        item
        for start in range(0, len(payload), piece_bytes)
        for item in splitter.feed(payload[start : start + piece_bytes])
    ]
    assert found == items
    assert splitter.kept_bytes == 0


@given(piece=st.binary(max_size=60))
def test_whatever_comes_is_kept_within_bounds(piece: bytes) -> None:
    splitter = ItemSplitter(20, 20)
    try:
        for _ in range(5):
            assert all(len(item) <= 20 for item in splitter.feed(piece))
            assert splitter.kept_bytes <= 20 + len(piece)
    except NotAnItem:
        return


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b"\x5a\x00\x00\x00\x20", b""),  # a string of 32 bytes
        (b"\x9a\x00\x00\x00\x20", b""),  # an array of 32 values, each of which takes a byte
        (b"\xb4", b""),  # a map of 20 pairs
        (b"\x82\x52" + b"x" * 18, b"\x42"),  # the second of two strings is too long for what is left
    ],
)
def test_an_item_that_will_be_too_long_is_refused_before_it_is_kept(first: bytes, second: bytes) -> None:
    splitter = ItemSplitter(20, 20)
    with pytest.raises(NotAnItem, match="more than 20 bytes"):
        splitter.feed(first + second)


def test_names_sort_as_their_files_follow_one_another() -> None:
    headers = [LogFileHeader(0, 9), LogFileHeader(9, 99, PREVIOUS), LogFileHeader(99, 10**12, PREVIOUS)]
    names = [log_file_name(each) for each in headers]
    assert names[0] == "000000000001-000000000009.cborseq"
    assert sorted(names) == names
    assert chain_of([*reversed(names), "README", ".1.partial"]) == tuple(names)
    assert chain_of([]) == ()


@given(cuts=st.sets(st.integers(1, 200), min_size=2), left_out=st.integers(0, 200))
def test_a_hole_in_a_chain_is_found_wherever_it_is(cuts: set[int], left_out: int) -> None:
    names = [
        log_file_name(LogFileHeader(after, last, PREVIOUS if after else None))
        for after, last in pairwise([0, *sorted(cuts)])
    ]
    assert chain_of(names) == tuple(names)
    del names[left_out % (len(names) - 1)]  # any but the last
    with pytest.raises(LogFileInvalid, match="the files before it end at"):
        chain_of(names)


def test_an_overlap_and_an_empty_file_within_a_chain_are_found() -> None:
    with pytest.raises(LogFileInvalid, match="should begin with 10"):
        chain_of(["000000000001-000000000009.cborseq", "000000000009-000000000011.cborseq"])
    with pytest.raises(LogFileInvalid, match="should begin with 10"):
        chain_of(["000000000001-000000000009.cborseq", "000000000010-000000000009.cborseq"])


def test_the_file_of_an_empty_log_stays_where_it_is_when_the_log_has_grown() -> None:
    empty, grown = LogFileHeader(0, 0), LogFileHeader(0, 7)
    names = (log_file_name(empty), log_file_name(grown))
    assert chain_of(reversed(names)) == names
    check_link(names[0], empty, None)
    check_link(names[1], grown, LogFileSummary(empty, PREVIOUS))


def test_a_file_of_a_chain_is_what_its_name_says_and_continues_the_one_before() -> None:
    first = LogFileSummary(LogFileHeader(0, 7), PREVIOUS)
    name = log_file_name(HEADER)
    check_link(name, HEADER, first)
    check_link(log_file_name(first.header), first.header, None)
    with pytest.raises(LogFileInvalid, match="holds the events after 7 up to 10"):
        check_link("000000000008-000000000011.cborseq", HEADER, first)
    for other in (None, replace(first, digest=ContentAddress.parse(f"blake3:{'1' * 64}"))):
        with pytest.raises(LogFileInvalid, match="does not continue the file before it"):
            check_link(name, HEADER, other)


def test_logs_that_differ_say_from_where() -> None:
    assert str(LogDiffers("other.log", 3)) == (
        "the log of this store and that of other.log differ from sequence 3 on; nothing can be added to either from "
        "the other, so use an empty store or the one that it came from"
    )
