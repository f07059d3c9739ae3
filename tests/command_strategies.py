"""Commands for tests: builders for those that a test writes out, and Hypothesis strategies for those it draws.

What is drawn is a `Step`: data that says what somebody tries. Which command that is can depend on what came before
(a manifest lists the files that are there), so `memory_log.MemoryLog` turns steps into commands.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from blake3 import blake3
from hypothesis import strategies as st

from artifactstore_protocols.canonical import INTEGER_MAX
from artifactstore_protocols.commands import (
    CreatePackage,
    FinalizePackage,
    FlagObject,
    IngestedFile,
    IngestFiles,
    OnExisting,
)
from artifactstore_protocols.identity import ContentAddress, ContentDigests, Digest
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.packages import Facts, decide
from artifactstore_protocols.payloads import (
    FileIngested,
    FileReplaced,
    MetadataSchemaRegistered,
    ObjectFlagged,
    ObjectHealed,
    PackageCreated,
    PackageFinalized,
    Payload,
)
from artifactstore_protocols.retention import DEFAULT_RETENTION, RETENTION_CLASSES
from artifactstore_protocols.storage import StorageOutcome, StorageReceipt
from strategies import paths

__all__ = [
    "BACKEND_ID",
    "Create",
    "FileStep",
    "Finalize",
    "Flag",
    "Ids",
    "Ingest",
    "Register",
    "Step",
    "address_of",
    "colliding_paths",
    "created",
    "digests_of",
    "finalize",
    "finalized",
    "flag",
    "ingest",
    "ingested",
    "opened",
    "package_id_of",
    "payloads",
    "steps",
]

BACKEND_ID = "local"


class Ids:
    """UUIDs that differ from one another and are the same in every run."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self) -> str:
        return str(uuid.UUID(int=0x0198F3A0_7C00_7000_8000_000000000000 + next(self._numbers)))


def package_id_of(index: int) -> str:
    """The id of a test's first, second … package."""
    return str(uuid.UUID(int=index))


def digests_of(content: bytes) -> ContentDigests:
    """Both digests of some bytes."""
    return ContentDigests(
        Digest("blake3", blake3(content).hexdigest()), Digest("sha256", hashlib.sha256(content).hexdigest())
    )


def address_of(content: bytes) -> ContentAddress:
    """Where some bytes are found."""
    return digests_of(content).content_address


def ingested(
    path: str,
    content: bytes = b"",
    *,
    executable: bool = False,
    media_type: str = "text/plain",
    outcome: StorageOutcome = "stored",
    ids: Ids | None = None,
) -> IngestedFile:
    """A file that the store has put away."""
    ids = ids or Ids()
    digests = digests_of(content)
    address = digests.content_address
    return IngestedFile(
        event_id=ids(),
        healed_event_id=ids(),
        path=path,
        size_bytes=len(content),
        executable=executable,
        media_type=media_type,
        digests=digests,
        receipt=StorageReceipt(
            BACKEND_ID, first_key(address), address, len(content), outcome, "immediate", "not_required"
        ),
    )


def created(
    package: int = 1,
    *,
    name: str = "nightly",
    retention_class: str = DEFAULT_RETENTION,
    metadata: Mapping[str, str] | None = None,
    ids: Ids | None = None,
) -> CreatePackage:
    """A command that opens a package."""
    return CreatePackage((ids or Ids())(), package_id_of(package), name, retention_class, metadata or {})


def ingest(*files: IngestedFile, package: int = 1, on_existing: OnExisting = OnExisting.REFUSE) -> IngestFiles:
    """A command that puts files into a package."""
    return IngestFiles(package_id_of(package), files, on_existing)


def flag(content: bytes, integrity: str = "damaged", *, ids: Ids | None = None) -> FlagObject:
    """What verification found about some bytes."""
    return FlagObject((ids or Ids())(), address_of(content), BACKEND_ID, integrity)


def finalize(version: int, *, package: int = 1) -> FinalizePackage:
    """A command that seals a package, with bytes that only the projection would read."""
    return FinalizePackage(Ids()(), package_id_of(package), version, b"manifest")


