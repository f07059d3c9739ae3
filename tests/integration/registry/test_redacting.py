"""Redaction: a text is gone from names, paths and metadata, the log stays verifiable, and nothing brings it back."""

import sqlite3
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry, redacting
from artifactstore.database import database
from artifactstore.database import redacting as database_redacting
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.database import Database
from artifactstore.database.log_validator import LogValidator
from artifactstore.database.store import SqlEventStore
from artifactstore.errors import (
    EventRefused,
    InvalidValue,
    LogFileOvertaken,
    ManifestRedacted,
    OpenPackages,
    RedactionImpossible,
    RedactionUnconfirmed,
    SchemaViolated,
)
from artifactstore.ids import new_id, now_us
from artifactstore.transfer import log_importer
from artifactstore_protocols import redaction
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.entries import Entry
from artifactstore_protocols.event_types import FilesIngested
from artifactstore_protocols.events import StoredEvent, encode_record
from artifactstore_protocols.manifest import Entry as ManifestEntry
from artifactstore_protocols.manifest import FileEntry
from artifactstore_protocols.redacted_texts import TextReplacement
from artifactstore_protocols.redaction import RedactionReport
from artifactstore_protocols.releasing import ReleaseEntries
from integration.registry.samples import content_of, paths_in, plant, settings_in, whole_log
from integration.registry.test_collecting import on_both, settings

__all__ = ["settings"]

NAME, OTHER = "jörg schmidt", "hunter2"
REASON = "a person asked, ticket 4711"
FILES = {f"{NAME}/cv.pdf": b"cv", f"{NAME}/deep/{NAME}.txt": b"deep", "kept/a": b"a", "zeta": b"z"}


def traces(directory: Path, text: str = NAME) -> list[str]:
    """The files below a directory that hold a text."""
    files = [file for file in directory.rglob("*") if file.is_file()]
    return [str(file) for file in files if text.encode() in file.read_bytes()]


async def redacted(registry: Registry, text: str = NAME, backups: tuple[Path, ...] = ()) -> RedactionReport:
    """Redact a text as a person does: once to learn the number of events, then once more with it."""
    with pytest.raises(RedactionUnconfirmed) as refused:
        await registry.redact(text, reason=REASON, backups=backups)
    return await registry.redact(
        text, reason=REASON, confirm_events=refused.value.events, backups=backups, principal="alice"
    )


async def check(registry: Registry, records: list[bytes]) -> None:
    """The tables are what the log implies, and the log still has these records at its beginning."""
    assert (await registry.replay(check=True)).identical
    assert [encode_record(stored.event) for stored in await whole_log(registry)][: len(records)] == records
    assert (await registry.verify()).sound


async def filled(registry: Registry, tree: Path) -> str:
    """A package that has the name everywhere, in a store whose collector has let go of others that had it."""
    await registry.register_metadata_schema("person", {"properties": {"owner": {"enum": [NAME, "nobody"]}}})
    plant(tree, FILES)
    (tree / "link").symlink_to(f"{NAME}/cv.pdf")
    packages = list[str]()
    for delete in (True, False):
        made = await registry.create_package(f"of {NAME}", metadata={"owner": NAME, "n": 1}, schema="person")
        await registry.ingest_directory(made.package_id, tree)
        await registry.annotate_package(made.package_id, {f"by {NAME}": [NAME], "gone": NAME})
        await registry.annotate_package(made.package_id, remove=["gone"])
        packages.append(made.package_id)
        await registry.finalize_package(made.package_id)
        if delete:
            await registry.delete_package(made.package_id, reason=f"{NAME} left", before_expiry=True)
            requests = [
                CommandRequest(new_id(), ReleaseEntries(made.package_id, *keys), "ci", None)
                for keys in (("a", f"{NAME}/cv.pdf"), (f"{NAME}/d", "zz"))
            ]
            await registry._store.commit(  # pyright: ignore[reportPrivateUsage]
                requests, now_us=now_us, new_id=new_id, files_per_package_max=9
            )
    await registry.place_hold(packages[-1], reason=f"a case of {NAME}")
    return packages[-1]


