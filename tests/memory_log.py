"""A whole store in memory: decisions, a log and views, without a database. What tests compare replays with."""

from collections import Counter
from typing import cast

from msgspec import structs

from artifactstore_protocols import manifest
from artifactstore_protocols.canonical import decode
from artifactstore_protocols.commands import (
    AnnotatePackage,
    Command,
    DeleteKeepPolicy,
    DeleteTag,
    FinalizePackage,
    IngestFiles,
    RecordVerification,
    RegisterMetadataSchema,
    RemoveObjects,
    ReplaceObjects,
    RequireSchema,
    RetireObjects,
    SetKeepPolicy,
    SetTag,
    StoreObjects,
    UnrequireSchema,
)
from artifactstore_protocols.entries import Place
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_types import type_of
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.judging import decide, project
from artifactstore_protocols.keep_policies import ApplyKeepPolicies
from artifactstore_protocols.keep_rules import KeepRules
from artifactstore_protocols.life_cycle import (
    CUSTOM,
    AddRetentionClass,
    ConfirmClock,
    DeletePackage,
    ExpirePackage,
    ExtendRetention,
    ObserveClock,
    PlaceHold,
    ReleaseHold,
    SetRetention,
)
from artifactstore_protocols.manifest import (
    Manifest,
    ManifestPackage,
    Producer,
)
from artifactstore_protocols.metadata import Metadata
from artifactstore_protocols.purging import PurgeContents
from artifactstore_protocols.releasing import ReleaseEntries
from artifactstore_protocols.state import LogState
from artifactstore_protocols.token_records import CreateToken, RevokeToken
from artifactstore_protocols.tokens import secret_digest
from artifactstore_protocols.verification import VerifiedKey
from artifactstore_protocols.views import (
    FILES,
    LOCATIONS,
    PACKAGES,
    PARENTS,
    RETENTION,
)
from command_strategies import (
    BACKEND_ID,
    LOG_BEGUN,
    AddAClass,
    Annotate,
    ApplyKeepPolicy,
    Create,
    CreateAToken,
    Delete,
    DeleteAKeepPolicy,
    DeleteATag,
    Expire,
    Extend,
    Finalize,
    Find,
    Ingest,
    LetGo,
    Observe,
    PlaceAHold,
    Purge,
    Register,
    Release,
    Remove,
    Replace,
    Require,
    Retain,
    Retire,
    RevokeAToken,
    SetAKeepPolicy,
    SetATag,
    Step,
    Unrequire,
    Upload,
    Verify,
    created,
    found,
    package_id_of,
    place_of,
    stored_events,
    stored_object,
)
from memory_views import MemoryViews, bytes_of, number_of, text_of

__all__ = ["FILES_PER_PACKAGE_MAX", "MemoryLog"]

FILES_PER_PACKAGE_MAX = 3


