"""Commands for tests: builders for those that a test writes out, and Hypothesis strategies for those it draws.

What is drawn is a `Step`: data that says what somebody tries. Which command that is can depend on what came before
(a manifest lists the files that are there), so `memory_log.MemoryLog` turns steps into commands.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from blake3 import blake3
from hypothesis import strategies as st

from artifactstore_protocols.canonical import INTEGER_MAX
from artifactstore_protocols.commands import (
    Command,
    CreatePackage,
    FinalizePackage,
    IngestFiles,
    ObjectFinding,
    OnExisting,
    RecordFindings,
)
from artifactstore_protocols.entries import Entry, Place, StoredObject, directory_entry, file_entry, link_entry
from artifactstore_protocols.event_types import (
    ClockConfirmed,
    ClockObserved,
    CommandNoted,
    ContentsPurged,
    FilesIngested,
    HoldPlaced,
    HoldReleased,
    KeepPolicyDeleted,
    KeepPolicySet,
    LogCreated,
    MetadataSchemaRegistered,
    ObjectsCondemned,
    ObjectsFlagged,
    ObjectsRemoved,
    ObjectsReprieved,
    ObjectsRestored,
    ObjectsRetired,
    ObjectsStored,
    PackageAnnotated,
    PackageCreated,
    PackageDeleted,
    PackageExpired,
    PackageFinalized,
    Payload,
    PayloadsRedacted,
    RetentionChanged,
    RetentionClassAdded,
    SchemaRequirementDeleted,
    SchemaRequirementSet,
    StoreVerified,
    TagDeleted,
    TagSet,
    TokenCreated,
    TokenRevoked,
    Totals,
    encode_payload,
    type_of,
)
from artifactstore_protocols.events import CommandStamp, Event, StoredEvent
from artifactstore_protocols.identity import ContentAddress, ContentDigests, Digest
from artifactstore_protocols.judging import decide
from artifactstore_protocols.metadata import Metadata
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.retention import DEFAULT_RETENTION, RETENTION_CLASSES
from artifactstore_protocols.state import LogState
from artifactstore_protocols.verification import EVERY_OBJECT, SEED_MAX, SHARE_ALL_PPM, Sample, VerifiedKey
from strategies import metadata_maps, paths

__all__ = [
    "BACKEND_ID",
    "LOG_BEGUN",
    "AddAClass",
    "Annotate",
    "ApplyKeepPolicy",
    "Create",
    "CreateAToken",
    "Delete",
    "DeleteAKeepPolicy",
    "DeleteATag",
    "Expire",
    "Extend",
    "FileStep",
    "Finalize",
    "Find",
    "Ids",
    "Ingest",
    "Ingested",
    "LetGo",
    "Observe",
    "PlaceAHold",
    "Purge",
    "Register",
    "Release",
    "Remove",
    "Replace",
    "Retain",
    "Retire",
    "RevokeAToken",
    "SetAKeepPolicy",
    "SetATag",
    "Step",
    "Upload",
    "Verify",
    "address_of",
    "colliding_paths",
    "created",
    "digests_of",
    "evolved",
    "finalize",
    "finalized",
    "found",
    "ingest",
    "ingested",
    "opened",
    "package_id_of",
    "payloads",
    "place_of",
    "samples",
    "steps",
    "stored_events",
    "stored_object",
]

BACKEND_ID = "local"


class Ids:
    """UUIDs that differ from one another and are the same in every run."""

    def __init__(self, first: int = 1) -> None:
        self._numbers = count(first)

    def __call__(self) -> str:
        return str(uuid.UUID(int=0x0198F3A0_7C00_7000_8000_000000000000 + next(self._numbers)))


LOG_BEGUN = LogCreated(Ids(1 << 40)())
"""What the first event of a log says, here and where a `Scribe` writes."""


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


class Ingested(NamedTuple):
    """A file that the store has put away: its entry, and the proof for its content."""

    entry: Entry
    stored: StoredObject


def place_of(content: bytes, generation: int = 1) -> Place:
    """Where some bytes are put."""
    object_key = first_key(address_of(content))
    return Place(BACKEND_ID, object_key if generation == 1 else f"{object_key}.g{generation}")


def stored_object(content: bytes, generation: int = 1) -> StoredObject:
    """The proof that some bytes are stored, under the key of a generation."""
    digests = digests_of(content)
    digest, sha256 = bytes.fromhex(digests.primary.hex), bytes.fromhex(digests.sha256.hex)
    return StoredObject(digest, sha256, len(content), place_of(content, generation))


def ingested(
    path: str,
    content: bytes = b"",
    *,
    executable: bool = False,
    media_type: str = "text/plain",
    generation: int = 1,
) -> Ingested:
    """A file that the store has put away."""
    stored = stored_object(content, generation)
    return Ingested(file_entry(path, executable, media_type, len(content), stored.digest), stored)


def created(
    package: int = 1,
    *,
    name: str = "nightly",
    retention_class: str = DEFAULT_RETENTION,
    metadata: Metadata | None = None,
) -> CreatePackage:
    """A command that opens a package."""
    return CreatePackage(package_id_of(package), name, retention_class, metadata or {})


def ingest(*files: Ingested, package: int = 1, on_existing: OnExisting = OnExisting.REFUSE) -> IngestFiles:
    """A command that puts files into a package."""
    entries, stored = tuple(file.entry for file in files), tuple(file.stored for file in files)
    return IngestFiles(package_id_of(package), entries, stored, on_existing)


def found(*contents: tuple[bytes, str], as_of: int = INTEGER_MAX) -> RecordFindings:
    """A command that records what verification found about some bytes."""
    findings = tuple(
        ObjectFinding(stored_object(content).digest, place_of(content), integrity) for content, integrity in contents
    )
    return RecordFindings(findings, as_of)


def finalize(version: int, *, package: int = 1) -> FinalizePackage:
    """A command that finalizes a package, with bytes that only the projection would read."""
    return FinalizePackage(package_id_of(package), version, b"manifest")


def stored_events(
    payloads: Sequence[Payload], *, after: int = 0, principal: str = "ci", at_us: int | None = None
) -> list[StoredEvent]:
    """The events of one command, with these payloads; each has a time of its own unless one is given."""
    ids = Ids(1 << 32 | after << 8)
    stamp = CommandStamp(ids())
    return [
        StoredEvent(
            after + number,
            Event(
                ids(),
                type_of(payload).name,
                _subject_of(payload),
                principal,
                1_000_000 + after + number if at_us is None else at_us,
                encode_payload(payload),
                stamp,
            ),
        )
        for number, payload in enumerate(payloads, 1)
    ]


def _subject_of(payload: Payload) -> str:
    """The manifest of `finalize` is none that could be read for its package."""
    unread = isinstance(payload, PackageFinalized) and payload.summary is None
    return "" if unread else type_of(payload).subject(payload)


def evolved(state: LogState, *commands: Command, entries_max: int = 1000, after: int = 0) -> LogState:
    """The state after some commands."""
    for command in commands:
        payloads = decide(command, state, entries_max=entries_max)
        for stored, payload in zip(stored_events(payloads, after=after), payloads, strict=True):
            type_of(payload).evolve(payload, stored, state)
            after = stored.sequence
    return state


def opened(*files: tuple[str, bytes]) -> LogState:
    """The state once the first package is open and holds these files."""
    state = evolved(LogState(), created())
    return evolved(state, ingest(*(ingested(path, content) for path, content in files)), after=1) if files else state


def finalized() -> LogState:
    """The state once the first package is finalized, with one file `a`."""
    state = opened(("a", b"x"))
    state.packages[package_id_of(1)].finalized = True
    return state


@dataclass(frozen=True, slots=True)
class Create:
    """Somebody opens a package, perhaps one that is there."""

    package: int
    retention_class: str
    metadata: Metadata = field(hash=False)
    schema: str | None = None
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FileStep:
    """An entry of an `Ingest`: a file, or a link or an empty directory where `kind` says so."""

    path: str
    content: bytes
    executable: bool
    generation: int = 1
    kind: str = "file"

    def ingested(self) -> Ingested:
        """The entry, and the proof for its content where it is a file."""
        file = ingested(self.path, self.content, executable=self.executable, generation=self.generation)
        if self.kind == "file":
            return file
        entry = link_entry(self.path, "target") if self.kind == "link" else directory_entry(self.path)
        return Ingested(entry, file.stored)


@dataclass(frozen=True, slots=True)
class Ingest:
    """Somebody puts files into a package."""

    package: int
    files: tuple[FileStep, ...]
    on_existing: OnExisting
    by_reference: bool = False


@dataclass(frozen=True, slots=True)
class Finalize:
    """Somebody finalizes a package, with a manifest that was built at its version, or one change `late`."""

    package: int
    late: bool


@dataclass(frozen=True, slots=True)
class Register:
    """Somebody registers a metadata schema."""

    name: str


@dataclass(frozen=True, slots=True)
class Find:
    """Verification found something."""

    objects: tuple[tuple[bytes, str], ...]


@dataclass(frozen=True, slots=True)
class Retire:
    """A collector retires keys, each named by content and generation."""

    objects: tuple[tuple[bytes, int], ...]
    cause: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A collector has deleted what was at some keys."""

    objects: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class Replace:
    """Somebody has stored contents again, outside a package."""

    objects: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """Somebody has stored contents for no package yet."""

    objects: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class Require:
    """Somebody requires a schema for packages of a name."""

    glob: str
    schema: str