def opened(*files: tuple[str, bytes]) -> Facts:
    """The facts about the first package once it is open and holds these files."""
    facts = Facts()
    for command in (created(), ingest(*(ingested(path, content) for path, content in files))):
        decide(command, facts, files_per_package_max=len(files))
    return facts


def finalized() -> Facts:
    """The facts about the first package once it is sealed, with one file `a`."""
    facts = opened(("a", b"x"))
    decide(finalize(2), facts, files_per_package_max=1)
    return facts


@dataclass(frozen=True, slots=True)
class Create:
    """Somebody opens a package, perhaps one that is there."""

    package: int
    retention_class: str
    metadata: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class FileStep:
    """A file of an `Ingest`."""

    path: str
    content: bytes
    executable: bool
    outcome: StorageOutcome


@dataclass(frozen=True, slots=True)
class Ingest:
    """Somebody puts files into a package."""

    package: int
    files: tuple[FileStep, ...]
    on_existing: OnExisting


@dataclass(frozen=True, slots=True)
class Finalize:
    """Somebody seals a package, with a manifest that was built at its version, or one change `late`."""

    package: int
    late: bool


@dataclass(frozen=True, slots=True)
class Register:
    """Somebody registers a metadata schema."""

    name: str


@dataclass(frozen=True, slots=True)
class Flag:
    """Verification found something."""

    objects: tuple[tuple[bytes, str], ...]


type Step = Create | Ingest | Finalize | Register | Flag

# Few packages, names and contents, so that steps meet: taken paths, NFC twins, files where directories are needed.
_PACKAGES = st.sampled_from([1, 1, 1, 1, 2])
_NAMES = ["a", "b", "c", "c/d", "é", "e\u0301", "e\u0301/x"]
_CONTENTS = st.sampled_from([b"", b"x", b"yy"])


def colliding_paths() -> st.SearchStrategy[str]:
    """Paths that are likely to be taken, or to be in each other's way."""
    return st.sampled_from(_NAMES) | paths()


def _ingests(on_existing: OnExisting) -> st.SearchStrategy[Ingest]:
    files = st.builds(
        FileStep,
        st.sampled_from(_NAMES),
        _CONTENTS,
        st.booleans(),
        st.sampled_from(["stored", "deduplicated", "rewritten"]),
    )
    return st.builds(Ingest, _PACKAGES, st.lists(files, min_size=1, max_size=4).map(tuple), st.just(on_existing))


_STEPS = st.one_of(
    *map(_ingests, OnExisting),
    st.builds(
        Create,
        _PACKAGES,
        st.sampled_from([*RETENTION_CLASSES, "forever"]),
        st.dictionaries(st.sampled_from(["branch", "commit"]), st.text(max_size=3)),
    ),
    st.builds(Finalize, _PACKAGES, st.booleans()),
    st.builds(Register, st.sampled_from(["build", "model"])),
    st.builds(Flag, st.lists(st.tuples(_CONTENTS, st.sampled_from(["damaged", "missing"])), max_size=2).map(tuple)),
)


def steps() -> st.SearchStrategy[list[Step]]:
    """What somebody tries, one after the other. The first package is there from the start, so that much succeeds."""
    tried = st.lists(_STEPS, min_size=5, max_size=20)
    return tried.map(lambda drawn: [Create(1, DEFAULT_RETENTION, {}), *drawn])


def payloads() -> st.SearchStrategy[Payload]:
    """Payloads of every type: all that their types allow, also what no decision would make."""
    text = st.text(max_size=8)
    number = st.integers(-INTEGER_MAX, INTEGER_MAX)
    facts = (
        *(text, number, number, number, text, text, number),
        *(st.booleans(), text, text, text, text, text, text, text),
    )
    return st.one_of(
        st.builds(PackageCreated, text, text, text, st.none() | number, st.dictionaries(text, text, max_size=3)),
        st.builds(FileIngested, *facts),
        st.builds(FileReplaced, *facts, text),
        st.builds(PackageFinalized, st.binary(max_size=8)),
        st.builds(MetadataSchemaRegistered, text, number, text),
        st.builds(ObjectFlagged, text, text, text),
        st.builds(ObjectHealed, text, text),
    )
