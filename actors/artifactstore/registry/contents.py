"""Methods of the registry that read contents: files, manifests, exports and copies."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import outcome

from artifactstore.arguments import checked
from artifactstore.config import Settings
from artifactstore.database.errors import DatabaseDamaged
from artifactstore.environment import in_thread
from artifactstore.package_paths import AsyncAccess, Opened, Package, PackageContents
from artifactstore.refusals import FileNotInPackage, NotAFile
from artifactstore.registry.base import DEFAULT_PRINCIPAL, StoreCalls
from artifactstore_protocols import manifest
from artifactstore_protocols.export_choice import ExportChoice
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.package_tree import PackageTree
from artifactstore_protocols.packages import NotFinalized
from artifactstore_protocols.paths import check_path, path_key, without_dot
from artifactstore_protocols.records import CopyReport, ExportReport, FileRecord, IngestProgress

__all__ = ["ContentCalls"]


class ContentCalls(StoreCalls):
    """The methods that read contents: files, manifests, exports and copies."""

    @checked
    async def get_file_record(self, package: str, path: str, *, follow_links: bool = False) -> FileRecord:
        """Return the record of one file, symbolic link or empty directory.

        Args:
            package: the package; see the class.
            path: its path in the package.
            follow_links: whether to follow links of the package, also in the middle of the path. The record has the
                path that they lead to.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PathRefused: the path breaks a rule.
            NotAFile: it is a directory with entries; or links are followed, and one leads to nothing in the package.
            FileNotInPackage: the package has no such entry.
        """
        package_id = await self._package_id(package)
        path = without_dot(path)
        record = await self._store.file(package_id, path_key(check_path(path)))
        if record is not None and not (follow_links and record.kind == "link"):
            return record
        from artifactstore_protocols.package_tree import Place  # noqa: PLC0415 - see above

        _package, entries = await self._store.files(package_id)
        place = await in_thread(lambda: PackageTree(entries).resolve(path, follow=follow_links))
        if isinstance(place, Place) and (follow_links or place.path == path_key(path)):
            if place.entry is not None:
                return place.entry
            raise NotAFile(package_id, place.path, "directory", "")
        if record is not None:
            raise NotAFile(package_id, path, record.kind, record.target)
        raise FileNotInPackage(package_id, path)

    @checked
    @asynccontextmanager
    async def get_file(
        self, package: str, path: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open one file, or a range of its bytes, as a stream of large chunks.

        Links of the package are followed. The bytes of a whole file are compared with its digest before the last chunk
        is delivered.

        Raises:
            PackageNotFound, AmbiguousPackage, PathRefused, FileNotInPackage, NotAFile, RangeRefused, ObjectMissing: on
                entry.
            ObjectDamaged: while reading.
        """
        record = await self.get_file_record(package, path, follow_links=True)
        if record.kind != "file":
            raise NotAFile(record.package_id, record.path, record.kind, record.target)
        async with self._object(record.content_address, offset=offset, length=length) as stream:
            yield stream

    @checked
    async def open_package(self, package: str) -> Package:
        """Open a package for reading by paths like those of `pathlib`.

        Its entries are read once and kept in memory: about 1 KB for each. Later changes of an open package, and newer
        packages of the name, do not show. The package needs no closing.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        record, entries = await self._store.files(await self._package_id(package))
        tree = await in_thread(lambda: PackageTree(entries))
        return Package(Opened(record, tree, AsyncAccess(PackageContents(self._open_object, self._contents), _here)))

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
        """Write a package to a new or empty directory: every file checked, with executable bits, then the links.

        A repeated call for the same directory continues an interrupted export. It compares existing files by content
        and writes only what is missing. It never overwrites a file and never follows a link in the directory. The
        report lists what the file system cannot represent, such as executable bits.

        Args:
            package: the package; see the class.
            directory: the directory.
            subtree: a directory, a file or a link of the package; the path above its content is left out.
            paths: files, links and directories of the package; by default everything.
            strip_components: how many names to remove from the beginning of each path.
            links: what to do with symbolic links. Kept ones must not lead out of what is exported. A followed link
                becomes the file or the directory that it leads to in the package.
            update: whether the directory may hold anything. Files and links that differ from the package are replaced,
                each at once. What is not in the package is kept.
            keep_going: whether to leave out what cannot be exported: files whose objects are damaged or missing, and
                kept links that lead out of what is exported. The error's report names them.
            progress: called with the progress.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PathsNotInPackage, PathsCollide, LinksLeadOut: the choice of entries is rejected. Nothing was written.
            InvalidValue: nothing would be left, or links are refused or cannot be followed. Nothing was written.
            ObjectMissing, ObjectDamaged: an object cannot be exported. Files that are already written stay.
            TargetRefused: the directory holds something else, or cannot be written to.
            PathRefused: the tables hold a path or a link that leads out of the directory. Nothing was written.
            ExportIncomplete: some of the entries are not in the directory, which the error's report names.
        """
        choice = ExportChoice(subtree, None if paths is None else tuple(paths), strip_components, links)
        package_id, chosen = await self._chosen(package, choice, leave_out_links=keep_going)
        from artifactstore.package_export import write_package  # noqa: PLC0415 - see above

        return await write_package(
            package_id,
            chosen,
            directory,
            self._object,
            self._contents,
            self._object_file,
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
        """Open a package, or a part of it, as the bytes of one tar or zip file.

        The bytes follow from the entries alone: equal entries give equal archives, in every store. If an object is
        damaged or missing, the stream raises an error before the end of the archive. For `subtree`, `paths`,
        `strip_components` and `links`, see `export_package`.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PathsNotInPackage, PathsCollide, LinksLeadOut: the choice of entries is rejected.
            ObjectMissing, ObjectDamaged: while reading.
        """
        choice = ExportChoice(subtree, None if paths is None else tuple(paths), strip_components, links)
        _package_id, chosen = await self._chosen(package, choice)
        from artifactstore.package_export import archive  # noqa: PLC0415 - see above

        async with aclosing(archive(chosen.entries, form, self._object, self._contents, progress)) as chunks:
            yield chunks

    @checked
    async def copy_package(
        self,
        package: str,
        to: Settings,
        *,
        tags: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[IngestProgress], None] | None = None,
    ) -> CopyReport:
        """Copy a finalized package to another store, which is created if it does not exist.

        The copy has the same name, metadata, schema, annotations, retention class, entries and tree digest, and an id
        of its own. A schema that the other store lacks is registered there. The parents of the copy are those of the
        package that the other store has, or has copies of; the report names the others.

        Contents that the other store has are not read; every other byte is checked. A repeated call continues an
        interrupted copy, and finds a finished one. It carries over what annotations say now; annotations that only the
        copy has stay.

        Args:
            package: the package; see the class.
            to: the other store.
            tags: also set the tags of the package to the copy, with their protection. A tag of the other store moves.
            principal: the principal.
            progress: is called after each batch.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            NotFinalized: the package is open.
            SameStore: the other store is this one.
            UnknownRetentionClass: the other store does not have the retention class.
            SchemaDiffers: the other store has another schema of the same name and version.
            SchemaRequired, SchemaViolated: the other store requires another schema for packages of this name.
            ObjectMissing, ObjectDamaged: an object cannot be copied. The copy stays open.
            CopyDiffers: the tables of a store are damaged. The copy stays open.
            TagProtected: the other store protects one of the tags. The copy is finalized.
            Exception: the errors of `open_registry`, for the other store.
        """
        package_id = await self._package_id(package)
        from artifactstore.open import open_registry  # noqa: PLC0415 - it imports this module
        from artifactstore.package_copy import OtherStore, copy_package, original  # noqa: PLC0415 - see above

        source = await original(self._store, package_id)
        async with open_registry(to) as other:
            actors, store = other._actors, other._store  # noqa: SLF001 - a registry reads the parts of another one
            target = OtherStore(other, store, actors.storage, actors.writer)
            copying = partial(copy_package, self._store, source, target, self._object, self._contents, tags=tags)
            done = await outcome.acapture(copying, principal, progress)
        return done.unwrap()

    @checked
    async def get_manifest_bytes(self, package: str, form: Literal["cbor", "json"] = "cbor") -> bytes:
        """Return the manifest of a finalized package, as canonical CBOR or as RFC 8785 JSON.

        The log keeps the manifest of a package that is gone.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            NotFinalized: the package is open.
            PackageGone: it was open when it was deleted or expired.
            PayloadDiffers: the bytes in the log do not match the manifest digest.
            ManifestRedacted: the manifest was redacted.
        """
        package_id = await self._package_id(package)
        record = await self._store.package(package_id)
        if record.manifest_digest is None:
            record.check_not_gone()
            raise NotFinalized(package_id)
        payload = await self._store.manifest_bytes(package_id)
        if payload is None:
            raise DatabaseDamaged(
                self._store.name, f"the event that finalized package {package_id} is not in its place"
            )
        if form == "cbor":
            return payload
        return await in_thread(lambda: manifest.jcs(manifest.decode(payload)))


async def _here[T](work: Callable[[], Awaitable[T]]) -> T:
    """Run the work of a caller that is in the run of the store."""
    return await work()
