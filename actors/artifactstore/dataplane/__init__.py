"""The in-process data plane: worker threads between the actors and the storage backends."""

from artifactstore.backends.local_inspection import DeniedPath, RootInspection, inspect_local_root
from artifactstore.backends.os_errors import translated_os_errors
from artifactstore.backends.registry import SMALL_BACKEND_ID
from artifactstore.backends.root_marker import MARKER, read_marker, update_marker
from artifactstore.backends.small_file import file_below
from artifactstore.dataplane.inprocess import InProcessDataPlane
from artifactstore.dataplane.local import open_data_plane, open_local_data_plane
from artifactstore.dataplane.marking import check_marker, mark_collected, marker_of

__all__ = [
    "MARKER",
    "SMALL_BACKEND_ID",
    "DeniedPath",
    "InProcessDataPlane",
    "RootInspection",
    "check_marker",
    "file_below",
    "inspect_local_root",
    "mark_collected",
    "marker_of",
    "open_data_plane",
    "open_local_data_plane",
    "read_marker",
    "translated_os_errors",
    "update_marker",
]
