"""Methods of the registry that fill packages."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from pathlib import Path

from artifactstore.arguments import Sources, checked, source_tree
from artifactstore.callbacks import with_progress, with_stream
from artifactstore.ingest import check_creation
from artifactstore.os_paths import path_text
from artifactstore.package_preview import preview_package
from artifactstore.registry.base import DEFAULT_PRINCIPAL, StoreCalls
from artifactstore.supervision import NO_TIME_LIMIT
from artifactstore_protocols.commands import OnExisting
from artifactstore_protocols.dataplane import FileSource
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.messages import (
    AddDirectory,
    AddFile,
    FinalizePackage,
    IngestTree,
    OpenPackage,
    PreviewIngest,
)
from artifactstore_protocols.metadata import Metadata
from artifactstore_protocols.records import (
    DirectoryIngest,
    FileRecord,
    FinalizedPackage,
    IngestPreview,
    IngestProgress,
    IngestSummary,
    PackageRecord,
)
from artifactstore_protocols.retention import DEFAULT_RETENTION
from artifactstore_protocols.selection import EVERYTHING, Selection

__all__ = ["IngestCalls"]


class IngestCalls(StoreCalls):
    """The methods that fill packages."""

    @checked
    async def create_package(
        self,
        name: str,
        *,
        retention: str = DEFAULT_RETENTION,
        metadata: Metadata | None = None,
        schema: str | None = None,
        parents: Sequence[str] = (),
        principal: str = DEFAULT_PRINCIPAL,
        idempotency_key: str | None = None,
    ) -> PackageRecord:
        """Create an open package.

        Args:
            name: the name of the package.
            retention: the name of its retention class.
            metadata: values by key: text, integers, booleans, lists and maps.
            schema: the schema that the metadata must fit, as `NAME` or `NAME@VERSION`. It must also fit, together with
                the annotations, when the package is finalized.
            parents: the finalized packages that this one is made from.
            principal: the principal.
            idempotency_key: see the class.

        Raises:
            SchemaNotFound, SchemaViolated: there is no such schema, or the metadata does not fit it.
            SchemaRequired: packages of this name must have another schema.
            PackageNotFound, AmbiguousPackage, NotFinalized: a parent is no finalized package.
            UnknownRetentionClass: the retention class does not exist.
            InvalidValue: a value breaks a rule.
            IdempotencyConflict: the key belongs to a different call.
        """
        ids = await self._package_ids(parents)
        message = OpenPackage(name, retention, dict(metadata or {}), principal, idempotency_key, schema, ids)
        return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

    @checked
    async def ingest_file(
        self,
        package: str,
        path: str,
        source: Path | AsyncIterable[bytes],
        *,
        expected_size: int | None = None,
        executable: bool | None = None,
        media_type: str | None = None,
        replace: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        idempotency_key: str | None = None,
    ) -> FileRecord:
        """Put one file into an open package.

        Args:
            package: the package; see the class.
            path: the path of the file in the package.
            source: a local file, or its bytes in chunks of any size. A child task of the caller reads the stream. The
                stream is no longer in use when this returns or raises; if it is a generator, it is closed.
            expected_size: size in bytes that the content must have; None if unknown.
            executable: None takes the value of the local file; a stream gets False.
            media_type: None derives it from the path.
            replace: replace an existing file of this path.
            principal: the principal.
            idempotency_key: see the class.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageFinalizedAlready, PathRefused, PathTaken, PathConflict, TooManyFiles: the package does not accept the
                file.
            SourceError, SourceInsideStore, StorageError: the file cannot be read or stored. The package is unchanged.
            Exception: what reading the stream raised, unchanged. The package is unchanged.
        """
        on_existing = OnExisting.REPLACE if replace else OnExisting.REFUSE

        async def add(bytes_of_it: FileSource | AsyncIterator[bytes]) -> FileRecord:
            message = AddFile(
                package_id=await self._package_id(package, prefer_open=True),
                path=path,
                source=bytes_of_it,
                expected_size=expected_size,
                executable=executable,
                media_type=media_type,
                on_existing=on_existing,
                principal=principal,
                idempotency_key=idempotency_key,
            )
            return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

        if isinstance(source, Path):
            return await add(FileSource(path_text(source)))
        return await with_stream(source, add)

    @checked
    async def ingest_directory(
        self,
        package: str,
        sources: Sources,
        *,
        prefix: str = "",
        strip_components: int = 0,
        replace: bool = False,
        links: LinkPolicy = LinkPolicy.KEEP,
        selection: Selection = EVERYTHING,
        skip_unreadable: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[IngestProgress], None] | None = None,
        files_cache: bool = True,
    ) -> DirectoryIngest:
        """Put everything below a directory into an open package, with one transaction per batch.

        The entries are files, symbolic links and empty directories. `selection` says which are taken. By default links
        are kept as links; see `LinkPolicy`. A repeated call, after an interruption or not, skips entries that the
        package already has with the same content. With `files_cache`, a file that an earlier ingest read and that is
        unchanged since is not read again, provided its content is in the store. If `progress` raises an exception, the
        ingest stops and raises that exception.

        `sources` may also be a file, a `Source`, or a sequence of these. Of several, each directory keeps its name in
        the package; see `artifactstore_protocols.sources`. `prefix` is the directory of the package for all.
        `strip_components` removes so many names from the beginning of each path, before `prefix` is added.

        Raises:
            PathUnusable, IgnoreFileRefused, EntriesRefused, PathRefused, TreeTooLarge: a source is rejected, before
                anything is stored. `EntriesRefused` lists all entries that the package cannot hold.
            Exception: the errors of `ingest_file`.
        """
        on_existing = OnExisting.REPLACE if replace else OnExisting.RESUME
        tree = source_tree(
            sources,
            prefix,
            links,
            selection,
            skip_unreadable=skip_unreadable,
            strip_components=strip_components,
        )
        package_id = await self._package_id(package, prefer_open=True)

        async def add(tell: Callable[[IngestProgress], None] | None) -> DirectoryIngest:
            message = AddDirectory(package_id, tree, on_existing, principal, tell, files_cache)
            return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

        return await with_progress(progress, add)

    @checked
    async def finalize_package(self, package: str, *, principal: str = DEFAULT_PRINCIPAL) -> FinalizedPackage:
        """Finalize a package. A package that is already finalized gives the same answer.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageBusy: this process is putting files into the package.
            PackageChanged: another process is putting files into the package.
        """
        message = FinalizePackage(await self._package_id(package, prefer_open=True), principal)
        return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

    @checked
    async def ingest_tree(
        self,
        sources: Sources,
        *,
        name: str | None = None,
        prefix: str = "",
        strip_components: int = 0,
        retention: str = DEFAULT_RETENTION,
        metadata: Metadata | None = None,
        schema: str | None = None,
        parents: Sequence[str] = (),
        links: LinkPolicy = LinkPolicy.KEEP,
        selection: Selection = EVERYTHING,
        skip_unreadable: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        idempotency_key: str | None = None,
        progress: Callable[[IngestProgress], None] | None = None,
        files_cache: bool = True,
    ) -> IngestSummary:
        """Create a package, put a directory into it and finalize it. By default the package has the directory's name.

        See `create_package` for `metadata`, `schema` and `parents`, and `ingest_directory` for the other arguments.
        Several sources need a `name`.

        After an interruption, the same call continues with the package of the interrupted call if it has an idempotency
        key. The key covers the package, not the sources. Without a key it does so with `files_cache`, unless a source
        is an archive or a descriptor, or the sources have lost a path that the package holds: then it creates a new
        package.

        Raises:
            Exception: the errors of `create_package`, `ingest_directory` and `finalize_package`. A rejected directory
                creates no package. A later failure leaves an open package behind, with one exception: if the first
                batch of files fails and no idempotency key could find the package again, there is no package.
        """
        tree = source_tree(
            sources,
            prefix,
            links,
            selection,
            skip_unreadable=skip_unreadable,
            strip_components=strip_components,
        )
        ids = await self._package_ids(parents)

        async def ingest(tell: Callable[[IngestProgress], None] | None) -> IngestSummary:
            message = IngestTree(
                tree=tree,
                name=name,
                retention_class=retention,
                metadata=dict(metadata or {}),
                principal=principal,
                idempotency_key=idempotency_key,
                progress=tell,
                files_cache=files_cache,
                schema=schema,
                parents=ids,
            )
            return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

        return await with_progress(progress, ingest)

    @checked
    async def preview_ingest(
        self,
        sources: Sources,
        *,
        prefix: str = "",
        strip_components: int = 0,
        links: LinkPolicy = LinkPolicy.KEEP,
        selection: Selection = EVERYTHING,
        skip_unreadable: bool = False,
    ) -> IngestPreview:
        """Return what `ingest_tree` and `ingest_directory` would store and leave out, without storing anything.

        A pipe as the source is read to its end.

        Raises:
            PathUnusable, IgnoreFileRefused, EntriesRefused, PathRefused, TreeTooLarge: a source would be rejected.
        """
        tree = source_tree(
            sources,
            prefix,
            links,
            selection,
            skip_unreadable=skip_unreadable,
            strip_components=strip_components,
        )
        return await self._actors.ingest.ask(PreviewIngest(tree), timeout=NO_TIME_LIMIT)

    @checked
    async def preview_package(
        self,
        name: str,
        *,
        retention: str = DEFAULT_RETENTION,
        metadata: Metadata | None = None,
        schema: str | None = None,
        parents: Sequence[str] = (),
    ) -> str | None:
        """Return the schema that `create_package` would give to a package, as `NAME@VERSION`; None for none.

        Nothing is created. See `create_package` for the arguments.

        Raises:
            SchemaNotFound, SchemaRequired, SchemaViolated, PackageNotFound, AmbiguousPackage, NotFinalized,
                UnknownRetentionClass, InvalidValue: `create_package` would refuse the package.
        """
        ids = await self._package_ids(parents)
        package = OpenPackage(name, retention, dict(metadata or {}), DEFAULT_PRINCIPAL, None, schema, ids)
        check_creation(package)
        return await preview_package(self._store, package)
