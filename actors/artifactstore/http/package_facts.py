"""What an event says about its package, so that the page can show one row for all events of an ingest."""

from collections.abc import Mapping

from artifactstore.cli.output import size_text
from artifactstore.stats_text import content_text
from artifactstore_protocols.event_types import (
    FilesIngested,
    PackageCreated,
    PackageDeleted,
    PackageExpired,
    PackageFinalized,
)
from artifactstore_protocols.events import StoredEvent

__all__ = ["package_facts"]


def package_facts(stored: StoredEvent) -> Mapping[str, str] | None:
    """Return what is known of a package after an event; None if the event is about something else.

    The facts are its `name`, its `content` in words, its `manifest_digest`, or the `state` of one that is gone.

    Raises:
        UnknownEventType: a newer release wrote the event.
    """
    match stored.decode():
        case PackageCreated(name=name):
            return {"name": name}
        case FilesIngested(totals=totals):
            content = content_text(totals.files, totals.links, totals.directories)
            return {"content": f"{content}, {size_text(totals.total_bytes)}"}
        case PackageFinalized():
            return {"manifest_digest": stored.event.payload_digest}  # the payload is the manifest
        case PackageDeleted():
            return {"state": "deleted"}
        case PackageExpired():
            return {"state": "expired"}
        case _:
            return None