@dataclass(frozen=True, slots=True)
class Unrequire:
    """Somebody no longer requires a schema for packages of a name."""

    glob: str


@dataclass(frozen=True, slots=True)
class SetATag:
    """Somebody sets a tag."""

    tag: str
    package: int
    protected: bool | None


@dataclass(frozen=True, slots=True)
class SetAKeepPolicy:
    """Somebody sets the keep policy of a group."""

    group: str
    last: int


@dataclass(frozen=True, slots=True)
class DeleteAKeepPolicy:
    """Somebody deletes the keep policy of a group."""

    group: str


@dataclass(frozen=True, slots=True)
class ApplyKeepPolicy:
    """Somebody applies the keep policy of a group to some packages."""

    group: str
    packages: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Annotate:
    """Somebody annotates a package."""

    package: int
    annotations: Metadata = field(hash=False)
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """Somebody deletes a package."""

    package: int
    before_expiry: bool
    as_of_us: int = 0


@dataclass(frozen=True, slots=True)
class Expire:
    """A rule lets a package go, which it saw as it is, or one change earlier."""

    package: int
    rule: str
    as_of_us: int
    late: bool = False


@dataclass(frozen=True, slots=True)
class LetGo:
    """A collector lets go of the entries of a package in a range of path keys."""

    package: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class PlaceAHold:
    """Somebody places a hold, perhaps with an id that another hold has."""

    hold: int
    package: int


