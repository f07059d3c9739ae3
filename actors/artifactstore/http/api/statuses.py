"""The HTTP status of each error of the library."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from artifactstore_protocols.supervision import Refusal

__all__ = ["STATUSES", "status_of"]

STATUSES: Final[Mapping[HTTPStatus, frozenset[str]]] = {
    # A value of the request is not valid.
    HTTPStatus.BAD_REQUEST: frozenset(
        {
            "ArchiveRefused",
            "EntriesRefused",
            "InvalidValue",
            "NotEncodable",
            "PackageIdNeeded",
            "PathRefused",
            "Refused",
            "SourceError",
        }
    ),
    HTTPStatus.UNAUTHORIZED: frozenset({"TokenInvalid"}),
    # The path or the body names what is not there.
    HTTPStatus.NOT_FOUND: frozenset(
        {
            "AnnotationNotFound",
            "FileNotInPackage",
            "HoldNotFound",
            "KeepPolicyNotFound",
            "LinkLeadsNowhere",
            "PackageNotFound",
            "PathsNotInPackage",
            "SchemaNotFound",
            "SchemaNotRequired",
            "TagNotFound",
            "TokenNotFound",
            "UnknownRetentionClass",
        }
    ),
    # It is there, and its state does not allow the request.
    HTTPStatus.CONFLICT: frozenset(
        {
            "AmbiguousPackage",
            "AnnotationsChanged",
            "IdempotencyConflict",
            "LinksLeadOut",
            "MetadataKeyTaken",
            "NotADirectory",
            "NotAFile",
            "NotFinalized",
            "ObjectsNotStored",
            "OpenPackages",
            "PackageBusy",
            "PackageChanged",
            "PackageExists",
            "PackageFinalizedAlready",
            "PackageKept",
            "PathConflict",
            "PathTaken",
            "PathsCollide",
            "PurgeUnconfirmed",
            "RedactionImpossible",
            "RedactionUnconfirmed",
            "RetentionClassTaken",
            "SchemaRequired",
            "TagProtected",
            "TokenNameTaken",
            "TooManyFiles",
            "TooMuchExpires",
            "TreeTooLarge",
        }
    ),
    HTTPStatus.GONE: frozenset({"ContentPurged", "ManifestRedacted", "PackageGone"}),
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: frozenset({"RangeRefused"}),
    HTTPStatus.UNPROCESSABLE_ENTITY: frozenset({"SchemaViolated"}),
    # The service cannot do it now, and may be able to later.
    HTTPStatus.SERVICE_UNAVAILABLE: frozenset(
        {
            "AskError",
            "ClockDoubtful",
            "DatabaseClosed",
            "DatabaseUnavailable",
            "ImportUnfinished",
            "MailboxFull",
            "NoTemporaryDirectory",
            "NoThreadLeft",
            "OutcomeUnknown",
            "StoreClosed",
            "SupervisorGaveUp",
            "SupervisorNotRunning",
        }
    ),
    HTTPStatus.INSUFFICIENT_STORAGE: frozenset({"StorageFull"}),
    # The store is damaged, or the service has a defect, or no route raises it.
    HTTPStatus.INTERNAL_SERVER_ERROR: frozenset(
        {
            "AskCycle",
            "BackupRefused",
            "BlocksEventLoop",
            "ChildBusy",
            "ChildExists",
            "CollectionRefused",
            "CopyDiffers",
            "DatabaseDamaged",
            "DirectConnectionNeeded",
            "EventConflict",
            "EventRefused",
            "ExportIncomplete",
            "IgnoreFileRefused",
            "LogDamaged",
            "LogDiffers",
            "LogFileInvalid",
            "LogFileOvertaken",
            "LogFilePartial",
            "LogNotEmpty",
            "ManifestInvalid",
            "NoCiFound",
            "NotCanonical",
            "NotCanonicalJson",
            "PathUnusable",
            "PayloadDiffers",
            "PayloadInvalid",
            "ProjectionDamaged",
            "RecordInvalid",
            "RepairSourceRefused",
            "SameStore",
            "SchemaDiffers",
            "SchemaTooNew",
            "SchemaTooOld",
            "SourceChanged",
            "SourceDiffers",
            "SourceInsideStore",
            "SourceRefused",
            "SourceUnreadable",
            "StartFailed",
            "StorageError",
            "StoreNotFound",
            "TargetRefused",
            "UnhandledMessage",
            "UnknownChild",
            "UnknownEventType",
            "WaitsForItself",
            "WrongEventLoop",
            "WrongProcess",
            "WrongStorageRoot",
        }
    ),
}
"""The status of each error of the library by the name of its class, which counts for its subclasses too.

Names, so that the service need not load what no route uses. A message of a 5xx is for the log.
"""

_STATUS_OF: Final = {name: status for status, names in STATUSES.items() for name in names}


def status_of(error: type[Refusal]) -> HTTPStatus:
    """Return the status of an error of the library."""
    named = (_STATUS_OF[kind.__name__] for kind in error.__mro__ if kind.__name__ in _STATUS_OF)
    return next(named, HTTPStatus.INTERNAL_SERVER_ERROR)
