"""The rules of packages, as pure decisions: facts and a command in, events out, or a refusal.

The writer loads the facts inside its transaction, decides, and evolves the facts by what it decided, so that the
next command of the same batch sees it. Nothing here knows a database; what facts a command needs is said by `needs`.

A package is open, then finalised, and never opens again. Its version counts its changes: a manifest is built for one
version and sealed only if the package still has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import assert_never, override

from artifactstore_protocols.commands import (
    Command,
    CreatePackage,
    FinalizePackage,
    FlagObjects,
    IngestedFile,
    IngestFiles,
    OnExisting,
    RegisterMetadataSchema,
)
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.paths import ancestors, path_key
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
from artifactstore_protocols.retention import retention_class

__all__ = [
    "Draft",
    "Facts",
    "FileState",
    "Needs",
    "PackageChanged",
    "PackageExists",
    "PackageFinalizedAlready",
    "PackageNotFound",
    "PackageState",
    "PathConflict",
    "PathTaken",
    "TooManyFiles",
    "decide",
    "needs",
]


@dataclass(eq=False)
class PackageNotFound(ArtifactStoreError):
    """No package has this id."""

    package: str

    @override
    def __str__(self) -> str:
        return f"there is no package {self.package}; `artifactstore package list` shows those that are"


@dataclass(eq=False)
class PackageExists(ArtifactStoreError):
    """A package id that is taken."""

    package_id: str

    @override
    def __str__(self) -> str:
        return f"package {self.package_id} exists already; make a new id"


@dataclass(eq=False)
class PackageFinalizedAlready(ArtifactStoreError):
    """A change to a package that is sealed."""

    package_id: str

    @override
    def __str__(self) -> str:
        return f"package {self.package_id} is finalised and takes no more changes; create a new package"


@dataclass(eq=False)
class PackageChanged(ArtifactStoreError):
    """The package changed between building its manifest and sealing it. Nothing was written; try again."""

    package_id: str
    expected_version: int
    version: int

    @override
    def __str__(self) -> str:
        return (
            f"package {self.package_id} changed while it was being finalised "
            f"(version {self.expected_version} became {self.version}); finalise it again when its ingests are done"
        )


@dataclass(eq=False)
class PathTaken(ArtifactStoreError):
    """A path, or one that is equal to it under Unicode NFC, has a file already."""

    package_id: str
    path: str
    existing: str

    @override
    def __str__(self) -> str:
        if self.path == self.existing:
            taken = f"package {self.package_id} has a file at {self.path!r} already"
            return f"{taken}; ask for replace (`--replace`) to change it"
        return (
            f"{self.path!r} and {self.existing!r} are the same path under Unicode NFC; rename one of the two "
            f"(package {self.package_id})"
        )


@dataclass(eq=False)
class PathConflict(ArtifactStoreError):
    """One path would have to be a file and a directory at once."""

    package_id: str
    path: str
    existing: str

    @override
    def __str__(self) -> str:
        return (
            f"{self.path!r} cannot stand beside {self.existing!r}: one of them would be a file and a directory at once "
            f"(package {self.package_id})"
        )


@dataclass(eq=False)
class TooManyFiles(ArtifactStoreError):
    """A package would hold more files than the setting allows."""

    package_id: str
    limit: int

    @override
    def __str__(self) -> str:
        return (
            f"package {self.package_id} would hold more than {self.limit} files; split it, or raise "
            "ARTIFACTSTORE_PACKAGE_FILES_MAX"
        )


@dataclass(frozen=True, slots=True)
class PackageState:
    """What decisions need to know of a package."""

    package_id: str
    finalized: bool
    version: int
    file_count: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class FileState:
    """What decisions need to know of the file at a path."""

    path: str
    size_bytes: int
    executable: bool
    media_type: str
    content_address: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What a batch of commands asks the database for.

    Attributes:
        packages: ids of packages.
        files: (package id, path key) of the files that are to be written.
        above: (package id, path key) of paths at which only a file matters, such as every directory above them.
        schemas: names of metadata schemas.
    """

    packages: frozenset[str] = frozenset()
    files: frozenset[tuple[str, str]] = frozenset()
    above: frozenset[tuple[str, str]] = frozenset()
    schemas: frozenset[str] = frozenset()

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            self.packages | other.packages,
            self.files | other.files,
            self.above | other.above,
            self.schemas | other.schemas,
        )


@dataclass(slots=True)
class Facts:
    """What is true in the transaction: loaded once, then evolved by every decision.

    Attributes:
        packages: by id; a missing id is no package.
        files: by (package id, path key); holds at least what `needs` named and exists.
        directories: (package id, path key) of needed paths that have files below them, to one such path.
        schema_versions: latest version by name.
    """

    packages: dict[str, PackageState] = field(default_factory=dict[str, PackageState])
    files: dict[tuple[str, str], FileState] = field(default_factory=dict[tuple[str, str], FileState])
    directories: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    schema_versions: dict[str, int] = field(default_factory=dict[str, int])

    def copy(self) -> "Facts":
        """Facts that can evolve on their own: a refused command must leave no trace in the batch's."""
        return Facts(dict(self.packages), dict(self.files), dict(self.directories), dict(self.schema_versions))


@dataclass(frozen=True, slots=True)
class Draft:
    """An event as a decision makes it; the writer adds who, when and where."""

    event_id: str
    subject: str
    payload: Payload


