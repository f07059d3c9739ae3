"""The rules of resumable uploads: headers, offsets and limits."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.records import FileRecord
from artifactstore_protocols.resumable_uploads import (
    Destination,
    Part,
    PartRefusal,
    ResumableLimits,
    Upload,
    decode_upload,
    encode_upload,
    has_room,
    next_part,
    parse_count,
    parse_metadata,
    resumed,
)

LIMITS = ResumableLimits(uploads_max=3, bytes_max=100, upload_bytes_max=60, deferred_bytes_max=40)
FILE = FileRecord("p", "x", "file", 9, False, "text/plain", "blake3:0", "sha256:0", "", 7)
UPLOAD = Upload("u", "token:ci", Destination("p", "x"), "", 9, False, 0)

COUNTS = st.integers(0, 70)
LENGTHS = st.none() | COUNTS


@st.composite
def uploads(draw: st.DrawFn) -> Upload:
    length = draw(LENGTHS)
    offset = draw(st.integers(0, 40 if length is None else length))
    whole = replace(UPLOAD, length=length, deferred=length is None or draw(st.booleans()), offset=offset)
    whole = replace(whole, last_offset=draw(st.integers(0, offset)))
    return replace(whole, file=FILE) if whole.is_whole and draw(st.booleans()) else whole


@given(uploads(), COUNTS, LENGTHS, LENGTHS)
def test_a_part_continues_an_upload_and_stays_within_its_length_and_the_limits(
    upload: Upload, offset: int, told: int | None, body: int | None
) -> None:
    found = next_part(upload, offset, told, body, LIMITS)
    if not isinstance(found, Part):
        if found is PartRefusal.WRONG_OFFSET:
            assert offset != upload.offset
        elif found is PartRefusal.LENGTH_SET:
            assert upload.length not in {None, told}
        return
    assert offset == (upload.last_offset if found.is_repeated else upload.offset)
    assert not found.is_repeated or upload.file is not None
    end = offset + (found.most if body is None else body)
    assert found.most >= 0
    assert end <= (LIMITS.deferred_bytes_max if upload.deferred else LIMITS.upload_bytes_max)
    if found.upload.length is not None:
        assert end <= found.upload.length
        assert found.upload.length in {upload.length, told}
    assert replace(found.upload, length=upload.length) == upload


@given(uploads(), COUNTS)
def test_an_offset_is_never_more_than_what_is_on_disk(upload: Upload, on_disk: int) -> None:
    found = resumed(upload, on_disk)
    assert found.file is not None or found.offset == min(upload.offset, on_disk)
    assert decode_upload(encode_upload(found)) == found


@given(st.lists(uploads(), max_size=4), LENGTHS)
def test_what_a_principal_begins_stays_within_its_limits(others: list[Upload], length: int | None) -> None:
    begun = replace(UPLOAD, length=length, deferred=length is None)
    if has_room(others, length, LIMITS):
        mine = [each for each in (*others, begun) if each.file is None]
        assert sum(40 if each.deferred else each.length or 0 for each in mine) <= 100
        assert len(others) < 3


@given(st.dictionaries(st.from_regex(r"[!-+\--~]{1,9}", fullmatch=True), st.text(max_size=9)))
def test_metadata_is_read_as_it_was_written(values: dict[str, str]) -> None:
    text = ", ".join(f"{key} {b64encode(value.encode(errors='replace')).decode()}" for key, value in values.items())
    assert parse_metadata(text) == {key: value.encode(errors="replace").decode() for key, value in values.items()}


@pytest.mark.parametrize("text", [None, "", "-1", "+1", "1.0", "1_0", " 1", "٣", "1" * 19])
def test_a_count_is_a_number_in_digits(text: str | None) -> None:
    with pytest.raises(InvalidValue, match="Upload-Offset"):
        parse_count("Upload-Offset", text)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"{" * 2000, encode_upload(UPLOAD)[:-3]])
def test_a_state_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidValue, match="remove the file"):
        decode_upload(text)
