"""Hypothesis strategies for the values of `artifactstore_protocols`: what is drawn is always valid."""

import hashlib
from collections.abc import Callable
from typing import cast

from blake3 import blake3
from hypothesis import strategies as st

from artifactstore_protocols.canonical import INTEGER_MAX, CanonicalValue, RecordValue
from artifactstore_protocols.links import escaping_links
from artifactstore_protocols.manifest import (
    DirectoryEntry,
    Entry,
    FileEntry,
    LinkEntry,
    Manifest,
    ManifestPackage,
    ManifestReceipt,
    Producer,
    check_tree,
)
from artifactstore_protocols.media_types import DEFAULT_MEDIA_TYPE, MEDIA_TYPES
from artifactstore_protocols.metadata import MetadataValue
from artifactstore_protocols.paths import PathRefused

__all__ = [
    "canonical_values",
    "contents",
    "labels",
    "manifest_entries",
    "manifests",
    "metadata_maps",
    "mutations",
    "paths",
    "record_values",
    "targets",
    "tree_paths",
]

# A few names that are likely to meet in one tree, beside whatever Unicode has.
_NAMES = ["a", "b", "bin", "é", "e\u0301", "report.json", "data.tar.gz", "z"]
_NAME_CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/\\")


def _nested[T: (CanonicalValue, RecordValue)](leaves: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    def containers(children: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
        either = st.lists(children, max_size=6) | st.dictionaries(st.text(max_size=30), children, max_size=6)
        return cast("st.SearchStrategy[T]", either)

    return st.recursive(leaves, containers, max_leaves=12)


def _integers() -> st.SearchStrategy[int]:
    # Every width of head has its edges: 24, 2^8, 2^16, 2^32.
    edges = [sign * edge for edge in (0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32) for sign in (1, -1)]
    return st.sampled_from([*edges, INTEGER_MAX, -INTEGER_MAX]) | st.integers(-INTEGER_MAX, INTEGER_MAX)


def canonical_values() -> st.SearchStrategy[CanonicalValue]:
    """Whatever `canonical.encode` takes."""
    return _nested(st.none() | st.booleans() | _integers() | st.text(max_size=30))


def record_values() -> st.SearchStrategy[RecordValue]:
    """Whatever `canonical.encode_record` takes."""
    return _nested(st.none() | st.booleans() | _integers() | st.text(max_size=30) | st.binary(max_size=30))


def paths() -> st.SearchStrategy[str]:
    """Paths that `paths.check_path` accepts."""
    part = st.sampled_from(_NAMES) | st.text(_NAME_CHARACTERS, min_size=1, max_size=12)
    plain = part.filter(lambda text: text not in {".", ".."})
    return st.lists(plain, min_size=1, max_size=4).map("/".join)


@st.composite
def tree_paths(draw: st.DrawFn) -> list[str]:
    """Paths that can all be entries of one tree, in any order; sometimes none."""
    kept: list[str] = []
    for path in draw(st.lists(paths(), max_size=8)):
        try:
            check_tree([*kept, path])
        except PathRefused:
            continue
        kept.append(path)
    return kept


def labels() -> st.SearchStrategy[str]:
    """Names and principals."""
    return st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20)


def metadata_maps() -> st.SearchStrategy[dict[str, MetadataValue]]:
    """Metadata of every type, nested at most three deep."""
    keys = st.text(max_size=10).filter(lambda key: key and key == key.strip() and key.isprintable())
    scalars = st.text(max_size=20) | st.integers(-INTEGER_MAX, INTEGER_MAX) | st.booleans()
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=6,
    )
    return cast("st.SearchStrategy[dict[str, MetadataValue]]", st.dictionaries(keys, values, max_size=4))


def contents() -> st.SearchStrategy[tuple[bytes, bytes, int]]:
    """Primary digest, SHA-256 and size of some bytes; the same bytes come up often."""
    return st.binary(max_size=2).map(
        lambda content: (blake3(content).digest(), hashlib.sha256(content).digest(), len(content))
    )


def targets() -> st.SearchStrategy[str]:
    """Targets that `links.check_target` accepts, in or out of a tree."""
    part = st.sampled_from(["..", ".", "", *_NAMES])
    return st.lists(part, min_size=1, max_size=5).map("/".join).filter(lambda text: text and text[0] != "/")


@st.composite
def manifest_entries(draw: st.DrawFn) -> list[Entry]:
    """The entries of one package, in any order."""
    entries: list[Entry] = []
    links: dict[str, str] = {}
    paths = draw(tree_paths())
    for path in paths:
        kind = draw(st.sampled_from(["file", "file", "link", "directory"]))
        if kind == "link" and not escaping_links({**links, path: (target := draw(targets()))}, paths):
            links[path] = target
            entries.append(LinkEntry("link", path, target))
        elif kind == "directory":
            entries.append(DirectoryEntry("directory", path))
        else:
            digest, sha256, size_bytes = draw(contents())
            media_type = draw(st.sampled_from([DEFAULT_MEDIA_TYPE, *sorted(set(MEDIA_TYPES.values()))]))
            entries.append(FileEntry("file", path, draw(st.booleans()), size_bytes, media_type, digest, sha256))
    return entries


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Whole manifests, as finalizing builds them."""
    entries = draw(manifest_entries())
    # Far from the integers' limit, so that the expiry stays within it.
    instants = st.integers(0, INTEGER_MAX // 2)
    return Manifest.build(
        package=ManifestPackage(
            package_id=str(draw(st.uuids())),
            name=draw(labels()),
            created_at_us=draw(instants),
            finalized_at_us=draw(instants),
            metadata=draw(metadata_maps()),
        ),
        entries=entries,
        storage_receipts=[ManifestReceipt(entry.digest, "local", None) for entry in entries if entry.kind == "file"],
        retention_class=draw(labels()),
        retention_duration_us=draw(st.none() | instants),
        producer=Producer(draw(labels()), draw(labels())),
        principal=draw(labels()),
    )


@st.composite
def mutations(draw: st.DrawFn, payload: bytes) -> bytes:
    """Some bytes close to `payload`: a few of them changed, left out, put in or repeated."""
    mutated = bytearray(payload)
    edits: list[Callable[[int, int], None]] = [
        lambda at, byte: mutated.__setitem__(slice(at, at + 1), bytes([byte])),
        lambda at, _: mutated.__delitem__(slice(at, at + 1)),
        mutated.insert,
        lambda at, byte: mutated.__setitem__(slice(at, at), mutated[at : at + byte]),
    ]
    for _ in range(draw(st.integers(1, 3))):
        draw(st.sampled_from(edits))(draw(st.integers(0, len(mutated))), draw(st.integers(0, 255)))
    return bytes(mutated)