class MemoryLog:
    """Judges steps one after the other, and keeps state, log and views as a writer does.

    Its clock reads 1,000,001 for the first command that writes events, one more for the next.
    """

    def __init__(self) -> None:
        self.state = LogState()
        self.events: list[StoredEvent] = []
        self.views = MemoryViews()
        self._now_us = 1_000_000

    def ask(self, step: Step) -> ArtifactStoreError | None:
        """Try a step; returns why it was refused."""
        return self.commit(self.command(step))

    def commit(self, command: Command) -> ArtifactStoreError | None:
        """Try a command; returns why it was refused."""
        try:
            payloads = decide(command, self.state, entries_max=FILES_PER_PACKAGE_MAX)
        except ArtifactStoreError as refusal:
            return refusal
        self._now_us = max(self._now_us, self.state.log_time_us) + bool(payloads)
        if payloads and not self.events:
            self.events += stored_events([LOG_BEGUN], at_us=self._now_us)
            self.state.clock_us = self._now_us
        events = stored_events(payloads, after=len(self.events), at_us=self._now_us)
        for stored, payload in zip(events, payloads, strict=True):
            type_of(payload).evolve(payload, stored, self.state)
            self.state.log_time_us = self._now_us
            self.events.append(stored)
            self.views.apply(project(stored, payload))
        self.views.count_totals()
        self.state.references = Counter({digest: each.references for digest, each in self.state.contents.items()})
        self.state.groups = self.views.groups()
        return None

    def command(self, step: Step) -> Command:  # noqa: C901, PLR0911, PLR0912 - one case for each step
        """The command that the step is now."""
        match step:
            case Create():
                command = created(step.package, retention_class=step.retention_class, metadata=step.metadata)
                return structs.replace(command, schema=step.schema, parents=tuple(map(package_id_of, step.parents)))
            case Ingest():
                files = [file.ingested() for file in step.files]
                entries, stored = tuple(file.entry for file in files), tuple(file.stored for file in files)
                brought = () if step.by_reference else stored
                package_id = package_id_of(step.package)
                return IngestFiles(package_id, entries, brought, step.on_existing, step.by_reference)
            case Finalize():
                return self.finalize(package_id_of(step.package), late=step.late)
            case Register():
                schema = '{"properties":{"branch":{"type":"string"},"score":{"type":"integer"}}}'
                return RegisterMetadataSchema(step.name, schema)
            case Require() | Unrequire():
                return _of_requirements(step)
            case SetATag() | DeleteATag() | SetAKeepPolicy() | DeleteAKeepPolicy() | ApplyKeepPolicy():
                return _of_names(step)
            case Delete():
                return DeletePackage(package_id_of(step.package), "no need", step.before_expiry, step.as_of_us)
            case Expire():
                package = self.state.packages.get(package_id_of(step.package))
                version = max(0 if package is None else package.version - step.late, 0)
                return ExpirePackage(package_id_of(step.package), step.rule, step.as_of_us, version)
            case LetGo():
                return ReleaseEntries(package_id_of(step.package), step.first, step.last)
            case Observe():
                return (ConfirmClock if step.confirmed else ObserveClock)(step.at_us)
            case CreateAToken() | RevokeAToken():
                return _of_tokens(step)
            case PlaceAHold() | Release() | Retain() | Extend() | AddAClass():
                return _of_keeping(step)
            case Annotate():
                return AnnotatePackage(package_id_of(step.package), step.annotations, step.removed)
            case Find():
                return found(*step.objects, as_of=len(self.events))
            case Verify():
                return self._verified(step)
            case Retire() | Remove() | Replace() | Upload() | Purge():
                return _of_objects(step)

    def _verified(self, step: Verify) -> RecordVerification:
        """The command that says that some of the objects that are due were read; nothing is due in an empty store."""
        due = sorted(
            (number_of(row, "verified_sequence"), bytes_of(row, "digest_primary"), text_of(row, "object_key"))
            for row in self.views.rows(LOCATIONS)
            if row["state"] in {"live", "condemned"}
        ) or [(0, b"", place_of(b"x").object_key)]
        first = min(step.first, len(due) - 1)
        ends = due[first], due[min(first + step.count, len(due)) - 1]
        keys = (VerifiedKey(sequence, Place(BACKEND_ID, key)) for sequence, _digest, key in ends)
        return RecordVerification(len(self.events), next(keys), next(keys), step.sample, min(step.count, len(due)), 0)

    def finalize(self, package_id: str, *, late: bool = False) -> FinalizePackage:
        """The command that finalizes a package as it stands in the views; one of another version if nobody can.

        There is no such package, or a content of it was purged.
        """
        package = self.state.packages.get(package_id)
        if package is None:
            return FinalizePackage(package_id, 0, b"")
        if any(entry.digest in self.state.purged for entry in package.entries.values()):
            return FinalizePackage(package_id, package.version + 1, b"")
        finalized = self.manifest(package_id)
        payload = manifest.encode(finalized)
        summary = manifest.summarize(payload, finalized)
        return FinalizePackage(package_id, package.version + late, payload, summary)

    def manifest(self, package_id: str) -> Manifest:
        """What finalizing would write: made from the views alone."""
        package = self.views.tables[PACKAGES][(package_id,)]
        retention = self.views.tables[RETENTION][(package_id,)]
        files = [row for row in self.views.rows(FILES) if row["package_number"] == package["created_sequence"]]
        stored = {row["digest_primary"] for row in files}
        metadata = package["metadata"]
        assert isinstance(metadata, bytes)
        labels = cast("Metadata", decode(metadata))
        duration_us = retention["duration_us"]
        assert duration_us is None or isinstance(duration_us, int)
        return Manifest.build(
            package=ManifestPackage(
                package_id,
                text_of(package, "name"),
                number_of(package, "created_at"),
                1_000_000 + len(self.events),
                labels,
                cast("str | None", package["metadata_schema"]),
                {
                    text_of(row, "parent_id"): text_of(row, "manifest_digest")
                    for row in self.views.rows(PARENTS)
                    if row["package_number"] == package["created_sequence"]
                },
            ),
            entries=[self.views.manifest_entry(row) for row in files],
            storage_receipts=[
                self.views.manifest_receipt(row)
                for row in self.views.rows(LOCATIONS)
                if row["digest_primary"] in stored and row["state"] in {"live", "condemned"}
            ],
            retention_class=text_of(package, "retention_class"),
            retention_duration_us=duration_us,
            producer=Producer("artifactstore", "0.1.0"),
            principal="ci",
        )


