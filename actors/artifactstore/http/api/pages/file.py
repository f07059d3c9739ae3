"""The page of what is at a path of a package: a directory, a symbolic link, or a file with the beginning of its text.

What is stored never acts for its viewer. Text is escaped. An image is shown as an image only, which runs no script, and
only of types without any. Everything else is a download.
"""

import posixpath
from contextlib import aclosing
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from artifactstore.http.api.file_bytes import bytes_of_ranges
from artifactstore.http.api.model import Answer, Call
from artifactstore.http.api.pages.directory import list_items
from artifactstore.http.api.pages.html import page
from artifactstore.http.api.pages.package import DirectoryQuery, next_part
from artifactstore.http.api.problems import problem_of
from artifactstore.http.api.sending import Places
from artifactstore.refusals import FileNotInPackage
from artifactstore.registry import event_store, package_reads
from artifactstore_protocols.http_ranges import ByteRange
from artifactstore_protocols.paths import check_path, path_key
from artifactstore_protocols.records import FileRecord
from artifactstore_protocols.supervision import Refusal
from artifactstore_protocols.text_preview import beginning_of_text

__all__ = ["IMAGE_BYTES_MAX", "PREVIEWS_MAX", "TEMPLATE", "TEXT_BYTES_MAX", "show_path"]

TEMPLATE: Final = "/packages/{package}/files/{path...}"

TEXT_BYTES_MAX: Final = 64 << 10
"""The most bytes of a text that the page shows."""

IMAGE_BYTES_MAX: Final = 16 << 20
"""The size of the largest image that the page shows."""

PREVIEWS_MAX: Final = 16
"""The most previews that are read at once. Each holds up to 3 MiB."""

_IMAGES: Final = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})

_previews = Places(PREVIEWS_MAX)  # of the process, whose memory they bound


class _Preview(Struct, frozen=True):
    """What the page shows of the content of a file.

    Attributes:
        text: the beginning of its text; None if it is none.
        is_cut: whether the text continues.
        is_image: whether the page shows it as an image.
        error: why nothing can be shown; empty if nothing failed.
    """

    text: str | None = None
    is_cut: bool = False
    is_image: bool = False
    error: str = ""


async def show_path(call: Call, query: DirectoryQuery) -> Answer:
    """Answer with the page of a directory, a link or a file."""
    path, package = check_path(call.path["path"]), call.package
    entry = await package_reads(call.registry).entry(package.package_id, path_key(path))
    if entry is None or entry.kind == "directory":
        listed = await list_items(event_store(call.registry), package.package_id, path, after=query.after)
        if entry is None and not listed.items and not query.after:
            raise FileNotInPackage(package.package_id, path)
        here = f"/packages/{package.package_id}/files/{quote(path)}"
        return await page("directory.html", package=package, path=path, listed=listed, next=next_part(here, listed))
    if entry.kind == "link":
        return await page("link.html", package=package, entry=entry, target=_target(entry))
    return await page("file.html", package=package, entry=entry, preview=await _preview(call, entry))


def _target(link: FileRecord) -> str:
    """Return the path that the text of a link names; empty for the root, or if it leads out by its text."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(link.path), link.target))
    return "" if path == "." or path.startswith("..") else path


async def _preview(call: Call, file: FileRecord) -> _Preview:
    if file.media_type.partition(";")[0].strip().lower() in _IMAGES and file.size_bytes <= IMAGE_BYTES_MAX:
        return _Preview(is_image=True)
    length = min(file.size_bytes, TEXT_BYTES_MAX)
    if not length:
        return _Preview(text="")
    pieces = bytes_of_ranges(file, (ByteRange(0, length),), package_reads(call.registry))
    try:
        async with _previews.taken(call.principal), aclosing(pieces):
            content = b"".join([piece async for piece in pieces])
    except Refusal as error:
        return _Preview(error=problem_of(error).detail)
    is_cut = length < file.size_bytes
    return _Preview(beginning_of_text(content, is_cut=is_cut), is_cut)
