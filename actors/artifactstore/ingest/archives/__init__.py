"""Archives as sources of an ingest: tar, also compressed by gzip, bzip2 or xz, and zip, from a file or a pipe.

`open_archive` lists the entries of an archive as `scan_directory` lists those of a directory, and gives access to their
contents. It writes nothing except an anonymous temporary file, so no path of an archive reaches the file system.
"""

from artifactstore.ingest.archives.limits import UNPACKED_BYTES_MAX
from artifactstore.ingest.archives.opening import OpenArchive, open_archive
from artifactstore.ingest.archives.refusals import ArchiveRefused

__all__ = ["UNPACKED_BYTES_MAX", "ArchiveRefused", "OpenArchive", "open_archive"]