def _of_names(step: SetATag | DeleteATag | SetAKeepPolicy | DeleteAKeepPolicy | ApplyKeepPolicy) -> Command:
    match step:
        case SetATag():
            return SetTag(step.tag, package_id_of(step.package), step.protected)
        case DeleteATag():
            return DeleteTag(step.tag)
        case SetAKeepPolicy():
            return SetKeepPolicy(step.group, KeepRules(last=step.last, tagged=("release-*",)))
        case DeleteAKeepPolicy():
            return DeleteKeepPolicy(step.group)
        case ApplyKeepPolicy():
            return ApplyKeepPolicies(step.group, "nightly", tuple(map(package_id_of, step.packages)), 1 << 50)


def _of_keeping(step: PlaceAHold | Release | Retain | Extend | AddAClass) -> Command:
    match step:
        case AddAClass():
            return AddRetentionClass(step.name, step.duration_us)
        case PlaceAHold():
            return PlaceHold(package_id_of(1000 + step.hold), package_id_of(step.package), "a case")
        case Release():
            return ReleaseHold(package_id_of(1000 + step.hold))
        case Retain():
            if isinstance(step.retention, str):
                return SetRetention(package_id_of(step.package), step.retention)
            return SetRetention(package_id_of(step.package), CUSTOM, step.retention)
        case Extend():
            return ExtendRetention(package_id_of(step.package), step.duration_us, step.as_of_us)


def _of_tokens(step: CreateAToken | RevokeAToken) -> Command:
    if isinstance(step, RevokeAToken):
        return RevokeToken(step.name, "leaked")
    digest = secret_digest(package_id_of(1), step.name)
    globs = ("*", "nightly-*")
    return CreateToken(step.name, ("read", "tag"), globs, 1 if step.ends else None, digest, package_id_of(1))


def _of_requirements(step: Require | Unrequire) -> Command:
    return RequireSchema(step.glob, step.schema) if isinstance(step, Require) else UnrequireSchema(step.glob)


def _of_objects(step: Retire | Remove | Replace | Upload | Purge) -> Command:
    match step:
        case Purge():
            return PurgeContents(tuple(stored_object(each).digest for each in step.contents), "leaked")
        case Retire():
            return RetireObjects(tuple(place_of(*each) for each in step.objects), step.cause)
        case Remove():
            return RemoveObjects(tuple(place_of(*each) for each in step.objects))
        case Replace():
            return ReplaceObjects(tuple(stored_object(*each) for each in step.objects))
        case Upload():
            return StoreObjects(tuple(stored_object(*each) for each in step.objects))
