"""Hostile and damaged archives are rejected for their reason, and nothing of them reaches the file system."""

import bz2
import gzip
import lzma
import os
import struct
import tempfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_samples import END, Part, block, long_name, pax, record, tar, tar_member, zip64, zip_archive
from artifactstore.errors import (
    ArchiveRefused,
    ArtifactStoreError,
    EntriesRefused,
    PathRefused,
    TreeTooLarge,
)
from artifactstore.ingest.archives import OpenArchive, open_archive
from artifactstore.ingest.archives.limits import Meter
from artifactstore_protocols.links import LinkPolicy

FILES_MAX = 1000
BYTES_MAX = 1 << 24


@contextmanager
def opened(data: bytes, *, piped: bool = False, directory: Path | None = None) -> Generator[OpenArchive]:
    """Open an archive that is a file, or that has to be read in order."""
    with tempfile.TemporaryFile() as file:
        file.write(b"-" * piped + data)
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        file.seek(int(piped))
        where = None if directory is None else str(directory)
        with open_archive(file.fileno(), "a.tar", files_max=FILES_MAX, bytes_max=BYTES_MAX, directory=where) as archive:
            yield archive


def link(name: bytes, target: bytes) -> bytes:
    return tar_member(name, kind=b"2", target=target)


FILE = tar_member(b"f", b"content")
TWO_FILES = tar(FILE, tar_member(b"g", b"more"))
ZEROS = bytes(1 << 20)
DAMAGED = bytearray(tar(FILE, tar_member(b"g"), tar_member(b"h")))
DAMAGED[1024 + 50] ^= 1
ZIPPED = zip_archive(Part(b"f", b"content" * 10, 8), Part(b"g", b"more"))
DESCRIPTOR = Part(b"f", b"x", flags=8, descriptor=b"PK\7\x08" + struct.pack("<3L", 0x8CDC1683, 1, 1))

