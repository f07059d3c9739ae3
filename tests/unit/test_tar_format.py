"""Headers of tar archives: what the standard library writes is read as it was meant, by every format."""

import tarfile
from contextlib import suppress
from io import BytesIO
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from archive_samples import block, long_name, pax, record
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.tar_format import (
    BLOCK_BYTES,
    TarHeader,
    TarKind,
    TarMember,
    TarMembers,
    is_tar,
    padding,
    read_header,
    read_pax,
)
from strategies import paths, targets

KINDS = {
    tarfile.REGTYPE: TarKind.FILE,
    tarfile.DIRTYPE: TarKind.DIRECTORY,
    tarfile.SYMTYPE: TarKind.LINK,
    tarfile.LNKTYPE: TarKind.HARD_LINK,
    tarfile.FIFOTYPE: TarKind.FIFO,
    tarfile.CHRTYPE: TarKind.CHARACTER_DEVICE,
    tarfile.BLKTYPE: TarKind.BLOCK_DEVICE,
}


def members_of(data: bytes) -> list[TarMember]:
    """The members of an archive whose files have no content."""
    members, found = TarMembers(), list[TarMember]()
    stream = BytesIO(data)
    while (header := read_header(stream.read(BLOCK_BYTES))) is not None:
        if header.extends:
            content = stream.read(header.size_bytes + padding(header.size_bytes))
            members.extend(header, content[: header.size_bytes])
        else:
            found.append(members.member(header))
    return found


@given(
    path=paths(),
    target=targets(),
    kind=st.sampled_from(sorted(KINDS)),
    size=st.integers(0, (1 << 63) - 1),
    mode=st.integers(0, 0o7777),
    form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]),
)
def test_what_tarfile_writes_is_read_as_it_was_meant(
    path: str, target: str, kind: bytes, size: int, mode: int, form: Literal[0, 1, 2]
) -> None:
    info = tarfile.TarInfo(path)
    info.type, info.mode = kind, mode
    info.size = size if kind == tarfile.REGTYPE else 0
    info.linkname = target if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
    try:
        written = info.tobuf(form, "utf-8", "strict")
    except ValueError:
        assume(False)  # ustar cannot write it
        raise
    expected = TarMember(KINDS[kind], path, info.linkname, info.size, bool(mode & 0o100))
    assert members_of(written + bytes(512)) == [expected]
    assert is_tar(written)


def test_bytes_that_are_not_utf_8_are_kept() -> None:
    assert members_of(block(b"\xff") + bytes(512))[0].path == "\udcff"
    named = pax(record(b"path", b"\xfe"), record(b"hdrcharset", b"BINARY"))
    assert members_of(named + block() + bytes(512))[0].path == "\udcfe"


def test_a_checksum_of_signed_bytes_is_accepted() -> None:
    header = bytearray(block(b"\xff\xfe"))
    unsigned = int(header[148:154], 8)
    header[148:156] = b"%06o\0 " % (unsigned - 2 * 256)
    assert read_header(bytes(header)) is not None
    assert is_tar(bytes(header))
    header[148:156] = b"%06o\0 " % (unsigned - 256)
    with pytest.raises(InvalidValue, match="the checksum of its header is wrong"):
        read_header(bytes(header))


def test_a_file_with_a_final_slash_is_a_directory() -> None:
    assert members_of(block(b"d/") + bytes(512)) == [TarMember(TarKind.DIRECTORY, "d", "", 0, executable=False)]


def test_extensions_are_joined_until_their_member() -> None:
    data = long_name(b"target\0", b"K") + long_name(b"name\0") + block(b"l", kind=b"2") + block(b"m", kind=b"2")
    assert [(member.path, member.target) for member in members_of(data + bytes(512))] == [("name", "target"), ("m", "")]
    members = TarMembers()
    members.extend(TarHeader(TarKind.LONG_NAME, "", "", 2, executable=False), b"x\0")
    assert members.waits


@given(
    values=st.dictionaries(st.sampled_from([b"mtime", b"comment", b"SCHILY.xattr.user.x"]), st.binary(max_size=2000))
)
def test_other_fields_of_a_pax_header_do_not_matter(values: dict[bytes, bytes]) -> None:
    content = b"".join(record(key, value) for key, value in values.items())
    assert read_pax(content + record(b"path", b"a=b\n"), "p") == {"path": "a=b\n"}


@given(st.binary(max_size=1024))
def test_other_bytes_are_no_archive_or_an_error_of_ours(data: bytes) -> None:
    if not is_tar(data):
        with pytest.raises(InvalidValue):
            read_header(data[:BLOCK_BYTES].ljust(BLOCK_BYTES, b"x"))
    with suppress(InvalidValue):
        assert read_pax(data, "p").keys() <= {"path", "linkpath", "size"}