@on_both
async def test_a_name_is_forgotten_and_the_log_stays_whole(
    registry: Registry, settings: Settings, tree: Path, tmp_path: Path
) -> None:
    package = await filled(registry, tree)
    before = await registry.get_package(package)
    records = [encode_record(stored.event) for stored in await whole_log(registry)]
    kept, other = tmp_path / "kept", settings_in(tmp_path / "other")
    await registry.backup(kept)
    await registry.export_events(tmp_path / "before.cborseq")
    assert traces(kept)

    report = await redacted(registry, backups=(kept,))
    assert (report.packages, report.failures, report.backups) == (2, (), (str(kept),))
    # A schema is no name of a package. It stays, and the report says so.
    assert [(each.event_type, each.where) for each in report.left] == [("v1.metadata_schema.registered", "payload")]
    await check(registry, records)
    if settings.database_url.startswith("sqlite"):
        held = [stored for stored in await whole_log(registry) if NAME.encode() in stored.event.payload]
        assert [stored.event.type for stored in held] == ["v1.metadata_schema.registered"]

    # The package can be used as before, under other names; digests are those of before.
    mark = report.mark
    after = await registry.get_package(package)
    assert (after.name, after.metadata) == (f"of {mark}", {"owner": mark, "n": 1})
    assert after.annotations == {f"by {mark}": [mark]}
    assert (after.manifest_digest, after.tree_digest) == (before.manifest_digest, before.tree_digest)
    assert sorted(await paths_in(registry, package)) == sorted(
        [f"{mark}/cv.pdf", f"{mark}/deep/{mark}.txt", "kept/a", "link", "zeta"]
    )
    assert await content_of(registry, package, f"{mark}/cv.pdf") == b"cv"
    await registry.export_package(package, tmp_path / "exported")
    assert (tmp_path / "exported" / "link").read_bytes() == b"cv"
    with pytest.raises(ManifestRedacted) as refused:
        await registry.get_manifest_bytes(package)
    assert (refused.value.manifest_digest, refused.value.redacted_by) == (before.manifest_digest, report.sequence - 1)
    assert [hold.reason for hold in [each async for each in registry.list_holds(package)]] == [f"a case of {mark}"]

    # A redacted event can be redacted again, and the store accepts work as before.
    again = await redacted(registry, "cv.pdf", (kept,))
    assert (again.left_events, again.packages) == (0, 2)
    await registry.collect_garbage(grace_s=0, orphan_age_s=0)
    await check(registry, records)
    assert (await registry.redact("cv.pdf", reason=REASON)).events == 0

    # A backup that was made before has the redaction now; a store that had the old log gets it by the backup.
    await registry.backup(kept)
    digest = (await registry.replay(check=True)).projection_digest
    async with open_registry(other) as copy:
        await copy.import_events(tmp_path / "before.cborseq")
        assert (await copy.get_package(package)).name == f"of {NAME}"
        await copy.restore(kept)
        assert (await copy.replay(check=True)).projection_digest == digest
        assert (await copy.get_package(package)).name == f"of {mark}"
        # The old log brings nothing back.
        assert (await copy.import_events(tmp_path / "before.cborseq")).written == 0
        assert (await copy.get_package(package)).name == f"of {mark}"
        await copy.export_events(tmp_path / "after.cborseq")
    async with open_registry(settings_in(tmp_path / "third")) as third:
        await third.import_events(tmp_path / "after.cborseq")
        assert (await third.replay(check=True)).projection_digest == digest
    for directory in (kept, tmp_path / "other", tmp_path / "third"):
        assert traces(directory, "cv.pdf") == []


