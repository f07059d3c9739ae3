"""All errors that the library raises on purpose.

All of them are subclasses of `Refusal`. All but the errors of the actor runtime are subclasses of `ArtifactStoreError`.
Each error is defined beside the code that raises it, and is loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifactstore.client.errors import (
        AnswerRefused,
        ApiVersionRefused,
        NotRemote,
        ServiceNotReached,
        ServiceRefused,
        TokenFileRefused,
    )
    from artifactstore.database.asyncio_thread import DatabaseClosed
    from artifactstore.database.errors import (
        DatabaseBusy,
        DatabaseDamaged,
        DatabaseReplaced,
        DatabaseUnavailable,
        DirectConnectionNeeded,
        LogDamaged,
        LogNotEmpty,
        NoTemporaryDirectory,
        OutcomeUnknown,
        Refused,
        SchemaTooNew,
        SchemaTooOld,
        StoreNotFound,
        StoreReadOnly,
    )
    from artifactstore.ingest.actor import PackageBusy
    from artifactstore.ingest.archives.refusals import ArchiveRefused
    from artifactstore.ingest.refusals import (
        EntriesRefused,
        IgnoreFileRefused,
        PathUnusable,
        SourceInsideStore,
        TreeTooLarge,
    )
    from artifactstore.package_copy.copying import SameStore
    from artifactstore.package_copy.lineage import SchemaDiffers
    from artifactstore.package_copy.original import CopyDiffers
    from artifactstore.refusals import (
        BackupRefused,
        BlocksEventLoop,
        ExportIncomplete,
        FileNotInPackage,
        LinkLeadsNowhere,
        LogFileOvertaken,
        LogFilePartial,
        NotADirectory,
        NotAFile,
        NoThreadLeft,
        RepairSourceRefused,
        StoreClosed,
        TargetRefused,
        WaitsForItself,
        WrongEventLoop,
        WrongProcess,
        WrongStorageRoot,
    )
    from artifactstore_protocols.canonical import NotCanonical, NotEncodable
    from artifactstore_protocols.ci import NoCiFound
    from artifactstore_protocols.dataplane import (
        RangeRefused,
        SourceChanged,
        SourceDiffers,
        SourceError,
        SourceOverrun,
        SourceRefused,
        SourceTruncated,
        SourceUnreadable,
    )
    from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
    from artifactstore_protocols.event_types import PayloadInvalid, UnknownEventType
    from artifactstore_protocols.events import (
        EventConflict,
        EventRefused,
        IdempotencyConflict,
        PayloadDiffers,
        RecordInvalid,
    )
    from artifactstore_protocols.expiry import ClockDoubtful, TooMuchExpires
    from artifactstore_protocols.export_choice import LinksLeadOut, PathsCollide, PathsNotInPackage
    from artifactstore_protocols.keep_policies import KeepPolicyNotFound
    from artifactstore_protocols.log_file import LogDiffers, LogFileInvalid
    from artifactstore_protocols.manifest import ManifestInvalid, NotCanonicalJson
    from artifactstore_protocols.metadata_schema import SchemaNotFound, SchemaViolated
    from artifactstore_protocols.packages import (
        AmbiguousPackage,
        AnnotationNotFound,
        AnnotationsChanged,
        HoldNotFound,
        MetadataKeyTaken,
        NotFinalized,
        ObjectsNotStored,
        PackageChanged,
        PackageExists,
        PackageFinalizedAlready,
        PackageGone,
        PackageIdNeeded,
        PackageKept,
        PackageNotFound,
        PathConflict,
        PathTaken,
        ProjectionDamaged,
        TagChanged,
        TagNotFound,
        TagProtected,
        TooManyFiles,
    )
    from artifactstore_protocols.paths import PathRefused
    from artifactstore_protocols.purging import ContentPurged, PurgeUnconfirmed
    from artifactstore_protocols.pushing import ContentsMissing
    from artifactstore_protocols.redaction import (
        ManifestRedacted,
        OpenPackages,
        RedactionImpossible,
        RedactionUnconfirmed,
    )
    from artifactstore_protocols.retention import RetentionClassTaken, UnknownRetentionClass
    from artifactstore_protocols.root_markers import CollectionRefused
    from artifactstore_protocols.schema_requirements import SchemaNotRequired, SchemaRequired
    from artifactstore_protocols.storage import (
        KeyRefused,
        KeyTaken,
        ObjectDamaged,
        ObjectMissing,
        StorageDenied,
        StorageError,
        StorageFailed,
        StorageFault,
        StorageFull,
        UnknownBackend,
    )
    from artifactstore_protocols.supervision import (
        ActorCrashed,
        ActorStopped,
        AskCycle,
        AskError,
        AskTimeout,
        ChildBusy,
        ChildExists,
        MailboxFull,
        Refusal,
        StartFailed,
        SupervisorGaveUp,
        SupervisorNotRunning,
        UnhandledMessage,
        UnknownChild,
    )
    from artifactstore_protocols.tokens import TokenInvalid, TokenNameTaken, TokenNotFound
    from artifactstore_protocols.unfinished_import import ImportUnfinished

__all__ = [
    "ActorCrashed",
    "ActorStopped",
    "AmbiguousPackage",
    "AnnotationNotFound",
    "AnnotationsChanged",
    "AnswerRefused",
    "ApiVersionRefused",
    "ArchiveRefused",
    "ArtifactStoreError",
    "AskCycle",
    "AskError",
    "AskTimeout",
    "BackupRefused",
    "BlocksEventLoop",
    "ChildBusy",
    "ChildExists",
    "ClockDoubtful",
    "CollectionRefused",
    "ContentPurged",
    "ContentsMissing",
    "CopyDiffers",
    "DatabaseBusy",
    "DatabaseClosed",
    "DatabaseDamaged",
    "DatabaseReplaced",
    "DatabaseUnavailable",
    "DirectConnectionNeeded",
    "EntriesRefused",
    "EventConflict",
    "EventRefused",
    "ExportIncomplete",
    "FileNotInPackage",
    "HoldNotFound",
    "IdempotencyConflict",
    "IgnoreFileRefused",
    "ImportUnfinished",
    "InvalidValue",
    "KeepPolicyNotFound",
    "KeyRefused",
    "KeyTaken",
    "LinkLeadsNowhere",
    "LinksLeadOut",
    "LogDamaged",
    "LogDiffers",
    "LogFileInvalid",
    "LogFileOvertaken",
    "LogFilePartial",
    "LogNotEmpty",
    "MailboxFull",
    "ManifestInvalid",
    "ManifestRedacted",
    "MetadataKeyTaken",
    "NoCiFound",
    "NoTemporaryDirectory",
    "NoThreadLeft",
    "NotADirectory",
    "NotAFile",
    "NotCanonical",
    "NotCanonicalJson",
    "NotEncodable",
    "NotFinalized",
    "NotRemote",
    "ObjectDamaged",
    "ObjectMissing",
    "ObjectsNotStored",
    "OpenPackages",
    "OutcomeUnknown",
    "PackageBusy",
    "PackageChanged",
    "PackageExists",
    "PackageFinalizedAlready",
    "PackageGone",
    "PackageIdNeeded",
    "PackageKept",
    "PackageNotFound",
    "PathConflict",
    "PathRefused",
    "PathTaken",
    "PathUnusable",
    "PathsCollide",
    "PathsNotInPackage",
    "PayloadDiffers",
    "PayloadInvalid",
    "ProjectionDamaged",
    "PurgeUnconfirmed",
    "RangeRefused",
    "RecordInvalid",
    "RedactionImpossible",
    "RedactionUnconfirmed",
    "Refusal",
    "Refused",
    "RepairSourceRefused",
    "RetentionClassTaken",
    "SameStore",
    "SchemaDiffers",
    "SchemaNotFound",
    "SchemaNotRequired",
    "SchemaRequired",
    "SchemaTooNew",
    "SchemaTooOld",
    "SchemaViolated",
    "ServiceNotReached",
    "ServiceRefused",
    "SourceChanged",
    "SourceDiffers",
    "SourceError",
    "SourceInsideStore",
    "SourceOverrun",
    "SourceRefused",
    "SourceTruncated",
    "SourceUnreadable",
    "StartFailed",
    "StorageDenied",
    "StorageError",
    "StorageFailed",
    "StorageFault",
    "StorageFull",
    "StoreClosed",
    "StoreNotFound",
    "StoreReadOnly",
    "SupervisorGaveUp",
    "SupervisorNotRunning",
    "TagChanged",
    "TagNotFound",
    "TagProtected",
    "TargetRefused",
    "TokenFileRefused",
    "TokenInvalid",
    "TokenNameTaken",
    "TokenNotFound",
    "TooManyFiles",
    "TooMuchExpires",
    "TreeTooLarge",
    "UnhandledMessage",
    "UnknownBackend",
    "UnknownChild",
    "UnknownEventType",
    "UnknownRetentionClass",
    "WaitsForItself",
    "WrongEventLoop",
    "WrongProcess",
    "WrongStorageRoot",
]

_MODULES = (
    "artifactstore.refusals",
    "artifactstore_protocols.errors",
    "artifactstore_protocols.canonical",
    "artifactstore_protocols.dataplane",
    "artifactstore_protocols.event_types",
    "artifactstore_protocols.events",
    "artifactstore_protocols.expiry",
    "artifactstore_protocols.export_choice",
    "artifactstore_protocols.unfinished_import",
    "artifactstore_protocols.keep_policies",
    "artifactstore_protocols.log_file",
    "artifactstore_protocols.manifest",
    "artifactstore_protocols.packages",
    "artifactstore_protocols.metadata_schema",
    "artifactstore_protocols.schema_requirements",
    "artifactstore_protocols.ci",
    "artifactstore_protocols.paths",
    "artifactstore_protocols.purging",
    "artifactstore_protocols.redaction",
    "artifactstore_protocols.retention",
    "artifactstore_protocols.root_markers",
    "artifactstore_protocols.storage",
    "artifactstore_protocols.supervision",
    "artifactstore_protocols.tokens",
    "artifactstore_protocols.pushing",
    "artifactstore.database.asyncio_thread",
    "artifactstore.database.errors",
    "artifactstore.ingest.actor",
    "artifactstore.ingest.archives.refusals",
    "artifactstore.package_copy.copying",
    "artifactstore.package_copy.lineage",
    "artifactstore.package_copy.original",
    "artifactstore.ingest.refusals",
    "artifactstore.ingest.archives.refusals",
    "artifactstore.client.errors",
)
"""The modules that define the errors. Modules that load fast come first."""

if not TYPE_CHECKING:  # with `__getattr__`, a type checker would accept any name

    def __getattr__(name: str) -> object:
        for module in _MODULES if name in __all__ else ():
            if hasattr(home := import_module(module), name):
                return getattr(home, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
