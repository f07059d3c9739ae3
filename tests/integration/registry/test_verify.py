"""Verification finds what is damaged or missing, records it once, and an ingest of the same content repairs it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest
import trio
from msgspec.structs import replace

from artifactstore import Registry, Settings
from artifactstore.storage import StorageActor
from artifactstore.supervision import ActorCrashed
from artifactstore_protocols.dataplane import VerifyResult
from artifactstore_protocols.event_types import OBJECTS_FLAGGED, ObjectsFlagged, StoreVerified
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.messages import VerifyObjects
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.records import VerifyProgress
from artifactstore_protocols.storage_errors import StorageDenied, StorageFailed
from integration.registry.samples import (
    CHUNK,
    add,
    by_hand,
    check_sound,
    content_of,
    object_file,
    objects,
    plant,
    quiet,
    settings_in,
    stream_of,
    whole_log,
)
from stored_objects import Row, overwrite

pytestmark = pytest.mark.slow


@pytest.fixture(params=[65536, 0], ids=["rows", "files"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """A store whose small objects are rows, or files."""
    return replace(settings_in(tmp_path / "store"), storage_small_max=request.param)


@pytest.fixture
async def package(registry: Registry) -> str:
    package = (await registry.create_package("p")).package_id
    for path in ("a", "b", "c"):
        await add(registry, package, path, f"content of {path}".encode())
    await add(registry, package, "also a", b"content of a")
    return package


async def _stored(registry: Registry, settings: Settings, package: str, path: str) -> Path | Row:
    return object_file(settings, (await registry.get_file_record(package, path)).content_address)


async def test_an_intact_store_has_nothing_to_report(registry: Registry, package: str) -> None:
    progress: list[VerifyProgress] = []
    await registry.finalize_package(package)
    before = len(await whole_log(registry))
    report = await registry.verify(progress=progress.append)
    assert (report.objects, report.bytes, report.manifests) == (3, 36, 1)
    assert report.mismatches == report.missing == ()
    assert report.manifest_mismatches == ()
    assert [(counts.objects, counts.objects_total) for counts in progress] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert (progress[-1].bytes, progress[-1].bytes_total) == (36, 36)
    [verified] = [stored.decode() for stored in (await whole_log(registry))[before:]]
    assert isinstance(verified, StoreVerified)
    assert (verified.objects, verified.bytes, verified.damaged, verified.missing) == (3, 36, 0, 0)


async def test_flaws_are_named_with_their_files_and_recorded_once(
    registry: Registry, settings: Settings, package: str
) -> None:
    damaged, missing = await registry.get_file_record(package, "a"), await registry.get_file_record(package, "b")
    overwrite(object_file(settings, damaged.content_address), b"content of ?")
    object_file(settings, missing.content_address).unlink()
    for _ in range(2):
        report = await registry.verify(principal="nightly check")
        assert [flaw.content_address for flaw in report.mismatches] == [damaged.content_address]
        assert set(report.mismatches[0].files) == {f"{package}/a", f"{package}/also a"}
        assert [flaw.content_address for flaw in report.missing] == [missing.content_address]
        assert [flaw.size_bytes for flaw in report.missing] == [12]
    log = await check_sound(registry)
    flags = [stored for stored in log if stored.event.type == "v1.objects.flagged"]
    assert _found_in(flags) == {damaged.content_address: "damaged", missing.content_address: "missing"}
    assert {stored.event.principal for stored in flags} == {"nightly check"}


async def test_a_flaw_that_becomes_another_is_recorded_again(
    registry: Registry, settings: Settings, package: str
) -> None:
    stored = await _stored(registry, settings, package, "a")
    overwrite(stored, b"shorter")
    assert len((await registry.verify()).mismatches) == 1
    stored.unlink()
    assert len((await registry.verify()).missing) == 1
    kinds = Counter(event.event.type for event in await check_sound(registry))
    assert kinds["v1.objects.flagged"] == 2


@pytest.mark.parametrize("remove", [True, False], ids=["missing", "damaged"])
@pytest.mark.parametrize("by_directory", [True, False], ids=["directory", "file"])
async def test_the_next_ingest_of_the_same_content_repairs_it(
    registry: Registry, settings: Settings, package: str, tree: Path, remove: bool, by_directory: bool
) -> None:
    stored = await _stored(registry, settings, package, "a")
    if remove:
        stored.unlink()
    else:
        overwrite(stored, b"content of ?")
    await registry.verify()
    healer = (await registry.create_package("healer")).package_id
    if by_directory:
        await registry.ingest_directory(healer, plant(tree, {"again": b"content of a"}))
    else:
        await registry.ingest_file(healer, "again", stream_of(b"content of a"), principal="medic")
    name = (await registry.get_file_record(package, "a")).content_address.partition(":")[2]
    assert objects(settings)[f"{name}.g2"] == b"content of a"
    assert remove or stored.read_bytes() == b"content of ?", "bytes at a key never change"
    assert await content_of(registry, package, "a") == b"content of a"
    report = await registry.verify()
    assert report.mismatches == report.missing == ()
    log = await check_sound(registry)
    kinds = Counter(event.event.type for event in log)
    assert (kinds["v1.objects.flagged"], kinds["v1.objects.retired"]) == (1, 1)
    before = len(log)
    await add(registry, healer, "once more", b"content of a")
    assert [event.event.type for event in (await whole_log(registry))[before:]] == ["v1.files.ingested"]


async def test_ingesting_the_same_file_again_repairs_it_without_changing_its_package(
    registry: Registry, settings: Settings, package: str
) -> None:
    overwrite(await _stored(registry, settings, package, "a"), b"content of ?")
    await registry.verify()
    first = await registry.get_file_record(package, "a")
    again = await registry.ingest_file(package, "a", stream_of(b"content of a"), replace=True)
    assert again == first
    assert [event.event.type for event in (await check_sound(registry))[-4:]] == [
        "v1.objects.flagged",
        "v1.store.verified",
        "v1.objects.stored",
        "v1.objects.retired",
    ]
    assert (await registry.verify()).mismatches == ()


@pytest.mark.parametrize("by_directory", [True, False], ids=["directory", "stream"])
@pytest.mark.parametrize("size", [12, CHUNK + 5], ids=["small", "large"])
async def test_damage_of_equal_length_is_repaired_in_passing_though_nobody_has_noticed_it(
    registry: Registry, settings: Settings, tree: Path, size: int, *, by_directory: bool
) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "a", content)
    overwrite(await _stored(registry, settings, package, "a"), content[:-1] + b"?")
    healer = (await registry.create_package("healer")).package_id
    if by_directory:
        await registry.ingest_directory(healer, plant(tree, {"again": content}))
    else:
        await add(registry, healer, "again", content)
    assert await content_of(registry, package, "a") == content
    report = await registry.verify()
    assert report.mismatches == report.missing == ()
    kinds = Counter(event.event.type for event in await check_sound(registry))
    assert (kinds["v1.objects.flagged"], kinds["v1.objects.retired"]) == (0, 1)


async def test_one_package_alone_can_be_verified(registry: Registry, settings: Settings, package: str) -> None:
    other = (await registry.create_package("other")).package_id
    await add(registry, other, "x", b"only here")
    overwrite(await _stored(registry, settings, other, "x"), b"only hera")
    assert (await registry.verify(package)).objects == 3
    assert (await registry.verify(package)).mismatches == ()
    assert len((await registry.verify(other)).mismatches) == 1
    with pytest.raises(PackageNotFound):
        await registry.verify("no such package")


async def test_an_empty_store_can_be_verified(registry: Registry) -> None:
    report = await registry.verify()
    assert (report.objects, report.bytes, report.manifests) == (0, 0, 0)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE artifact_files SET executable = 1 WHERE path_key = 'a'",
        "DELETE FROM artifact_files WHERE path_key = 'b'",
        "UPDATE artifact_packages SET tree_digest = 'blake3:' || hex(zeroblob(32))",
        "UPDATE artifact_packages SET manifest_digest = 'blake3:' || hex(zeroblob(32))",
        "UPDATE artifact_packages SET finalized_sequence = 1",
        "UPDATE events SET payload = x'a0' WHERE type = 'v1.package.finalized'",
    ],
)
async def test_a_manifest_that_views_or_log_contradict_is_named(
    registry: Registry, settings: Settings, package: str, damage: str
) -> None:
    await registry.finalize_package(package)
    by_hand(settings, damage)
    report = await registry.verify(package)
    assert (report.manifests, report.manifest_mismatches) == (1, (package,))


async def test_a_row_that_names_another_size_or_digest_is_a_mismatch(
    registry: Registry, settings: Settings, package: str
) -> None:
    """The bytes are their address's, but not what the row says of them: one of the two digests is not enough."""
    by_hand(settings, "UPDATE contents SET digest_sha256 = x'ff' WHERE sequence = 3")
    report = await registry.verify()
    assert len(report.mismatches) == 1