@dataclass(frozen=True, slots=True)
class Purge:
    """Somebody purges contents, perhaps some that the log does not name."""

    contents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Somebody releases a hold."""

    hold: int


@dataclass(frozen=True, slots=True)
class Retain:
    """Somebody sets a retention: a class, or a duration in microseconds."""

    package: int
    retention: str | int


@dataclass(frozen=True, slots=True)
class AddAClass:
    """Somebody adds a retention class."""

    name: str
    duration_us: int


@dataclass(frozen=True, slots=True)
class CreateAToken:
    """Somebody creates a token, which never ends or ended long ago."""

    name: str
    ends: bool = False


@dataclass(frozen=True, slots=True)
class RevokeAToken:
    """Somebody revokes a token."""

    name: str


@dataclass(frozen=True, slots=True)
class Extend:
    """Somebody extends a retention."""

    package: int
    duration_us: int
    as_of_us: int


@dataclass(frozen=True, slots=True)
class Observe:
    """The service sees the clock, or somebody confirms it."""

    at_us: int
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class DeleteATag:
    """Somebody deletes a tag."""

    tag: str


@dataclass(frozen=True, slots=True)
class Verify:
    """A verification has read some objects: so many from the first, second … one on that is due, or a sample."""

    first: int
    count: int
    sample: Sample


type Step = (
    Create
    | Ingest
    | Finalize
    | Register
    | Find
    | Retire
    | Remove
    | Replace
    | Upload
    | SetATag
    | DeleteATag
    | SetAKeepPolicy
    | DeleteAKeepPolicy
    | ApplyKeepPolicy
    | Annotate
    | Delete
    | Expire
    | LetGo
    | PlaceAHold
    | Purge
    | Release
    | AddAClass
    | CreateAToken
    | RevokeAToken
    | Retain
    | Extend
    | Observe
    | Verify
    | Require
    | Unrequire
)

# Few packages, names and contents, so that steps meet: taken paths, NFC twins, files where directories are needed.
_PACKAGES = st.sampled_from([1, 1, 1, 1, 2])
_NAMES = ["a", "b", "c", "c/d", "é", "e\u0301", "e\u0301/x"]
_CONTENTS = st.sampled_from([b"", b"x", b"yy"])
_GLOBS = st.sampled_from(["night*", "*[0-2]", "weekly"])
_TAGS = st.sampled_from(["release", "best"])
_GROUPS = st.sampled_from(["nightly", "night*"])
_KEYS = st.sampled_from(["branch", "reviewed", "score"])


def colliding_paths() -> st.SearchStrategy[str]:
    """Paths that are likely to be taken, or to be in each other's way."""
    return st.sampled_from(_NAMES) | paths()