async def test_a_mark_is_no_way_around_a_schema(registry: Registry, tmp_path: Path) -> None:
    allowed: dict[str, CanonicalValue] = {"enum": [NAME]}
    await registry.register_metadata_schema("person", {"properties": {"owner": allowed, "reviewer": allowed}})
    mark = "redacted-0123456789ab"
    with pytest.raises(SchemaViolated):
        await registry.create_package("p", metadata={"owner": mark}, schema="person")
    for key in ("owner", "reviewer"):
        package = (await registry.create_package("p", metadata={"n": 1}, schema="person")).package_id
        await registry.annotate_package(package, {key: mark})
        with pytest.raises(SchemaViolated):
            await registry.finalize_package(package)
        await registry.annotate_package(package, {key: NAME})
        await registry.finalize_package(package)
    # The log is whole after a redaction of an annotation, which is not in the manifest.
    await redacted(registry)
    await accepted(await whole_log(registry))
    await registry.export_events(tmp_path / "log.cborseq")
    async with open_registry(settings_in(tmp_path / "other")) as other:
        assert (await other.import_events(tmp_path / "log.cborseq")).written > 0


async def test_no_file_of_the_database_keeps_the_text(registry: Registry, settings: Settings, tree: Path) -> None:
    for number in range(3):
        plant(tree, {f"{OTHER}-{number}/{file}": b"x" for file in range(50)})
        await registry.ingest_tree(tree, name=f"{OTHER} {number}", metadata={"password": OTHER})
    assert traces(settings.storage_local_root.parent, OTHER)
    assert (await redacted(registry, OTHER)).left == ()
    assert traces(settings.storage_local_root.parent, OTHER) == []


