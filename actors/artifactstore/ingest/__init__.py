"""Ingest: the code that stores files and directories, puts them into packages, and finalizes packages."""

from artifactstore.ingest.actor import IngestActor, check_creation
from artifactstore.ingest.own_files import NOWHERE, StorePlaces
from artifactstore.ingest.scan import ScannedFile, scan_directory

__all__ = ["NOWHERE", "IngestActor", "ScannedFile", "StorePlaces", "check_creation", "scan_directory"]