REFUSED: dict[str, tuple[bytes, type[ArtifactStoreError], str]] = {
    # Paths that lead out of the tree, or that programs read differently.
    "traversal": (tar(tar_member(b"../f")), PathRefused, "'..' is not allowed"),
    "traversal below": (tar(tar_member(b"a/../../f")), PathRefused, "'..' is not allowed"),
    "traversal of a directory": (tar(tar_member(b"../d/", kind=b"5")), PathRefused, "'..' is not allowed"),
    "traversal in a prefix": (tar(block(b"f", prefix=b"..")), PathRefused, "'..' is not allowed"),
    "absolute": (tar(tar_member(b"/etc/passwd")), PathRefused, "it is absolute"),
    "absolute after dots": (tar(tar_member(b".//etc/passwd")), PathRefused, "it is absolute"),
    "the root of the machine": (tar(tar_member(b"/", kind=b"5")), PathRefused, "it is absolute"),
    "no name": (tar(tar_member(b"")), PathRefused, "it is empty"),
    "a file that is the root": (tar(tar_member(b".")), PathRefused, "'.' is not allowed"),
    "backslash": (tar(tar_member(b"a\\b")), EntriesRefused, "backslash"),
    "control character": (tar(tar_member(b"a\nb")), EntriesRefused, "control character"),
    "not UTF-8": (tar(tar_member(b"\xff")), EntriesRefused, "not valid UTF-8"),
    "long part": (tar(long_name(b"x" * 300 + b"\0"), FILE), EntriesRefused, "one part has 300 bytes"),
    "pax path out": (tar(pax(record(b"path", b"../f")), FILE), PathRefused, "'..' is not allowed"),
    "pax path with NUL": (tar(pax(record(b"path", b"f\0/../g")), FILE), PathRefused, "control character"),
    "pax path with NUL alone": (tar(pax(record(b"path", b"f\0g")), FILE), EntriesRefused, "control character U.0000"),
    "long name out": (tar(long_name(b"../f\0"), FILE), PathRefused, "'..' is not allowed"),
    # Two entries at one place.
    "duplicate": (tar(FILE, FILE), PathRefused, "it occurs twice"),
    "duplicate by dots": (tar(FILE, tar_member(b"./f")), PathRefused, "it occurs twice"),
    "duplicate link": (tar(FILE, link(b"f", b"g")), PathRefused, "it occurs twice"),
    "equal under NFC": (tar(tar_member("é".encode()), tar_member("e\u0301".encode())), PathRefused, "Unicode NFC"),
    "a file over a directory": (tar(tar_member(b"f/g"), FILE), PathRefused, "it occurs twice"),
    "a directory over a file": (tar(FILE, tar_member(b"f/", kind=b"5")), PathRefused, "it occurs twice"),
    "a file below a file": (tar(FILE, tar_member(b"f/g")), PathRefused, "cannot be below it"),
    "a file through a link": (tar(link(b"d", b"/tmp"), tar_member(b"d/f")), PathRefused, "cannot be below it"),
    "a directory through a link": (tar(link(b"d", b"e"), tar_member(b"d/f/", kind=b"5")), PathRefused, "below it"),
    # Links.
    "link out": (tar(link(b"l", b"../x")), EntriesRefused, "leaves the tree"),
    "absolute link": (tar(link(b"l", b"/etc/passwd")), EntriesRefused, "is absolute"),
    "links out together": (
        tar(link(b"x/y/d", b"../.."), link(b"m", b"x/y/d/../etc")),
        EntriesRefused,
        "leaves the tree",
    ),
    "long target out": (
        tar(long_name(b"../" * 50 + b"x\0", b"K"), link(b"l", b"a")),
        EntriesRefused,
        "leaves the tree",
    ),
    "pax target out": (tar(pax(record(b"linkpath", b"../x")), link(b"l", b"a")), EntriesRefused, "leaves the tree"),
    "link without a target": (tar(link(b"l", b"")), EntriesRefused, "has 0 bytes"),
    "hard link to nothing": (tar(tar_member(b"h", kind=b"1", target=b"f"), FILE), ArchiveRefused, "no earlier file"),
    "hard link to itself": (tar(tar_member(b"h", kind=b"1", target=b"h")), ArchiveRefused, "no earlier file"),
    "hard link out": (tar(tar_member(b"h", kind=b"1", target=b"../f")), PathRefused, "'..' is not allowed"),
    "hard link to a directory": (
        tar(tar_member(b"d/", kind=b"5"), tar_member(b"h", kind=b"1", target=b"d")),
        ArchiveRefused,
        "no earlier file",
    ),
    "hard link through a link": (
        tar(tar_member(b"d/f"), link(b"l", b"d"), tar_member(b"h", kind=b"1", target=b"l/f")),
        ArchiveRefused,
        "no earlier file",
    ),
    # Kinds that no package holds, and forms that tools read differently.
    "character device": (tar(tar_member(b"d", kind=b"3")), EntriesRefused, "is a character device"),
    "block device": (tar(tar_member(b"d", kind=b"4")), EntriesRefused, "is a block device"),
    "FIFO": (tar(tar_member(b"p", kind=b"6")), EntriesRefused, "is a FIFO"),
    "sparse": (tar(tar_member(b"s", kind=b"S")), ArchiveRefused, "it is a sparse file"),
    "sparse by pax": (tar(pax(record(b"GNU.sparse.major", b"1")), FILE), ArchiveRefused, "it is a sparse file"),
    "sparse by star": (tar(pax(record(b"SCHILY.realsize", b"9")), FILE), ArchiveRefused, "it is a sparse file"),
    "another volume": (tar(tar_member(b"f", kind=b"M")), ArchiveRefused, "another volume"),
    "volume label": (tar(tar_member(b"f", kind=b"V")), ArchiveRefused, "a volume's label"),
    "incremental": (tar(tar_member(b"f", kind=b"D")), ArchiveRefused, "an incremental backup"),
    "unknown type": (tar(tar_member(b"f", kind=b"Z")), ArchiveRefused, "its type 'Z' is unknown"),
    "directory with content": (tar(tar_member(b"d/", b"x", b"5")), ArchiveRefused, "a directory with content"),
    "file with a slash and content": (tar(tar_member(b"d/", b"x")), ArchiveRefused, "a directory with content"),
    "link with content": (tar(tar_member(b"l", b"x", b"2", target=b"f")), ArchiveRefused, "link with content"),
    # Damage.
    "cut in a header": (TWO_FILES[:1100], ArchiveRefused, "no end marker"),
    "cut in a content": (TWO_FILES[:515], ArchiveRefused, "'f': the archive ends in it"),
    "cut in a padding": (TWO_FILES[:1000], ArchiveRefused, "'f': the archive ends in it"),
    "cut after a member": (TWO_FILES[:1024], ArchiveRefused, "no end marker"),
    "cut before the end": (TWO_FILES[: -len(END)], ArchiveRefused, "no end marker"),
    "cut in the end": (TWO_FILES[:-512], ArchiveRefused, "its end marker is incomplete"),
    "cut in the second block of the end": (TWO_FILES[:-1], ArchiveRefused, "its end marker is incomplete"),
    "cut in an extension": (pax(record(b"path", b"x" * 600))[:600], ArchiveRefused, "the archive ends in it"),
    "cut after an extension": (tar(pax(record(b"path", b"g"))), ArchiveRefused, "an extension without a member"),
    "damaged in the middle": (bytes(DAMAGED), ArchiveRefused, "the checksum of its header is wrong"),
    "a block of zeros in the middle": (FILE + bytes(512) + TWO_FILES, ArchiveRefused, "end marker is incomplete"),
    "two archives": (TWO_FILES + tar(tar_member(b"h")), ArchiveRefused, "bytes follow its end"),
    "trailing garbage": (TWO_FILES + b"x", ArchiveRefused, "bytes follow its end"),
    # Sizes.
    "size is no number": (block(b"f", b"0000000009x\0") + END, ArchiveRefused, "its size is no octal number"),
    "negative size": (block(b"f", b"-0000000001\0") + END, ArchiveRefused, "its size is no octal number"),
    "negative size in base 256": (block(b"f", b"\xff" * 12) + END, ArchiveRefused, "its size is negative"),
    "huge size in base 256": (block(b"f", b"\x80\x7f" + b"\xff" * 10) + END, ArchiveRefused, "2\\^63 or more"),
    "size beyond the end": (block(b"f", b"\x80" + b"\x7f\0".rjust(11, b"\0")) + END, ArchiveRefused, "ends in it"),
    "size beyond every file": (
        block(b"f", b"\x80\0\0\0" + b"\x7f" + b"\xff" * 7) + END,
        ArchiveRefused,
        "'f': the archive ends in it",
    ),
    "huge pax size": (tar(pax(record(b"size", b"9" * 20)), FILE), ArchiveRefused, "below 2\\^63"),
    "long pax size": (tar(pax(record(b"size", b"9" * 5000)), FILE), ArchiveRefused, "below 2\\^63"),
    "negative pax size": (tar(pax(record(b"size", b"-1")), FILE), ArchiveRefused, "below 2\\^63"),
    "pax size that hides a member": (tar(pax(record(b"size", b"0")), FILE), ArchiveRefused, "header is wrong|octal"),
    "pax size of a directory": (
        tar(pax(record(b"size", b"512")), tar_member(b"d/", kind=b"5"), FILE),
        ArchiveRefused,
        "a directory with content",
    ),
    # Extensions.
    "global path": (tar(pax(record(b"path", b"f"), kind=b"g"), FILE), ArchiveRefused, "a global header sets path"),
    "global size": (tar(pax(record(b"size", b"0"), kind=b"g"), FILE), ArchiveRefused, "a global header sets size"),
    "pax path twice": (
        tar(pax(record(b"path", b"a"), record(b"path", b"b")), FILE),
        ArchiveRefused,
        "it sets path twice",
    ),
    "two names": (tar(pax(record(b"path", b"a")), long_name(b"b\0"), FILE), ArchiveRefused, "two headers set the path"),
    "empty pax path": (tar(pax(record(b"path", b"")), FILE), ArchiveRefused, "a name in it has 0 bytes"),
    "pax record without a newline": (tar(tar_member(b"p", b"8 path=fx", b"x"), FILE), ArchiveRefused, "is invalid"),
    "pax record that is too long": (tar(tar_member(b"p", b"99 path=f\n", b"x"), FILE), ArchiveRefused, "is invalid"),
    "pax record of no length": (tar(tar_member(b"p", b"0 path=f\n", b"x"), FILE), ArchiveRefused, "is invalid"),
    "large pax header": (block(b"p", (1 << 20) + 1, b"x") + ZEROS, ArchiveRefused, "1048576 at most"),
    "large long name": (block(b"p", 1 << 30, b"L") + ZEROS, ArchiveRefused, "4097 at most"),
    "long name with more": (tar(long_name(b"f\0../g"), FILE), ArchiveRefused, "bytes follow the name"),
    # Bombs.
    "many members": (
        tar(*(tar_member(b"%d" % number) for number in range(FILES_MAX + 1))),
        TreeTooLarge,
        "more than 1000 files",
    ),
    "many directories": (
        gzip.compress(tar(*(tar_member(b"a/" * 49 + b"%d" % (n % 7), kind=b"5") for n in range(21_000)))),
        TreeTooLarge,
        "more than 20000 headers",
    ),
    "many names": (
        gzip.compress(tar(*(tar_member(b"%d/" % n + b"a/" * 40 + b"f") for n in range(500)))),
        TreeTooLarge,
        "more than 20000 headers",
    ),
    "many bytes": (
        lzma.compress(tar(*(tar_member(b"%d" % n, os.urandom(8) + ZEROS) for n in range(17)))),
        ArchiveRefused,
        "unpacks to more than 16777216 bytes",
    ),
    # Compression.
    "cut gzip": (gzip.compress(TWO_FILES)[:-1], ArchiveRefused, "ends too early"),
    "cut xz": (lzma.compress(TWO_FILES)[:-1], ArchiveRefused, "ends too early"),
    "cut bzip2": (bz2.compress(TWO_FILES)[:-1], ArchiveRefused, "ends too early"),
    "damaged gzip": (gzip.compress(TWO_FILES)[:-5] + bytes(5), ArchiveRefused, "compressed data is damaged"),
    "garbage after gzip": (gzip.compress(TWO_FILES) + b"garbage", ArchiveRefused, "other bytes follow it"),
    "garbage after xz": (lzma.compress(TWO_FILES) + b"garbage", ArchiveRefused, "other bytes follow it"),
    "garbage in gzip": (gzip.compress(TWO_FILES + b"garbage"), ArchiveRefused, "bytes follow its end"),
    "two archives in gzip": (gzip.compress(TWO_FILES) * 2, ArchiveRefused, "bytes follow its end"),
    "zip in gzip": (gzip.compress(ZIPPED), ArchiveRefused, "no end marker"),
    "text": (b"text " * 500, ArchiveRefused, "it is no tar or zip archive"),
    "nothing": (b"", ArchiveRefused, "it is no tar or zip archive"),
    # Zip archives.
    "zip traversal": (zip_archive(Part(b"../f")), PathRefused, "'..' is not allowed"),
    "zip absolute": (zip_archive(Part(b"/f")), PathRefused, "it is absolute"),
    "zip drive": (zip_archive(Part(b"C:\\f")), EntriesRefused, "backslash"),
    "zip name with NUL": (zip_archive(Part(b"f\0g")), EntriesRefused, "control character"),
    "zip duplicate": (zip_archive(Part(), Part()), PathRefused, "it occurs twice"),
    "zip link out": (zip_archive(Part(b"l", b"../x", mode=0o120777)), EntriesRefused, "leaves the tree"),
    "zip file through a link": (
        zip_archive(Part(b"d", b"/tmp", mode=0o120777), Part(b"d/f")),
        PathRefused,
        "cannot be below it",
    ),
    "zip long link": (zip_archive(Part(b"l", b"x" * 5000, mode=0o120777)), ArchiveRefused, "target has 5000 bytes"),
    "zip FIFO": (zip_archive(Part(b"p", b"", mode=0o010644)), EntriesRefused, "is a FIFO"),
    "zip device": (zip_archive(Part(b"d", b"", mode=0o060644)), EntriesRefused, "is a block device"),
    "zip directory without a slash": (zip_archive(Part(b"d", b"", mode=0o040755)), ArchiveRefused, "disagree"),
    "zip link with a slash": (zip_archive(Part(b"l/", b"f", mode=0o120777)), ArchiveRefused, "disagree"),
    "zip directory with content": (zip_archive(Part(b"d/")), ArchiveRefused, "a directory with content"),
    "zip encrypted": (zip_archive(Part(flags=1)), ArchiveRefused, "'f': it is encrypted|it is encrypted"),
    "zip unknown method": (zip_archive(Part(method=99)), ArchiveRefused, "method 99 is not read"),
    "zip other name": (zip_archive(Part(local_name=b"g")), ArchiveRefused, "differ in name"),
    "zip other method": (zip_archive(Part(local_method=8)), ArchiveRefused, "differ in name, method or flags"),
    "zip other flags": (zip_archive(Part(local_flags=1 << 11)), ArchiveRefused, "differ in name, method or flags"),
    "zip other size": (zip_archive(Part(local_size=2)), ArchiveRefused, "differ in sizes or checksum"),
    "zip other checksum": (zip_archive(Part(local_crc=2)), ArchiveRefused, "differ in sizes or checksum"),
    "zip wrong checksum": (zip_archive(Part(crc=2)), ArchiveRefused, "the size and the checksum of its header"),
    "zip content too long": (zip_archive(Part(content=b"xy", method=8, size=1)), ArchiveRefused, "the size and the"),
    "zip content too short": (zip_archive(Part(method=8, size=2)), ArchiveRefused, "the size and the checksum"),
    "zip stored with two sizes": (zip_archive(Part(size=2)), ArchiveRefused, "has two sizes"),
    "zip damaged content": (zip_archive(Part(method=8, packed=b"\xff\xff")), ArchiveRefused, "invalid block type"),
    "zip cut content": (zip_archive(Part(method=8, packed=b"\x4b")), ArchiveRefused, "it ends too early"),
    "zip content with more": (zip_archive(Part(method=8, packed=b"\x03\0xx")), ArchiveRefused, "bytes follow its end"),
    "zip overlap": (zip_archive(Part(b"f"), Part(b"g", local_name=b"f", offset=0)), ArchiveRefused, "it overlaps"),
    "zip in another": (
        zip_archive(Part(b"f", zip_archive(Part(b"g"))), Part(b"g", offset=31)),
        ArchiveRefused,
        "it overlaps the next member",
    ),
    "zip behind the directory": (zip_archive(Part(offset=40)), ArchiveRefused, "no local header is where"),
    "zip far away": (zip_archive(Part(offset=1 << 31)), ArchiveRefused, "it ends too early"),
    "zip self-extracting": (b"MZ" + zip_archive(Part(), before=b"program"), ArchiveRefused, "no tar or zip archive"),
    "zip with a moved directory": (zip_archive(Part(), moved=-1), ArchiveRefused, "not before its end record"),
    "zip after a prefix": (b"PK\3\4" + zip_archive(Part()), ArchiveRefused, "not before its end record"),
    "zip gap": (zip_archive(Part(), gap=b"gap"), ArchiveRefused, "not before its end record"),
    "zip two end records": (
        zip_archive(Part(b"f"), comment=zip_archive(Part(b"g"))),
        ArchiveRefused,
        "two end records",
    ),
    "zip trailing garbage": (ZIPPED + b"garbage", ArchiveRefused, "bytes follow it"),
    "zip without an end": (ZIPPED[:-22], ArchiveRefused, "no end record"),
    "zip cut": (ZIPPED[:60], ArchiveRefused, "no end record"),
    "zip more entries": (zip_archive(Part(), entries=2), ArchiveRefused, "fewer entries than its end record"),
    "zip fewer entries": (zip_archive(Part(b"f"), Part(b"g"), entries=1), ArchiveRefused, "more entries than its end"),
    "zip many entries": (zip_archive(Part(), entries=60_000), ArchiveRefused, "60000 members, 20000 at most"),
    "zip wrong descriptor": (
        zip_archive(DESCRIPTOR._replace(descriptor=b"PK\7\x08" + struct.pack("<3L", 1, 1, 1))),
        ArchiveRefused,
        "differ in data descriptor",
    ),
    "zip cut extra field": (zip_archive(Part(extra=b"\1\0\x10\0")), ArchiveRefused, "its extra field is damaged"),
    "zip odd extra field": (zip_archive(Part(extra=b"x")), ArchiveRefused, "its extra field is damaged"),
    "zip two extra fields": (zip_archive(Part(extra=b"\1\0\0\0" * 2)), ArchiveRefused, "an extra field twice"),
    "zip two names": (zip_archive(Part(extra=b"\x75\x70\6\0\1\0\0\0\0g")), ArchiveRefused, "two names that do not"),
    "zip64 gap": (zip64(zip_archive(Part()), gap=b"gap"), ArchiveRefused, "bytes are between its end records"),
    "zip64 volumes": (zip64(zip_archive(Part()), disks=2), ArchiveRefused, "it has several volumes"),
    "zip64 many entries": (
        zip64(zip_archive(Part()), entries=1 << 40),
        ArchiveRefused,
        "1099511627776 members, 20000 at most",
    ),
    "zip64 record elsewhere": (
        zip64(zip_archive(Part())).replace(b"PK\6\6", b"PK\6\5"),
        ArchiveRefused,
        "not where its locator says",
    ),
    "zip64 that differs": (
        zip64(zip_archive(Part()))[:-14] + b"\2\0\2\0" + b"\xff" * 8 + b"\0\0",
        ArchiveRefused,
        "its two end records differ",
    ),
    "zip64 short field": (
        zip_archive(Part(size=0xFFFFFFFF, extra=b"\1\0\4\0\1\0\0\0")),
        ArchiveRefused,
        "its zip64 field is too short",
    ),
    "zip64 size in one header": (
        zip_archive(Part(size=0xFFFFFFFF, extra=b"\1\0\x08\0" + struct.pack("<Q", 1))),
        ArchiveRefused,
        "differ in sizes",
    ),
    "zip volumes": (zip_archive(Part())[:-18] + b"\1\0" + zip_archive(Part())[-16:], ArchiveRefused, "several volumes"),
    "zip damaged directory": (
        zip_archive(Part()).replace(b"PK\1\2", b"PK\1\3"),
        ArchiveRefused,
        "directory is damaged",
    ),
    "zip patch": (zip_archive(Part(flags=32)), ArchiveRefused, "a patch of another file"),
    "zip long name": (zip_archive(Part(b"x" * 5000)), ArchiveRefused, "its name has 5000 bytes"),
    "zip of many bytes": (
        zip_archive(*(Part(b"%d" % n, ZEROS, 8) for n in range(17))),
        ArchiveRefused,
        "unpacks to more than 16777216 bytes",
    ),
}

