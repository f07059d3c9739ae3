"""Methods of the registry that look after stored bytes: verify, repair, collect and purge."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import outcome

from artifactstore.arguments import checked
from artifactstore.config import Settings
from artifactstore.registry.base import DEFAULT_PRINCIPAL
from artifactstore.registry.transfer import TransferCalls
from artifactstore_protocols.collection import GRACE_S, CollectionProgress, CollectionReport
from artifactstore_protocols.commands import Command, RecordFindings, RecordVerification, ReplaceObjects
from artifactstore_protocols.events import Committed
from artifactstore_protocols.purging import PurgeReport
from artifactstore_protocols.records import RepairReport, VerifyProgress, VerifyReport
from artifactstore_protocols.redaction import RedactionReport

__all__ = ["SpaceCalls"]


class SpaceCalls(TransferCalls):
    """The methods that look after stored bytes: verify, repair, collect and purge."""

    @checked
    async def verify(
        self,
        package: str | None = None,
        *,
        max_age_s: int | None = None,
        sample_ppm: int | None = None,
        seed: int | None = None,
        limit_rate: int | None = None,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[VerifyProgress], None] | None = None,
    ) -> VerifyReport:
        """Read every object again, of one package or of the whole store, and compare the manifests with the tables.

        Damaged and missing objects are recorded in the log, also if the verification is interrupted. If they cannot be
        recorded, the report has the reason. `repair`, or ingesting the same content again, repairs an object.

        A verification of the store begins with the object that was not read for the longest time, and records after
        each batch of objects that it has read them. With `max_age_s` or `sample_ppm` it reads a part of the objects,
        and no manifests.

        Args:
            package: the package; see the class. None for the whole store.
            max_age_s: read only objects that no ingest and no verification has read for so many seconds.
            sample_ppm: read only a random sample, of this share in parts per million.
            seed: a number from 0 to 2^32 - 1 that selects the sample; None for a random one. The report has it.
            limit_rate: read at most so many bytes a second on average. One object is read without a pause.
            principal: the principal.
            progress: called with the totals, and after every object.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            WrongStorageRoot: nearly every object of the store is missing. The missing objects are not recorded.
            StorageDenied: this process lacks permission to read nearly all of the objects.
            InvalidValue: the arguments cannot be combined.
        """
        from artifactstore.verify import Verification  # noqa: PLC0415 - see above
        from artifactstore.verify_scope import check_scope, scope_of  # noqa: PLC0415 - see above

        check_scope(package, max_age_s=max_age_s, sample_ppm=sample_ppm, seed=seed, limit_rate=limit_rate)
        package_id = None if package is None else await self._package_id(package)
        scope = await scope_of(
            self._store, package_id, max_age_s=max_age_s, sample_ppm=sample_ppm, seed=seed, limit_rate=limit_rate
        )

        async def commit(command: RecordFindings | RecordVerification) -> None:
            await self._commit(command, principal, None)

        return await Verification(self._store, self._actors.storage, scope, progress, commit).run()

    @checked
    async def repair(
        self,
        source: Path | Settings | None = None,
        *,
        dry_run: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[VerifyProgress], None] | None = None,
    ) -> RepairReport:
        """Repair damaged and missing objects with contents from elsewhere, and record that in the log.

        Looks for objects that a verification has flagged, and for those that are missing or have another size. A
        content that the source has is stored again under the next key of the object, after a check of both digests. A
        flagged object that is intact loses its flag. A repeated call does what is left.

        Args:
            source: a directory with any files, which are found by their size and their digest; a backup; the directory
                of another store; or the settings of another store. None only reports what is needed.
            dry_run: only report what the call would repair.
            principal: the principal.
            progress: called with the totals, and after each page of objects.

        Raises:
            RepairSourceRefused: the source cannot be read.
            SameStore: the source is this store.
            WrongStorageRoot: nearly every object of the store is missing, so the object root is probably wrong.
            StorageError: an object cannot be stored. What was repaired before is kept.
            Exception: the errors of `open_registry`, for another store.
        """
        actors = self._actors
        from artifactstore.repair import open_source, repair  # noqa: PLC0415 - see above

        async def commit(command: RecordFindings | ReplaceObjects) -> Committed:
            return await self._commit(command, principal, None)

        async with open_source(self._store, source) as opened:
            work = partial(repair, self._store, actors.storage, opened, commit, progress, dry_run=dry_run)
            done = await outcome.acapture(work)
        return done.unwrap()

    @checked
    async def collect_garbage(
        self,
        *,
        grace_s: float = GRACE_S,
        orphan_age_s: float | None = None,
        dry_run: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[CollectionProgress], None] | None = None,
    ) -> CollectionReport:
        """Delete the objects that no package refers to, and give their room back.

        Ingests, readers, backups and other collections may run meanwhile. An interrupted collection is continued by
        the next one.

        Args:
            grace_s: how long an object is kept after its last package went, in seconds.
            orphan_age_s: the age from which bytes that no event names are deleted, in seconds; None for a day. A dry
                run counts these bytes only if it is given: then it lists the whole storage.
            dry_run: only count.
            principal: the principal.
            progress: called after each page of objects.

        Raises:
            CollectionRefused: another store collects in the object root, or this database was put back to an earlier
                point.
            ProjectionDamaged: the tables contradict each other. Nothing more was deleted.
            StorageError: the object root cannot be used.
        """

        async def commit(command: Command) -> Committed:
            return await self._commit(command, principal, None)

        from artifactstore.collecting import Collection  # noqa: PLC0415 - see above

        collection = Collection(
            self._store,
            self._actors.storage,
            self._root,
            commit,
            grace_s=grace_s,
            orphan_age_s=orphan_age_s,
            progress=progress,
        )
        return await (collection.preview() if dry_run else collection.run())

    @checked
    async def purge(
        self,
        digests: Sequence[str],
        *,
        reason: str,
        confirm: Sequence[str] = (),
        backups: Sequence[Path] = (),
        principal: str = DEFAULT_PRINCIPAL,
    ) -> PurgeReport:
        """Destroy contents for good, whatever refers to them: leaked secrets, and personal data.

        Neither a hold nor a retention prevents it, and nothing undoes it. The files stay in their packages, and reading
        one raises `ContentPurged`. This store never takes the contents again. A repeated call completes an interrupted
        one.

        Args:
            digests: the content addresses, 1 to 256.
            reason: why, in 1 to 200 printable characters. It stays in the log, so do not repeat the secret.
            confirm: the digests again. Without them, nothing is done.
            backups: the directories of backups. Each is brought up to date, without the contents.
            principal: the principal.

        Raises:
            PurgeUnconfirmed: `confirm` does not repeat the digests. The error has the number of files.
            InvalidValue: a text is no content address, or the log names no such content.
            CollectionRefused: another store collects in the object root, or this database was put back to an earlier
                point.
        """

        async def commit(command: Command) -> Committed:
            return await self._commit(command, principal, None)

        from artifactstore.collecting import Collection  # noqa: PLC0415 - see above
        from artifactstore.purging import purge  # noqa: PLC0415 - see above

        storage = self._actors.storage
        collection = Collection(self._store, storage, self._root, commit, grace_s=0, orphan_age_s=0, progress=None)
        return await purge(
            self._store,
            collection,
            commit,
            self.backup,
            digests=digests,
            reason=reason,
            confirm=confirm,
            backups=backups,
        )

    @checked
    async def redact(
        self,
        text: str,
        *,
        reason: str,
        confirm_events: int | None = None,
        backups: Sequence[Path] = (),
        principal: str = DEFAULT_PRINCIPAL,
    ) -> RedactionReport:
        """Replace a text in the names, paths and metadata of all packages for good: a name of a person, or a secret.

        The log keeps its records, sequences and digests, and gets an event that says so without the text. Tables follow
        from the redacted log. The manifest of a package that had the text cannot be printed or verified any more.
        Other writers wait meanwhile. A repeated call completes an interrupted one.

        Args:
            text: the text, part of one name between two slashes. Case matters.
            reason: why, in 1 to 200 printable characters. It stays in the log, so do not repeat the text.
            confirm_events: the number of events that the text is replaced in. Without it, nothing is changed.
            backups: the directories of backups. Each is brought up to date, without the text.
            principal: the principal.

        Raises:
            RedactionUnconfirmed: `confirm_events` is another number. The error has the right one.
            OpenPackages: the text is in packages that are open. The error names them.
            RedactionImpossible: an event would break a rule of the log, as if a path became too long.
            InvalidValue: the text is too short, or the reason or the principal repeats it.
            ImportUnfinished: an import is unfinished.
        """
        from artifactstore.redacting import redact  # noqa: PLC0415 - see above

        return await redact(
            self._store,
            self.backup,
            text=text,
            reason=reason,
            confirm_events=confirm_events,
            backups=backups,
            principal=principal,
        )
