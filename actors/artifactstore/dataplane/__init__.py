"""The data plane in this process: worker threads between the actors and the storage backends."""

from artifactstore.dataplane.inprocess import InProcessDataPlane
from artifactstore.dataplane.local import open_data_plane, open_local_data_plane

__all__ = ["InProcessDataPlane", "open_data_plane", "open_local_data_plane"]
