"""Checks what a store says against what it holds, without a line of artifactstore: with cbor2, blake3 and hashlib.

Usage: python independent_check.py MANIFEST.cbor MANIFEST.json INGEST.json EXPORTED-DIRECTORY OBJECT-ROOT

The first two are the two forms of one manifest, INGEST.json is what `artifactstore ingest --json` printed, and
EXPORTED-DIRECTORY is what `artifactstore export` wrote. Prints what was checked, or exits 1 with the first
contradiction.
"""

import hashlib
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import blake3
import cbor2

type Facts = dict[str, Any]

OWN = ("artifactstore-root", "files-cache/", "small/")
"""What lies below a root beside the files that are objects."""


def blake3_of(content: bytes) -> str:
    return "blake3:" + blake3.blake3(content).hexdigest()


def agree(what: str, said: object, found: object) -> None:
    if said != found:
        sys.exit(f"{what}: the store says {said!r}, and it is {found!r}")


def in_tree_order(path: str) -> list[bytes]:
    return path.encode().split(b"/")


def files_below(root: Path) -> list[str]:
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(found, key=in_tree_order)


def files_of(manifest: Facts) -> list[Facts]:
    names = ("path", "executable", "size_bytes", "media_type", "digest", "sha256")
    return [dict(zip(names, fields, strict=True)) for kind, *fields in manifest["entries"] if kind == "file"]


def others_of(manifest: Facts, kind: str) -> dict[str, list[str]]:
    return {path: target for found, path, *target in manifest["entries"] if found == kind}


def check_others(manifest: Facts, directory: Path) -> None:
    found = [(path.relative_to(directory).as_posix(), path) for path in directory.rglob("*")]
    links = {path: [os.readlink(each)] for path, each in found if each.is_symlink()}  # noqa: PTH115 - as it is
    agree("exported links", others_of(manifest, "link"), links)
    directories = [(path, each) for path, each in found if each.is_dir() and not each.is_symlink()]
    empty: dict[str, list[str]] = {path: [] for path, each in directories if not any(each.iterdir())}
    agree("exported empty directories", others_of(manifest, "directory"), empty)


def check_files(manifest: Facts, directory: Path) -> None:
    agree("exported paths", [file["path"] for file in files_of(manifest)], files_below(directory))
    for file in files_of(manifest):
        path = directory / file["path"]
        content = path.read_bytes()
        agree(f"size of {path}", file["size_bytes"], len(content))
        agree(f"BLAKE3 of {path}", file["digest"].hex(), blake3.blake3(content).hexdigest())
        agree(f"SHA-256 of {path}", file["sha256"], hashlib.sha256(content).digest())
        agree(f"executable bit of {path}", file["executable"], bool(path.stat().st_mode & 0o100))


def merkle_root(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\x00" + leaves[0] if leaves else b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


def check_tree_digest(manifest: Facts, ingested: Facts) -> None:
    leaves: list[bytes] = []
    for entry in sorted(manifest["entries"], key=lambda entry: in_tree_order(entry[1])):
        fields = [field for place, field in enumerate(entry) if (entry[0], place) != ("file", 4)]  # no media type
        leaves.append(cbor2.dumps(fields, canonical=True))
    head = ["artifactstore-tree", manifest["digest_algorithm"], len(leaves), merkle_root(leaves)]
    digest = "sha256:" + hashlib.sha256(cbor2.dumps(head, canonical=True)).hexdigest()
    agree("tree digest", ingested["tree_digest"], digest)
    agree("tree digest in the manifest", manifest["provenance"]["tree_digest"], digest)


def as_json(value: object) -> object:
    """The JSON form of a manifest's value: byte strings are hex."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {key: as_json(item) for key, item in cast("dict[str, object]", value).items()}
        case list():
            return [as_json(item) for item in cast("list[object]", value)]
        case _:
            return value


def check_objects(manifest: Facts, root: Path) -> int:
    with closing(sqlite3.connect(root / "small" / "objects.db")) as file:
        stored = dict(file.execute("SELECT key, content FROM objects"))
    stored |= {path: (root / path).read_bytes() for path in files_below(root) if not path.startswith(OWN)}
    for path, content in stored.items():
        # As `b3sum` would: an object is called by the digest of its bytes, below two directories of its first digits.
        name = blake3_of(content).removeprefix("blake3:")
        agree("place of an object", path, f"blake3/{name[:2]}/{name[2:4]}/{name}")
    named = [digest.hex() for digest, _backend, _key in manifest["storage_receipts"]]
    agree("objects", {f"blake3/{name[:2]}/{name[2:4]}/{name}" for name in named}, set(stored))
    return len(stored)


def main(cbor: Path, jcs: Path, ingest: Path, directory: Path, root: Path) -> None:
    payload = cbor.read_bytes()
    manifest, ingested = cbor2.loads(payload), json.loads(ingest.read_bytes())
    agree("manifest digest", ingested["manifest_digest"], blake3_of(payload))
    agree("digest of the canonical form", ingested["manifest_digest"], blake3_of(cbor2.dumps(manifest, canonical=True)))
    agree("JSON form", json.loads(jcs.read_bytes()), as_json(manifest))
    check_files(manifest, directory)
    check_others(manifest, directory)
    check_tree_digest(manifest, ingested)
    agree("files", ingested["files"], len(files_of(manifest)))
    agree("bytes", ingested["bytes"], sum(file["size_bytes"] for file in files_of(manifest)))
    objects = check_objects(manifest, root)
    links, directories = (len(others_of(manifest, kind)) for kind in ("link", "directory"))
    agree("links and directories", (ingested["links"], ingested["directories"]), (links, directories))
    entries = f"{len(files_of(manifest))} files, {links} links, {directories} empty directories"
    sys.stdout.write(f"{entries} and {objects} objects are what the store says\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