async def test_what_ends_a_verification_is_raised_as_it_is(
    registry: Registry, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a group, although several objects are read at a time."""
    failure = ValueError("enough")

    def stop(counts: VerifyProgress) -> None:
        if counts.objects:
            raise failure

    with pytest.raises(ValueError, match="enough") as raised:
        await registry.verify(progress=stop)
    assert raised.value is failure

    async def fail(*_arguments: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(StorageActor, "verify_objects", fail)
        with pytest.raises(ActorCrashed):
            await registry.verify()
    assert (await registry.verify()).objects == 3
    await quiet(registry)


async def _flags(registry: Registry) -> set[str]:
    return {*_found_in(stored for stored in await whole_log(registry) if stored.event.type == OBJECTS_FLAGGED.name)}


def _found_in(events: Iterable[StoredEvent]) -> dict[str, str]:
    """Content address to integrity, of all that some events say of objects."""
    payloads = [cast("ObjectsFlagged", stored.decode()) for stored in events]
    return {
        f"blake3:{digest.hex()}": integrity for payload in payloads for digest, _place, integrity in payload.findings
    }


async def _damage_the_first(registry: Registry, settings: Settings, package: str) -> list[str]:
    """Damage the object that is read first; the addresses in the order in which they are read."""
    files = sorted(await registry.list_files(package), key=lambda file: file.sequence)
    addresses = list(dict.fromkeys(file.content_address for file in files))
    overwrite(object_file(settings, addresses[0]), b"damaged")
    return addresses


async def test_a_verification_that_is_cancelled_keeps_what_it_has_found(
    registry: Registry, settings: Settings, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_rest, last = await _damage_the_first(registry, settings, package)
    monkeypatch.setattr("artifactstore.verify._RUN", 1)
    monkeypatch.setattr("artifactstore.verify._CONCURRENT", 1)
    verify_objects = StorageActor.verify_objects

    async def stuck(actor: StorageActor, message: VerifyObjects) -> tuple[VerifyResult, ...]:
        if str(message.known[0].address) == last:
            await trio.sleep_forever()
        return await verify_objects(actor, message)

    monkeypatch.setattr(StorageActor, "verify_objects", stuck)
    with trio.CancelScope() as scope:

        def leave(counts: VerifyProgress) -> None:
            if counts.objects == counts.objects_total - 1:
                scope.cancel()

        await registry.verify(progress=leave)
    assert scope.cancelled_caught
    assert await _flags(registry) == {first}
    await quiet(registry)


async def test_a_verification_that_fails_keeps_what_it_has_found(
    registry: Registry, settings: Settings, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_rest, last = await _damage_the_first(registry, settings, package)
    monkeypatch.setattr("artifactstore.verify._RUN", 1)
    monkeypatch.setattr("artifactstore.verify._CONCURRENT", 1)
    verify_objects = StorageActor.verify_objects

    async def failing(actor: StorageActor, message: VerifyObjects) -> tuple[VerifyResult, ...]:
        if str(message.known[0].address) == last:
            raise StorageFailed("local", "reading an object", "EIO")
        return await verify_objects(actor, message)

    monkeypatch.setattr(StorageActor, "verify_objects", failing)
    with pytest.raises(StorageFailed):
        await registry.verify()
    assert await _flags(registry) == {first}


async def test_what_was_found_is_recorded_before_the_rest_is_read(
    registry: Registry, settings: Settings, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a verification of days that is killed keeps all but its last page."""
    first, *_rest, last = await _damage_the_first(registry, settings, package)
    monkeypatch.setattr("artifactstore.verify._RUN", 1)
    monkeypatch.setattr("artifactstore.verify._CONCURRENT", 1)
    monkeypatch.setattr("artifactstore.verify._BATCH", 1)
    verify_objects = StorageActor.verify_objects
    recorded = list[set[str]]()

    async def looking(actor: StorageActor, message: VerifyObjects) -> tuple[VerifyResult, ...]:
        if str(message.known[0].address) == last:
            recorded.append(await _flags(registry))
        return await verify_objects(actor, message)

    monkeypatch.setattr(StorageActor, "verify_objects", looking)
    assert len((await registry.verify()).mismatches) == 1
    assert recorded == [{first}]


async def test_an_object_that_may_not_be_read_is_named_and_the_rest_is_read(
    registry: Registry, settings: Settings, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _damage_the_first(registry, settings, package)
    verify_objects = StorageActor.verify_objects

    async def denied(actor: StorageActor, message: VerifyObjects) -> tuple[VerifyResult, ...]:
        results = await verify_objects(actor, message)
        if any(result.status == "ok" for result in results):
            raise StorageDenied("local", "reading an object", "EACCES")
        return results

    monkeypatch.setattr(StorageActor, "verify_objects", denied)
    report = await registry.verify()
    assert (report.objects, len(report.mismatches), len(report.unreadable), report.sound) == (3, 1, 2, False)
    assert all(flaw.files for flaw in report.unreadable)
    assert len(await _flags(registry)) == 1


async def test_a_store_of_which_nothing_may_be_read_is_refused(
    registry: Registry, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def denied(_actor: StorageActor, _message: VerifyObjects) -> tuple[VerifyResult, ...]:
        raise StorageDenied("local", "reading an object", "EACCES")

    monkeypatch.setattr(StorageActor, "verify_objects", denied)
    assert len((await registry.verify()).unreadable) == 3
    monkeypatch.setattr("artifactstore.verify._SAMPLE", 1)
    with pytest.raises(StorageDenied):
        await registry.verify()


async def test_an_interrupted_verification_of_a_wrong_root_records_nothing(
    registry: Registry, settings: Settings, package: str
) -> None:
    for file in await registry.list_files(package):
        object_file(settings, file.content_address).unlink(missing_ok=True)

    def stop(counts: VerifyProgress) -> None:
        if counts.objects == counts.objects_total - 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await registry.verify(progress=stop)
    assert await _flags(registry) == set()


@pytest.mark.parametrize(
    ("statement", "flaw"),
    [
        ("UPDATE artifact_files SET path = '../../x' WHERE path_key = 'a'", "path '../../x' refused"),
        ("UPDATE artifact_files SET path = '/abs/x' WHERE path_key = 'a'", "path '/abs/x' refused"),
        ("UPDATE artifact_files SET path = 'a' || char(10) WHERE path_key = 'a'", "control character"),
        ("UPDATE artifact_files SET media_type = 'x' WHERE path_key = 'a'", "invalid media type 'x'"),
        ("UPDATE contents SET size_bytes = -1 WHERE sequence = 3", "has -1 bytes"),
        (
            "UPDATE artifact_files SET path = 'a', path_key = 'z' WHERE path_key = 'a'",
            "not under the keys of their paths",
        ),
        ("UPDATE artifact_packages SET file_count = 7", "says that it has 7 files"),
        ("UPDATE artifact_packages SET total_bytes = -7", "files of -7 bytes"),
        ("UPDATE storage_locations SET object_key = '../../../x'", "has the key '../../../x', which is not its own"),
    ],
)
async def test_rows_that_no_event_could_have_put_there_are_named_and_not_sound(
    registry: Registry, settings: Settings, package: str, statement: str, flaw: str
) -> None:
    """Of an open package, whose files no manifest lists."""
    assert (await registry.verify()).sound
    by_hand(settings, statement)
    for what in (None, package):
        report = await registry.verify(what)
        assert not report.sound
        assert any(flaw in named for named in report.row_flaws), report.row_flaws