RIGHT: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "cases": (tar(tar_member(b"a"), tar_member(b"A", b"x")), {"a": b"", "A": b"x"}),
    "dots before": (tar(tar_member(b"./", kind=b"5"), tar_member(b"././a/f", b"x")), {"a/f": b"x"}),
    "a repeated directory": (
        tar(tar_member(b"d/", kind=b"5"), tar_member(b"d/f"), tar_member(b"d", kind=b"5")),
        {"d/f": b""},
    ),
    "hard link": (tar(FILE, tar_member(b"h", kind=b"1", target=b"./f")), {"f": b"content", "h": b"content"}),
    "base-256 size": (block(b"f", b"\x80" + b"\2".rjust(11, b"\0")) + b"xy" + bytes(510) + END, {"f": b"xy"}),
    "size with spaces": (block(b"f", b"         2 \0") + b"xy" + bytes(510) + END, {"f": b"xy"}),
    "pax size": (
        pax(record(b"size", b"2")) + block(b"f", 0) + b"xy" + bytes(510) + END,
        {"f": b"xy"},
    ),
    "pax path": (tar(pax(record(b"path", b"x" * 200)), FILE), {"x" * 200: b"content"}),
    "global comment": (tar(pax(record(b"comment", b"c"), kind=b"g"), FILE), {"f": b"content"}),
    "long name": (tar(long_name(b"y/" * 100 + b"f\0"), FILE), {"y/" * 100 + "f": b"content"}),
    "ustar prefix": (tar(block(b"f", prefix=b"a/b")), {"a/b/f": b""}),
    "GNU fields where ustar has a prefix": (tar(block(b"f", magic=b"ustar  \0", prefix=b"123")), {"f": b""}),
    "V7": (tar(block(b"f", kind=b"\0", magic=bytes(8))), {"f": b""}),
    "contiguous file": (tar(tar_member(b"f", b"x", b"7")), {"f": b"x"}),
    "no members": (bytes(10240), {}),
    "members of gzip": (
        gzip.compress(TWO_FILES[:700]) + gzip.compress(TWO_FILES[700:]),
        {"f": b"content", "g": b"more"},
    ),
    "members of xz": (
        lzma.compress(TWO_FILES[:9]) + bytes(4) + lzma.compress(TWO_FILES[9:]),
        {"f": b"content", "g": b"more"},
    ),
    "zeros after bzip2": (bz2.compress(TWO_FILES) + bytes(99), {"f": b"content", "g": b"more"}),
    "zip": (ZIPPED, {"f": b"content" * 10, "g": b"more"}),
    "zip without members": (zip_archive(), {}),
    "zip comment": (zip_archive(Part(), comment=b"a PK\5\6 comment that is no end record"), {"f": b"x"}),
    "zip descriptor": (zip_archive(DESCRIPTOR), {"f": b"x"}),
    "zip descriptor without a signature": (
        zip_archive(DESCRIPTOR._replace(descriptor=DESCRIPTOR.descriptor[4:])),
        {"f": b"x"},
    ),
    "zip64": (zip64(zip_archive(Part())), {"f": b"x"}),
    "zip Unicode name": (
        zip_archive(
            Part(b"x", extra=b"\x75\x70\7\0\1" + struct.pack("<L", zlib.crc32(b"x")) + "é".encode(), local_extra=True)
        ),
        {"é": b"x"},
    ),
    "zip aligned by zeros": (zip_archive(Part(extra=bytes(3))), {"f": b"x"}),
    "zip in zip": (zip_archive(Part(b"f", zip_archive(Part(b"g")))), {"f": zip_archive(Part(b"g"))}),
    "zip with a gap": (zip_archive(Part(), before=b"PK\3\4 gap"), {"f": b"x"}),
    "zip name in UTF-8": (zip_archive(Part("é".encode(), flags=1 << 11)), {"é": b"x"}),
    "zip name of Unix": (zip_archive(Part("é".encode())), {"é": b"x"}),
    "zip name in code page 437": (zip_archive(Part(b"\x82", host=0)), {"é": b"x"}),
    "zip name of Unix that is not UTF-8": (zip_archive(Part(b"\x82")), {"é": b"x"}),
    "zip cases": (zip_archive(Part(b"a"), Part(b"A")), {"a": b"x", "A": b"x"}),
    "zip directory without meaning": (zip_archive(Part(b"d/", b"", mode=0o177777), Part(b"d/f")), {"d/f": b"x"}),
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory for temporary files."""
    return tmp_path


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_archive_is_refused_for_its_reason(directory: Path, name: str, piped: bool) -> None:
    data, error, words = REFUSED[name]
    with pytest.raises(error, match=words), opened(data, piped=piped, directory=directory):
        pass
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize("name", RIGHT)
def test_an_odd_archive_is_read_right(directory: Path, name: str, piped: bool) -> None:
    data, files = RIGHT[name]
    with opened(data, piped=piped, directory=directory) as archive:
        assert contents(archive) == files
        assert list(directory.iterdir()) == [], "the temporary file has no name, so a kill leaves nothing"
    assert list(directory.iterdir()) == []


def contents(archive: OpenArchive) -> dict[str, bytes]:
    return {file.path: os.pread(archive.descriptor, file.size_bytes, int(file.source)) for file in archive.scan.files}


def test_links_of_an_archive_are_not_followed() -> None:
    with (
        pytest.raises(ArchiveRefused, match="cannot be followed"),
        tempfile.TemporaryFile() as file,
        open_archive(file.fileno(), "a", files_max=1, links=LinkPolicy.FOLLOW),
    ):
        pass


def test_an_archive_that_unpacks_to_much_more_than_its_size_is_refused() -> None:
    meter = Meter("a", 1 << 40)
    meter.count(packed=1 << 20, unpacked=500 << 20)
    with pytest.raises(ArchiveRefused, match="more than 500 times its size"):
        meter.count(unpacked=1)
    Meter("a", 1 << 40).count(packed=1, unpacked=256 << 20)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """An archive of which some bytes are others, or a part is missing, twice or moved."""
    samples = [TWO_FILES, ZIPPED, *(data for data, _files in RIGHT.values() if len(data) < 8192)]
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 600)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end]
            case _:
                data[at:end] = draw(st.sampled_from([b"\0", b"\xff", b"7", b"PK\5\6"])) * (end - at)
    return bytes(data)


@settings(max_examples=150)
@given(data=mutated(), piped=st.booleans())
def test_a_mutated_archive_is_read_or_refused_with_an_error_of_ours(data: bytes, piped: bool) -> None:
    with suppress(ArtifactStoreError), opened(data, piped=piped) as archive:
        found = contents(archive)
        assert [len(found[file.path]) for file in archive.scan.files] == [
            file.size_bytes for file in archive.scan.files
        ]