def needs(command: Command) -> Needs:
    """The facts without which `decide` cannot judge a command."""
    match command:
        case CreatePackage() | FinalizePackage():
            return Needs(packages=frozenset({command.package_id}))
        case IngestFiles():
            keys = [path_key(file.path) for file in command.files]
            return Needs(
                packages=frozenset({command.package_id}),
                files=frozenset((command.package_id, key) for key in keys),
                above=frozenset((command.package_id, above) for key in keys for above in ancestors(key)),
            )
        case RegisterMetadataSchema():
            return Needs(schemas=frozenset({command.name}))
        case FlagObjects():
            return Needs()
        case _:
            assert_never(command)


def decide(command: Command, facts: Facts, *, files_per_package_max: int) -> tuple[Draft, ...]:
    """The events that a command makes true; `facts` evolve with them. No events means it is true already.

    Raises:
        ArtifactStoreError: one of the refusals of this module, or an unknown retention class. `facts` may then be
            half evolved, so give a copy where they are needed afterwards.
    """
    match command:
        case CreatePackage():
            return (_create(command, facts),)
        case IngestFiles():
            return tuple(_ingest(command, facts, files_per_package_max))
        case FinalizePackage():
            return _finalize(command, facts)
        case RegisterMetadataSchema():
            version = facts.schema_versions.get(command.name, 0) + 1
            facts.schema_versions[command.name] = version
            registered = MetadataSchemaRegistered(command.name, version, command.schema)
            return (Draft(command.event_id, command.name, registered),)
        case FlagObjects():
            return tuple(
                Draft(
                    flag.event_id,
                    str(flag.content_address),
                    ObjectFlagged(str(flag.content_address), flag.backend_id, flag.integrity),
                )
                for flag in command.objects
            )
        case _:
            assert_never(command)


def _create(command: CreatePackage, facts: Facts) -> Draft:
    if command.package_id in facts.packages:
        raise PackageExists(command.package_id)
    kept = retention_class(command.retention_class)
    facts.packages[command.package_id] = PackageState(command.package_id, False, 1, 0, 0)
    payload = PackageCreated(command.package_id, command.name, kept.name, kept.duration_us, dict(command.metadata))
    return Draft(command.event_id, command.package_id, payload)


def _package(facts: Facts, package_id: str) -> PackageState:
    package = facts.packages.get(package_id)
    if package is None:
        raise PackageNotFound(package_id)
    return package


def _finalize(command: FinalizePackage, facts: Facts) -> tuple[Draft, ...]:
    package = _package(facts, command.package_id)
    if package.finalized:
        return ()
    if package.version != command.expected_version:
        raise PackageChanged(command.package_id, command.expected_version, package.version)
    facts.packages[command.package_id] = replace(package, finalized=True)
    return (Draft(command.event_id, command.package_id, PackageFinalized(command.manifest, command.summary)),)


def _ingest(command: IngestFiles, facts: Facts, files_per_package_max: int) -> Iterator[Draft]:
    if _package(facts, command.package_id).finalized:
        raise PackageFinalizedAlready(command.package_id)
    for file in command.files:
        key = (command.package_id, path_key(file.path))
        existing = facts.files.get(key)
        state = FileState(
            file.path,
            file.size_bytes,
            file.executable,
            file.media_type,
            str(file.digests.content_address),
            str(ContentAddress(file.digests.sha256)),
        )
        if existing is None:
            _check_tree(command.package_id, file.path, key[1], facts)
        elif existing.path != file.path or (command.on_existing is OnExisting.REFUSE):
            raise PathTaken(command.package_id, file.path, existing.path)
        elif existing == state:
            yield from _healed(file)
            continue
        elif command.on_existing is OnExisting.RESUME:
            raise PathTaken(command.package_id, file.path, existing.path)
        package = _grown(facts.packages[command.package_id], file, existing)
        if existing is None and package.file_count > files_per_package_max:
            raise TooManyFiles(command.package_id, files_per_package_max)
        facts.packages[command.package_id] = package
        facts.files[key] = state
        for above in ancestors(key[1]):
            facts.directories.setdefault((command.package_id, above), file.path)
        yield Draft(file.event_id, command.package_id, _file_payload(file, key[1], package, existing))
        yield from _healed(file)


def _check_tree(package_id: str, path: str, key: str, facts: Facts) -> None:
    """Refuse a file where a directory is needed, and the other way round."""
    below = facts.directories.get((package_id, key))
    if below is not None:
        raise PathConflict(package_id, path, below)
    for above in ancestors(key):
        blocking = facts.files.get((package_id, above))
        if blocking is not None:
            raise PathConflict(package_id, path, blocking.path)


def _grown(package: PackageState, file: IngestedFile, existing: FileState | None) -> PackageState:
    freed_bytes = 0 if existing is None else existing.size_bytes
    return replace(
        package,
        version=package.version + 1,
        file_count=package.file_count + (existing is None),
        total_bytes=package.total_bytes + file.size_bytes - freed_bytes,
    )


def _healed(file: IngestedFile) -> Iterator[Draft]:
    if file.receipt.outcome == "rewritten":
        address = str(file.digests.content_address)
        yield Draft(file.healed_event_id, address, ObjectHealed(address, file.receipt.backend_id))


def _file_payload(
    file: IngestedFile, key: str, package: PackageState, existing: FileState | None
) -> FileIngested | FileReplaced:
    facts = (
        package.package_id,
        package.version,
        package.file_count,
        package.total_bytes,
        file.path,
        key,
        file.size_bytes,
        file.executable,
        file.media_type,
        str(file.digests.content_address),
        str(ContentAddress(file.digests.sha256)),
        file.receipt.backend_id,
        file.receipt.object_key,
        file.receipt.retrieval_tier,
        file.receipt.restore_status,
    )
    if existing is None:
        return FileIngested(*facts)
    return FileReplaced(*facts, existing.content_address)