async def test_a_file_that_cannot_be_written_anew_does_not_hide_a_redaction(
    registry: Registry, settings: Settings, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(_connection: object) -> bool:
        runs.append("failed")
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    runs, kept = list[str](), tmp_path / "kept"
    plant(tree, {f"{OTHER}/x": b"x"})
    await registry.ingest_tree(tree, name=OTHER)
    await registry.export_events(tmp_path / "before")
    with monkeypatch.context() as full:
        full.setattr(database, "_overwrite_leftovers", fill_up)
        report = await redacted(registry, OTHER, backups=(kept,))
        assert (report.events, report.backups, len(report.failures)) == (3, (str(kept),), 1)
        assert "disk is full" in report.failures[0]
        await registry.export_events(tmp_path / "after")
        async with open_registry(settings_in(tmp_path / "other")) as other:
            await other.import_events(tmp_path / "before")
            assert runs == ["failed"]
            imported = await other.import_events(tmp_path / "after")
            assert imported.written == 1
            assert "disk is full" in imported.failures[0]
            # Later imports replace nothing, so they do not write the file anew.
            await registry.create_package("y")
            await registry.export_events(tmp_path / "later")
            assert (await other.import_events(tmp_path / "later")).failures == ()
            assert runs == ["failed", "failed"]
    # Repeated, the command does what is left.
    again = await registry.redact(OTHER, reason=REASON)
    assert (again.events, again.failures) == (0, ())
    assert traces(settings.storage_local_root.parent, OTHER) == traces(kept, OTHER) == []


async def test_a_backup_includes_what_is_redacted_while_it_rewrites_its_log(
    registry: Registry, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tree, {f"{OTHER}/x": b"x", "pin 4711": b"y"})
    await registry.ingest_tree(tree, name="x")
    kept = tmp_path / "kept"
    await registry.backup(kept)
    await redacted(registry, OTHER)
    redactions, late = SqlEventStore.redactions, list[RedactionReport]()

    async def one_more(store: SqlEventStore, *, after: int, last: int) -> Mapping[int, int]:
        found = await redactions(store, after=after, last=last)
        if found and not late:
            late.append(await redacted(registry, "pin"))
        return found

    with monkeypatch.context() as racing:
        racing.setattr(SqlEventStore, "redactions", one_more)
        report = await registry.backup(kept)
    assert report.events == late[0].sequence
    assert traces(kept, OTHER) == traces(kept, "pin") == []
    async with open_registry(settings_in(tmp_path / "other")) as other:
        await other.restore(kept)
        assert await whole_log(other) == await whole_log(registry)


async def test_an_export_that_a_redaction_overtakes_begins_again(
    registry: Registry, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tree, {f"{OTHER}/x": b"x", "pin 4711": b"y"})
    await registry.ingest_tree(tree, name="x")
    read_events, texts = SqlEventStore.read_events, [OTHER]

    async def overtaken(store: SqlEventStore, **page: Any) -> Sequence[StoredEvent]:  # noqa: ANN401 - what it takes
        if texts and page["after"] == 0:
            await redacted(registry, texts.pop())
        return await read_events(store, **page)

    monkeypatch.setattr(SqlEventStore, "read_events", overtaken)
    exported = await registry.export_events(tmp_path / "log")
    assert exported.events == len(await whole_log(registry))
    async with open_registry(settings_in(tmp_path / "other")) as other:
        assert (await other.import_events(tmp_path / "log")).written == exported.events
    texts.append("pin")
    with pytest.raises(LogFileOvertaken) as refused:
        [chunk async for chunk in registry.exported_events()]
    assert (refused.value.head, refused.value.redacting) == (exported.events, exported.events + 1)
    chunks = [chunk async for chunk in registry.exported_events()]
    (tmp_path / "log").write_bytes(b"".join(chunks))
    await registry.export_events(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "log").read_bytes()


async def test_an_import_that_projects_the_log_again_has_no_time_limit(
    registry: Registry, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tree, {f"{OTHER}/x": b"x"})
    await registry.ingest_tree(tree, name="x")
    await registry.export_events(tmp_path / "before")
    await redacted(registry, OTHER)
    await registry.export_events(tmp_path / "after")
    write, project_again = Database.write, database_redacting.project_again
    limits, limits_of_projecting = list[float | None](), list[float | None]()

    async def noted(store: Database, work: Any, *, timeout_s: float | None = 300) -> object:  # noqa: ANN401 - its own
        limits.append(timeout_s)
        return await write(store, work, timeout_s=timeout_s)

    async def projected(connection: AsyncConnection, *, is_whole: bool = True) -> None:
        limits_of_projecting.append(limits[-1])
        await project_again(connection, is_whole=is_whole)

    monkeypatch.setattr(Database, "write", noted)
    monkeypatch.setattr(database_redacting, "project_again", projected)
    async with open_registry(settings_in(tmp_path / "other")) as other:
        await other.import_events(tmp_path / "before")
        assert None not in limits
        monkeypatch.setattr(log_importer, "COMMIT_TIMEOUT_S", 0.0)
        assert (await other.import_events(tmp_path / "after")).written == 1
    assert limits_of_projecting == [None]


async def test_what_is_left_is_a_text_that_somebody_chose(registry: Registry, tree: Path) -> None:
    plant(tree, {"d/x": b"x", "y": b"y"})
    (tree / "l").symlink_to("y")
    made = await registry.ingest_tree(tree, name="n", metadata={"k": "v"})
    await registry.set_tag("file-tag", made.package_id)
    words = ("manifest_version", "directory", "blake3", "link", made.package_id[-6:], str(made.manifest_digest)[-6:])
    for word in words:
        report = await registry.redact(word, reason=REASON)
        assert (report.events, report.left) == (0, ()), word
    # The name of a tag is one, and so is a text in a schema.
    report = await registry.redact("file", reason=REASON)
    assert [(each.event_type, each.where) for each in report.left] == [("v1.tag.set", "subject")]
    await registry.register_metadata_schema("person", {"properties": {"owner": {"enum": ["hunter"]}}})
    report = await registry.redact("hunter", reason=REASON)
    assert [(each.event_type, each.where) for each in report.left] == [("v1.metadata_schema.registered", "payload")]


async def test_what_cannot_be_redacted_is_refused_and_changes_nothing(registry: Registry, tree: Path) -> None:
    plant(tree, {"a" * 240 + OTHER: b"x"})
    await registry.ingest_tree(tree, name="x", idempotency_key=f"push {OTHER}", principal=OTHER)
    log = await whole_log(registry)
    with pytest.raises(RedactionImpossible, match="255"):
        await registry.redact(OTHER, reason=REASON, confirm_events=2)
    for text, reason in (
        ("x", REASON),
        ("a/b", REASON),
        ("..", REASON),
        ("ted", REASON),
        (OTHER, f"because of {OTHER}"),
        (OTHER, ""),
    ):
        with pytest.raises(InvalidValue) as refused:
            await registry.redact(text, reason=reason)
        assert OTHER not in str(refused.value)
    assert await whole_log(registry) == log
    # Records cannot change, so a principal stays; the report names the events.
    report = await registry.redact("push hunter2", reason=REASON, confirm_events=0)
    assert {each.where for each in report.left} == {"idempotency key"}


async def test_a_text_in_an_open_package_is_refused_before_a_finalization_can_bring_it_back(
    registry: Registry, tree: Path
) -> None:
    plant(tree, {f"{OTHER}/x": b"x"})
    finalized = await registry.ingest_tree(tree, name="done")
    opened = [(await registry.create_package(f"{OTHER} {number}")).package_id for number in range(12)]
    filled = (await registry.create_package("a path only")).package_id
    await registry.ingest_directory(filled, tree)
    log = await whole_log(registry)
    for confirm_events in (None, 14):
        with pytest.raises(OpenPackages) as refused:
            await registry.redact(OTHER, reason=REASON, confirm_events=confirm_events)
        assert refused.value.count == 13
        assert len(refused.value.packages) == 10
        assert "and 3 more" in str(refused.value)
        assert OTHER not in str(refused.value)
    assert await whole_log(registry) == log
    for package in opened:
        await registry.delete_package(package, reason="left")
    with pytest.raises(OpenPackages) as refused:
        await registry.redact(OTHER, reason=REASON)
    assert refused.value.packages == (filled,)
    await registry.finalize_package(filled)
    report = await redacted(registry, OTHER)
    assert (report.packages, report.left) == (14, ())
    assert await paths_in(registry, finalized.package_id) == await paths_in(registry, filled) == [f"{report.mark}/x"]
    await check(registry, [encode_record(stored.event) for stored in log])


async def test_an_import_takes_over_the_second_redaction_of_an_event_that_this_store_has_redacted(
    registry: Registry, tree: Path, tmp_path: Path
) -> None:
    plant(tree, {f"{OTHER}/x": b"x"})
    await registry.ingest_tree(tree, name=f"{OTHER} of {NAME}")
    await redacted(registry, OTHER)
    await registry.export_events(tmp_path / "once.cborseq")
    await redacted(registry)
    await registry.export_events(tmp_path / "twice.cborseq")
    log = await whole_log(registry)
    async with open_registry(settings_in(tmp_path / "other")) as other:
        await other.import_events(tmp_path / "once.cborseq")
        assert (await other.import_events(tmp_path / "twice.cborseq")).written == 1
        assert (await other.import_events(tmp_path / "once.cborseq")).written == 0
        assert await whole_log(other) == log
        assert (await other.replay(check=True)).identical
        await other.create_package("accepted")
    assert traces(tmp_path / "other") == []


async def test_a_redaction_that_changes_more_than_texts_is_not_imported(
    registry: Registry, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tree, {f"{OTHER}/a": b"1", "b": b"2"})
    package = (await registry.ingest_tree(tree, name="p")).package_id
    await registry.export_events(tmp_path / "log.cborseq")
    contents = {entry.digest: (entry, data) for entry, data in await entries_of(registry, (b"1", b"2"))}
    one, two = contents
    other = {one: two, two: one}
    ingested, listed = redaction._ingested, redaction._manifest_entry  # pyright: ignore[reportPrivateUsage]

    def forged(payload: FilesIngested, replaced: TextReplacement) -> FilesIngested:
        made = ingested(payload, replaced)
        return replace(made, entries=tuple(each._replace(digest=other[each.digest]) for each in made.entries))

    def forged_entry(entry: ManifestEntry, replaced: TextReplacement) -> ManifestEntry:
        made = listed(entry, replaced)
        assert isinstance(made, FileEntry)
        digest = other[made.digest]
        return made._replace(digest=digest, sha256=sha256(contents[digest][1]).digest())

    async with open_registry(settings_in(tmp_path / "other")) as forger:
        await forger.import_events(tmp_path / "log.cborseq")
        with monkeypatch.context() as patched:
            patched.setattr(redaction, "_ingested", forged)
            patched.setattr(redaction, "_manifest_entry", forged_entry)
            await redacted(forger, OTHER)
        await accepted(await whole_log(forger))
        await forger.export_events(tmp_path / "forged.cborseq")
    log = await whole_log(registry)
    with pytest.raises(EventRefused, match="more than marks"):
        await registry.import_events(tmp_path / "forged.cborseq")
    assert await whole_log(registry) == log
    assert await content_of(registry, package, "b") == b"2"
    await registry.create_package("no import has begun")


async def test_what_is_redacted_and_reported_is_exact(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = iter((1, 2, 3, 0xAB, 0xBA))

    def random_bits(_count: int) -> int:
        return next(digits)

    drawing = SimpleNamespace(get=lambda: SimpleNamespace(random_bits=random_bits))
    monkeypatch.setattr(redacting, "environment", drawing)
    package = await filled(registry, tree)
    await registry.create_token("ci", scopes=["read"])
    await registry.revoke_token("ci", f"{NAME} left")
    # A release is reported by its principal, too.
    released = [stored for stored in await whole_log(registry) if stored.event.type == "v1.entries.released"]
    assert {stored.event.principal for stored in released} == {"ci"}
    report = await registry.redact("ci", reason=REASON, confirm_events=0)
    assert {(each.sequence, each.where) for each in report.left} >= {(each.sequence, "principal") for each in released}
    # The reason of a revocation is a text like any other.
    report = await redacted(registry)
    assert [each.event_type for each in report.left] == ["v1.metadata_schema.registered"]
    assert [each.revoked_reason async for each in registry.list_tokens()] == [f"{report.mark} left"]
    # A mark with the text in it would be found, and replaced, by each later run.
    await registry.annotate_package(package, {"key": "abba"})
    assert (await registry.redact("ab", reason=REASON, confirm_events=1)).mark == "redacted-0000000000ba"
    assert (await registry.get_package(package)).annotations["key"] == "redacted-0000000000baba"


async def entries_of(registry: Registry, contents: tuple[bytes, ...]) -> list[tuple[Entry, bytes]]:
    """The entries that a log ingested, by path, each with its content."""
    ingests = [stored.decode() for stored in await whole_log(registry)]
    entries = [entry for each in ingests if isinstance(each, FilesIngested) for entry in each.entries]
    return list(zip(sorted(entries, key=lambda entry: not entry.path.endswith("/a")), contents, strict=True))


async def accepted(log: list[StoredEvent]) -> None:
    """Check a log as an import does."""
    async with LogValidator.opened() as validator:
        await validator.validate(log)
        await validator.finish()


async def test_a_log_with_a_forged_redaction_is_refused(registry: Registry, tree: Path) -> None:
    plant(tree, {f"{OTHER}/x": b"x", "y": b"y"})
    await registry.ingest_tree(tree, name=OTHER)
    original = await whole_log(registry)
    await redacted(registry, OTHER)
    log = await whole_log(registry)
    await accepted(log)
    first = next(stored for stored in log if stored.event.redacted_by is not None)
    at = first.sequence - 1
    forged = first.event.payload.replace(b"redacted-", b"replaced-")
    logs = {
        "no event redacts it": log[:-1],
        "the substitute is another one": [
            *log[:at],
            StoredEvent(first.sequence, replace(first.event, payload=forged)),
            *log[at + 1 :],
        ],
        "the event still has its payload": [*log[:at], original[at], *log[at + 1 :]],
        "another event redacts it": [
            *log[:at],
            StoredEvent(first.sequence, replace(first.event, redacted_by=at + 2)),
            *log[at + 1 :],
        ],
    }
    for each in logs.values():
        with pytest.raises(EventRefused):
            await accepted(each)