def _ingests(on_existing: OnExisting) -> st.SearchStrategy[Ingest]:
    files = st.builds(
        FileStep,
        st.sampled_from(_NAMES),
        _CONTENTS,
        st.booleans(),
        st.sampled_from([1, 1, 1, 2, 3]),
        st.sampled_from(["file", "file", "file", "link", "directory"]),
    )
    some = st.lists(files, min_size=1, max_size=4).map(tuple)
    return st.builds(Ingest, _PACKAGES, some, st.just(on_existing), st.booleans())


def _stored(algorithm: str, objects: tuple[StoredObject, ...], condemned: bool) -> ObjectsStored:
    return ObjectsStored(algorithm, objects, frozenset(each.digest for each in objects[:1] if condemned))


def _verified(first: VerifiedKey, last: VerifiedKey, sample: Sample, objects: int, size_bytes: int) -> StoreVerified:
    return StoreVerified(9, first, last, sample.share_ppm, sample.seed, objects, size_bytes, 1, 0)


def samples() -> st.SearchStrategy[Sample]:
    """Everything, or a part."""
    parts = st.builds(Sample, st.integers(1, SHARE_ALL_PPM - 1), st.integers(0, SEED_MAX))
    return st.just(EVERY_OBJECT) | parts


_OBJECTS = st.lists(st.tuples(_CONTENTS, st.integers(1, 3)), min_size=1, max_size=3, unique=True).map(tuple)

_TIMES = st.sampled_from([0, 40 * 86_400_000_000, INTEGER_MAX])

