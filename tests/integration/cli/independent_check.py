"""Checks what a store says against what it holds, without a line of artifactstore: with cbor2, blake3 and hashlib.

Usage: python independent_check.py MANIFEST.cbor MANIFEST.json INGEST.json EXPORTED-DIRECTORY OBJECT-ROOT

The first two are the two forms of one manifest, INGEST.json is what `artifactstore ingest --json` printed, and
EXPORTED-DIRECTORY is what `artifactstore export` wrote. Prints what was checked, or exits 1 with the first
contradiction.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import blake3
import cbor2

type Facts = dict[str, Any]


def blake3_of(content: bytes) -> str:
    return "blake3:" + blake3.blake3(content).hexdigest()


def sha256_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def agree(what: str, said: object, found: object) -> None:
    if said != found:
        sys.exit(f"{what}: the store says {said!r}, and it is {found!r}")


def files_below(root: Path) -> list[str]:
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())
    return sorted(found, key=os.fsencode)


def check_files(manifest: Facts, directory: Path) -> None:
    agree("exported paths", [file["path"] for file in manifest["files"]], files_below(directory))
    for file in manifest["files"]:
        path = directory / file["path"]
        content = path.read_bytes()
        agree(f"size of {path}", file["size_bytes"], len(content))
        agree(f"BLAKE3 of {path}", file["digest"], blake3_of(content))
        agree(f"SHA-256 of {path}", file["sha256"], sha256_of(content))
        agree(f"executable bit of {path}", file["executable"], bool(path.stat().st_mode & 0o100))


def check_tree_digest(manifest: Facts, ingested: Facts) -> None:
    rows = [
        [file["path"], file["executable"], file["size_bytes"], file["digest"], file["sha256"]]
        for file in sorted(manifest["files"], key=lambda file: file["path"].encode())
    ]
    digest = blake3_of(cbor2.dumps(rows, canonical=True))
    agree("tree digest", ingested["tree_digest"], digest)
    agree("tree digest in the manifest", manifest["provenance"]["tree_digest"], digest)


def check_objects(manifest: Facts, root: Path) -> int:
    stored = files_below(root)
    for path in stored:
        # As `b3sum` would: an object is called by the digest of its bytes, below two directories of its first digits.
        name = blake3_of((root / path).read_bytes()).removeprefix("blake3:")
        agree("place of an object", path, f"blake3/{name[:2]}/{name[2:4]}/{name}")
    agree("objects", {receipt["object_key"] for receipt in manifest["storage_receipts"]}, set(stored))
    return len(stored)


def main(cbor: Path, jcs: Path, ingest: Path, directory: Path, root: Path) -> None:
    payload = cbor.read_bytes()
    manifest, ingested = cbor2.loads(payload), json.loads(ingest.read_bytes())
    agree("manifest digest", ingested["manifest_digest"], blake3_of(payload))
    agree("digest of the canonical form", ingested["manifest_digest"], blake3_of(cbor2.dumps(manifest, canonical=True)))
    agree("JSON form", json.loads(jcs.read_bytes()), manifest)
    check_files(manifest, directory)
    check_tree_digest(manifest, ingested)
    agree("files", ingested["files"], len(manifest["files"]))
    agree("bytes", ingested["bytes"], sum(file["size_bytes"] for file in manifest["files"]))
    objects = check_objects(manifest, root)
    sys.stdout.write(f"{len(manifest['files'])} files and {objects} objects are what the store says\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
