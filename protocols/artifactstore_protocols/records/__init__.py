"""The results of the registry's methods: packages, files, reports and health, as frozen values.

Times are int64 microseconds since 1970 UTC. Sizes are in bytes. Digests and content addresses are text in the form
`<algorithm>:<hex>`.
"""

from artifactstore_protocols.records.care import (
    AffectedPackage,
    FlawedObject,
    ObjectFlaws,
    RepairReport,
    ReplayProgress,
    ReplayReport,
    VerifyProgress,
    VerifyReport,
)
from artifactstore_protocols.records.entries import DirectoryItem, EntryChange, EntryKind, FileRecord, FoundEntry
from artifactstore_protocols.records.export import CopyReport, ExportReport, RefusedFile, TargetLimit
from artifactstore_protocols.records.health import ComponentHealth, HealthReport
from artifactstore_protocols.records.ingest import (
    DirectoryIngest,
    IngestPreview,
    IngestProgress,
    IngestSummary,
    PreviewedEntry,
)
from artifactstore_protocols.records.packages import (
    FinalizedPackage,
    HistoryEntry,
    MetadataSchema,
    PackageRecord,
    PackageStatus,
    Tag,
)
from artifactstore_protocols.records.retention import (
    ExpiredPackage,
    Hold,
    LeftPackage,
    PolicyVerdict,
    RetainedPackage,
    RetentionReport,
)
from artifactstore_protocols.records.shown_events import ShownEvent
from artifactstore_protocols.records.transfer import (
    BackupCheck,
    BackupReport,
    LogExport,
    LogImport,
    RestoreReport,
    TransferProgress,
)

__all__ = [
    "AffectedPackage",
    "BackupCheck",
    "BackupReport",
    "ComponentHealth",
    "CopyReport",
    "DirectoryIngest",
    "DirectoryItem",
    "EntryChange",
    "EntryKind",
    "ExpiredPackage",
    "ExportReport",
    "FileRecord",
    "FinalizedPackage",
    "FlawedObject",
    "FoundEntry",
    "HealthReport",
    "HistoryEntry",
    "Hold",
    "IngestPreview",
    "IngestProgress",
    "IngestSummary",
    "LeftPackage",
    "LogExport",
    "LogImport",
    "MetadataSchema",
    "ObjectFlaws",
    "PackageRecord",
    "PackageStatus",
    "PolicyVerdict",
    "PreviewedEntry",
    "RefusedFile",
    "RepairReport",
    "ReplayProgress",
    "ReplayReport",
    "RestoreReport",
    "RetainedPackage",
    "RetentionReport",
    "ShownEvent",
    "Tag",
    "TargetLimit",
    "TransferProgress",
    "VerifyProgress",
    "VerifyReport",
]
