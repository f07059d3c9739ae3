"""Repair: flagged, missing and shortened objects get their contents back from another source, which is never trusted.

A content is stored under the next key of its object, after both digests of the bytes were compared with the log's. Then
a `ReplaceObjects` command records it, which retires the flawed object. So a repair that is interrupted keeps what it
has repaired, and a repeated one does what is left.
"""

from artifactstore.repair.opening import open_source
from artifactstore.repair.repairing import repair

__all__ = ["open_source", "repair"]
