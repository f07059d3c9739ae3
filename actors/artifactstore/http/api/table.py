"""The table of routes of the API: a row for each, from which routing, checks, authorisation and OpenAPI follow."""

from http import HTTPStatus
from typing import Any, Final

from artifactstore.http.api import content, entries, events, packages, tags, totals
from artifactstore.http.api.model import ANY, CBOR, EVENT_STREAM, JSON, JSON_LINES, FreshQuery, Route
from artifactstore.http.api.pages.table import PAGE_ROUTES
from artifactstore.http.api.pushing import PUSH_ROUTES
from artifactstore.http.api.upload_table import UPLOAD_ROUTES
from artifactstore.http.api.write_table import WRITE_ROUTES
from artifactstore_protocols.records import FileRecord, PackageRecord, RetentionReport, ShownEvent, Tag
from artifactstore_protocols.store_stats import StoreStats

__all__ = ["ROUTES"]

ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        method="GET",
        template="/v1/packages",
        summary="List packages.",
        handler=packages.list_packages,
        query=packages.ListQuery,
        answers={JSON: packages.PackagesPage},
    ),
    Route(
        method="GET",
        template="/v1/packages/{package}",
        summary="Show a package.",
        handler=packages.get_package,
        query=FreshQuery,
        answers={JSON: PackageRecord},
    ),
    Route(
        method="GET",
        template="/v1/packages/{package}/files",
        summary="List the files, links and empty directories of a package.",
        handler=packages.list_files,
        query=packages.FilesQuery,
        answers={JSON: packages.FilesPage},
    ),
    Route(
        method="GET",
        template="/v1/packages/{package}/files/{path...}",
        summary="Get the bytes of a file, or a part of them.",
        handler=content.get_file,
        query=FreshQuery,
        answers={ANY: None},
        headers={**content.CONDITIONS, **content.RANGES},
        errors={**content.OTHER_STATUSES, **content.RANGE_STATUSES},
        tag="bytes",
    ),
    Route(
        method="GET",
        template="/v1/packages/{package}/entries/{path...}",
        summary="Show a file, a link or an empty directory of a package.",
        handler=entries.get_entry,
        query=entries.EntryQuery,
        answers={JSON: FileRecord},
    ),
    Route(
        method="GET",
        template="/v1/entries",
        summary="Find entries by path, file name or content.",
        handler=entries.find_entries,
        query=entries.FindQuery,
        answers={JSON: entries.FindPage},
    ),
    Route(
        method="GET",
        template="/v1/packages/{package}/archive.tar",
        summary="Get a package, or a part of it, as a tar archive.",
        handler=content.get_tar,
        query=content.ArchiveQuery,
        answers={content.ARCHIVE_TYPES["tar"]: None},
        headers=content.CONDITIONS,
        errors=content.OTHER_STATUSES,
        tag="bytes",
    ),
    Route(
        method="GET",
        template="/v1/packages/{package}/archive.zip",
        summary="Get a package, or a part of it, as a zip archive.",
        handler=content.get_zip,
        query=content.ArchiveQuery,
        answers={content.ARCHIVE_TYPES["zip"]: None},
        headers=content.CONDITIONS,
        errors=content.OTHER_STATUSES,
        tag="bytes",
    ),
    Route(
        method="GET",
        template="/v1/packages/{package}/manifest",
        summary="Get the manifest of a finalized package. The manifest digest is that of the CBOR form.",
        handler=packages.get_manifest,
        query=FreshQuery,
        answers={JSON: dict[str, object], CBOR: None},
    ),
    Route(
        method="GET",
        template="/v1/packages/{package}/retention",
        summary="Explain what keeps a package and until when, or what let it go.",
        handler=packages.explain_retention,
        query=FreshQuery,
        answers={JSON: RetentionReport},
    ),
    Route(
        method="GET",
        template="/v1/packages/{package}/holds",
        summary="List the holds on a package.",
        handler=packages.list_holds,
        query=packages.HoldsQuery,
        answers={JSON: packages.HoldsPage},
    ),
    Route(
        method="GET",
        template="/v1/packages/{package}/history",
        summary="List who did what with a package, and when.",
        handler=packages.list_history,
        query=packages.HistoryQuery,
        answers={JSON: packages.HistoryPage},
    ),
    Route(
        method="GET",
        template="/v1/tags",
        summary="List the tags of packages.",
        handler=tags.list_tags,
        query=tags.TagsQuery,
        answers={JSON: tags.TagsPage},
        tag="tags",
    ),
    Route(
        method="GET",
        template="/v1/tags/{tag}",
        summary="Show a tag.",
        handler=tags.get_tag,
        query=FreshQuery,
        answers={JSON: Tag},
        tag="tags",
    ),
    Route(
        method="GET",
        template="/v1/events",
        summary="Read events of the log: those that there are as JSON Lines, or all that come as server-sent events.",
        handler=events.list_events,
        query=events.EventsQuery,
        answers={JSON_LINES: ShownEvent, EVENT_STREAM: str},
        headers={"Last-Event-ID": "The id of the last event that a client received; in place of `after`."},
        errors={
            HTTPStatus.SERVICE_UNAVAILABLE: "As many answers with events are sent as may be, or the database is down."
        },
        tag="events",
    ),
    Route(
        method="GET",
        template="/v1/stats",
        summary="Show what the store holds as a whole.",
        handler=totals.get_totals,
        query=FreshQuery,
        answers={JSON: StoreStats},
        scope="admin",
        whole_store=True,
        tag="store",
    ),
    *PUSH_ROUTES,
    *PAGE_ROUTES,
    *WRITE_ROUTES,
    *UPLOAD_ROUTES,
)