_STEPS = st.one_of(
    st.builds(Retire, _OBJECTS, st.sampled_from(["condemned", "condemned", "orphan"])),
    st.builds(Remove, _OBJECTS),
    st.builds(Replace, _OBJECTS),
    st.builds(Upload, _OBJECTS),
    st.builds(Verify, st.integers(0, 3), st.integers(1, 3), samples()),
    *map(_ingests, OnExisting),
    st.builds(
        Create,
        _PACKAGES,
        st.sampled_from([*RETENTION_CLASSES, "forever"]),
        st.dictionaries(st.sampled_from(["branch", "commit"]), st.text(max_size=3) | st.integers(0, 1)),
        st.sampled_from([None, None, "build", "build@1", "build@2", "model"]),
        st.sampled_from([(), (), (1,), (2,), (1, 2)]),
    ),
    st.builds(Finalize, _PACKAGES, st.booleans()),
    st.builds(Register, st.sampled_from(["build", "model"])),
    st.builds(SetATag, _TAGS, _PACKAGES, st.sampled_from([True, False, None])),
    st.builds(DeleteATag, _TAGS),
    st.builds(SetAKeepPolicy, _GROUPS, st.integers(1, 2)),
    st.builds(DeleteAKeepPolicy, _GROUPS),
    st.builds(ApplyKeepPolicy, _GROUPS, st.sampled_from([(1,), (2,), (1, 2)])),
    st.builds(Observe, st.sampled_from([0, 10**12, 3 * 10**12, 10**15]), st.booleans()),
    st.builds(PlaceAHold, st.integers(1, 3), st.sampled_from([1, 1, 2])),
    st.builds(Purge, st.sampled_from([(b"x",), (b"yy",), (b"x", b"yy")])),
    st.builds(Release, st.integers(1, 3)),
    st.builds(AddAClass, st.sampled_from(["forever", "release"]), st.integers(1, 2)),
    st.builds(CreateAToken, st.sampled_from(["ci", "cd"]), st.booleans()),
    st.builds(RevokeAToken, st.sampled_from(["ci", "cd"])),
    st.builds(Retain, st.sampled_from([1, 1, 2]), st.sampled_from(["forever", *RETENTION_CLASSES, "", 1, 10**15])),
    st.builds(Extend, st.sampled_from([1, 1, 2]), st.sampled_from([1, 10**15]), _TIMES),
    st.builds(Delete, st.sampled_from([1, 2, 2]), st.booleans(), _TIMES),
    st.builds(LetGo, st.sampled_from([1, 2, 2]), st.sampled_from(["!", "a", "c"]), st.sampled_from(["c", "ÿ"])),
    st.builds(
        Expire,
        st.sampled_from([1, 2, 2]),
        st.sampled_from(["retention", "policy:nightly", "abandoned"]),
        _TIMES,
        st.booleans(),
    ),
    st.builds(Require, _GLOBS, st.sampled_from(["build", "build@1", "build@2", "model"])),
    st.builds(Unrequire, _GLOBS),
    st.builds(
        Annotate,
        _PACKAGES,
        st.dictionaries(_KEYS, st.sampled_from(["", 1, True, "1", [1], {"a": []}]), min_size=1, max_size=2),
    ),
    st.builds(Annotate, _PACKAGES, st.just({}), _KEYS.map(lambda key: (key,))),
    st.builds(
        Find,
        st.lists(
            st.tuples(_CONTENTS, st.sampled_from(["intact", "damaged", "missing"])),
            min_size=1,
            max_size=2,
            unique_by=lambda each: each[0],
        ).map(tuple),
    ),
)


def steps() -> st.SearchStrategy[list[Step]]:
    """What somebody tries, one after the other. The first package is there from the start, so that much succeeds."""
    tried = st.lists(_STEPS, min_size=5, max_size=20)
    return tried.map(lambda drawn: [Create(1, DEFAULT_RETENTION, {}), *drawn])


