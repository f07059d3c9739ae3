"""Methods of the client that read contents: files, manifests and exports. Every byte is compared with a digest."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from artifactstore.arguments import checked
from artifactstore.client.base import package_path
from artifactstore.client.downloads import Downloads, pieces, quoted_path
from artifactstore.client.errors import AnswerRefused
from artifactstore.client.finding import FindingCalls
from artifactstore.environment import in_thread
from artifactstore.package_export import archive, write_package
from artifactstore.package_export.reading import check_entries
from artifactstore.refusals import NotAFile
from artifactstore_protocols import manifest
from artifactstore_protocols.export_choice import ChosenEntries, ExportChoice, choose_entries
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress, digest_of
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.packages import NotFinalized
from artifactstore_protocols.paths import check_path, path_key, without_dot
from artifactstore_protocols.records import ExportReport, FileRecord, IngestProgress

__all__ = ["ContentCalls"]


class ContentCalls(FindingCalls):
    """The methods that read contents. `Registry` documents what they do and raise."""

    @checked
    async def get_file_record(self, package: str, path: str, *, follow_links: bool = False) -> FileRecord:
        """Return the record of one file, symbolic link or empty directory."""
        record = await self._package(package)
        path = check_path(without_dot(path))
        where = f"{package_path(record.package_id)}/entries/{quoted_path(path)}"
        found = await self._record(FileRecord, where, (("follow", str(follow_links).lower()),))
        check_entries([found])
        is_asked = follow_links or path_key(found.path) == path_key(path)
        if found.package_id != record.package_id or not is_asked:
            raise AnswerRefused(self._service.url, "it describes another file than the one that was asked for")
        return found

    @checked
    @asynccontextmanager
    async def get_file(
        self, package: str, path: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open one file, or a range of its bytes, as a stream of chunks.

        The bytes of a whole file are compared with its digest before the last chunk is delivered. After a broken
        connection, the stream continues where it was.
        """
        record = await self.get_file_record(package, path, follow_links=True)
        if record.kind != "file":
            raise NotAFile(record.package_id, record.path, record.kind, record.target)
        async with aclosing(pieces(self._service, record, offset, length)) as found:
            yield found

    @checked
    async def export_package(
        self,
        package: str,
        directory: Path,
        *,
        subtree: str = "",
        paths: Sequence[str] | None = None,
        strip_components: int = 0,
        links: LinkPolicy = LinkPolicy.KEEP,
        update: bool = False,
        keep_going: bool = False,
        progress: Callable[[IngestProgress], None] | None = None,
    ) -> ExportReport:
        """Write a package to a new or empty directory: every file checked, with executable bits, then the links."""
        choice = ExportChoice(subtree, None if paths is None else tuple(paths), strip_components, links)
        package_id, chosen, downloads = await self._chosen(package, choice, leave_out_links=keep_going)
        return await write_package(
            package_id,
            chosen,
            directory,
            downloads.object,
            downloads.contents,
            downloads.no_file,
            progress,
            update=update,
            keep_going=keep_going,
        )

    @checked
    @asynccontextmanager
    async def export_archive(
        self,
        package: str,
        form: Literal["tar", "zip"],
        *,
        subtree: str = "",
        paths: Sequence[str] | None = None,
        strip_components: int = 0,
        links: LinkPolicy = LinkPolicy.KEEP,
        progress: Callable[[IngestProgress], None] | None = None,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open a package, or a part of it, as the bytes of one tar or zip file: the same as from the store itself."""
        choice = ExportChoice(subtree, None if paths is None else tuple(paths), strip_components, links)
        _package_id, chosen, downloads = await self._chosen(package, choice)
        bytes_of = archive(chosen.entries, form, downloads.object, downloads.contents, progress)
        async with aclosing(bytes_of) as chunks:
            yield chunks

    async def _chosen(
        self, package: str, choice: ExportChoice, *, leave_out_links: bool = False
    ) -> tuple[str, ChosenEntries, Downloads]:
        record = await self._package(package)
        entries = await self._entries(record)
        choose = partial(choose_entries, leave_out_links=leave_out_links)
        chosen = await in_thread(partial(choose, record.package_id, entries, choice))
        return record.package_id, chosen, Downloads(self._service, entries)

    @checked
    async def get_manifest_bytes(self, package: str, form: Literal["cbor", "json"] = "cbor") -> bytes:
        """Return the manifest of a finalized package, as canonical CBOR or as RFC 8785 JSON.

        The bytes are compared with the manifest digest of the package.

        Raises:
            AnswerRefused: they differ.
        """
        record = await self._package(package)
        if record.manifest_digest is None:
            record.check_not_gone()
            raise NotFinalized(record.package_id)
        payload = await self._service.body(f"{package_path(record.package_id)}/manifest", (), "application/cbor")
        found = str(ContentAddress(digest_of(payload, PRIMARY_ALGORITHM)))
        if found != record.manifest_digest:
            raise AnswerRefused(self._service.url, f"the manifest of {record.package_id} has the digest {found}")
        if form == "cbor":
            return payload
        return await in_thread(lambda: manifest.jcs(manifest.decode(payload)))
