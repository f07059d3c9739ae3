"""Admission: from a directory or a stream to files of a package, and from a package to its final manifest."""

from artifactstore.ingest.actor import IngestActor, check_creation
from artifactstore.ingest.own_files import NOWHERE, StorePlaces
from artifactstore.ingest.scan import ScannedFile, scan_directory

__all__ = ["NOWHERE", "IngestActor", "ScannedFile", "StorePlaces", "check_creation", "scan_directory"]