def payloads() -> st.SearchStrategy[Payload]:
    """Payloads of every type that reads what it writes: what the rules of single events allow."""
    text = st.text(max_size=8)
    number = st.integers(-INTEGER_MAX, INTEGER_MAX)
    digest = st.binary(min_size=32, max_size=32)
    place = st.builds(Place, st.sampled_from(["local", "s3"]), st.sampled_from(["blake3/00/00/x", "k"]))
    size = st.integers(0, INTEGER_MAX)
    keys = st.lists(
        st.builds(place_of, st.binary(max_size=2), st.integers(1, 3)), min_size=1, max_size=3, unique=True
    ).map(tuple)
    stored = st.builds(
        StoredObject,
        digest,
        digest,
        size,
        place,
        st.sampled_from(["immediate", "archive"]),
        st.sampled_from(["not_required", "required"]),
    )
    entry = st.one_of(
        st.builds(file_entry, colliding_paths(), st.booleans(), st.sampled_from(["text/plain", "a/b"]), size, digest),
        st.builds(link_entry, colliding_paths(), st.sampled_from(["a", "../b"])),
        st.builds(directory_entry, colliding_paths()),
    )

    def findings(*integrities: str) -> st.SearchStrategy[tuple[ObjectFinding, ...]]:
        finding = st.builds(ObjectFinding, digest, place, st.sampled_from(integrities))
        return st.lists(finding, min_size=1, max_size=3).map(tuple)

    @st.composite
    def ingests(draw: st.DrawFn) -> FilesIngested:
        entries = draw(st.lists(entry, min_size=1, max_size=4, unique_by=lambda each: path_key(each.path)))
        keys = [path_key(each.path) for each in entries]
        return FilesIngested(
            package_id=draw(text),
            package_number=draw(number),
            totals=draw(st.builds(Totals, number, number, number, number, number, number)),
            digest_algorithm=draw(text),
            entries=tuple(entries),
            path_keys=tuple(keys),
            replaced=frozenset(draw(st.sets(st.sampled_from(keys)))),
            removed=tuple(draw(st.lists(text, max_size=2))),
        )

    uuids = st.uuids().map(str)
    metadata = metadata_maps().filter(bool)
    return st.one_of(
        st.builds(LogCreated, uuids),
        st.builds(
            PackageCreated,
            text,
            text,
            text,
            st.none() | number,
            metadata_maps(),
            st.none() | text,
            st.dictionaries(text, text),
        ),
        st.builds(_stored, text, st.lists(stored, max_size=3).map(tuple), st.booleans()),
        ingests(),
        st.builds(PackageFinalized, st.binary(max_size=8)),
        st.builds(MetadataSchemaRegistered, text, number, text),
        st.builds(TagSet, text, text, st.booleans()),
        st.builds(TagDeleted, text),
        st.builds(KeepPolicySet, text, metadata),
        st.builds(RetentionClassAdded, text, st.integers(0, 2**53 - 1)),
        st.builds(KeepPolicyDeleted, text),
        st.builds(
            TokenCreated,
            text,
            st.lists(text, max_size=2).map(tuple),
            st.lists(text, max_size=2).map(tuple),
            st.none() | number,
            st.binary(max_size=32),
            uuids,
        ),
        st.builds(TokenRevoked, text, text),
        st.builds(PackageDeleted, text, text),
        st.builds(ClockObserved, number),
        st.builds(ClockConfirmed, number),
        st.builds(HoldPlaced, text, text, text),
        st.builds(HoldReleased, text, text),
        st.builds(ContentsPurged, st.just((b"1" * 32, b"2" * 32)), st.just(()) | keys, text),
        st.builds(PayloadsRedacted, st.just(((1, b"1" * 32), (7, b"2" * 32))), text),
        st.builds(RetentionChanged, text, text, st.none() | number, st.none() | number),
        st.builds(PackageExpired, text, text, number, number),
        st.builds(SchemaRequirementSet, text, text),
        st.builds(SchemaRequirementDeleted, text),
        st.builds(PackageAnnotated, uuids, number, metadata, st.just(())),
        st.builds(PackageAnnotated, uuids, number, st.just({}), st.just(("b", "é"))),
        st.builds(ObjectsFlagged, findings("damaged", "missing")),
        st.builds(ObjectsRestored, findings("intact")),
        st.builds(CommandNoted, text),
        st.builds(ObjectsCondemned, keys, st.text("abc ", min_size=1, max_size=8)),
        st.builds(ObjectsReprieved, st.just(()) | keys),
        st.builds(ObjectsRetired, keys, st.sampled_from(["condemned", "orphan", "superseded"])),
        st.builds(ObjectsRemoved, keys),
        st.builds(
            _verified,
            st.builds(VerifiedKey, st.integers(0, 4), st.just(place_of(b"x"))),
            st.builds(VerifiedKey, st.integers(5, 9), st.just(place_of(b"yy", 2))),
            samples(),
            st.integers(1, 2048),
            size,
        ),
    )
