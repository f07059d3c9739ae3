"""Verification of a part of a store: what was not read for long, a sample, what an interrupted one has left."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from artifactstore import Registry, Settings, open_registry, verify
from artifactstore.registry import event_store
from artifactstore.storage import StorageActor
from artifactstore_protocols.commands import OBJECTS_MAX
from artifactstore_protocols.dataplane import VerifyResult
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import StoreVerified
from artifactstore_protocols.messages import VerifyObjects
from artifactstore_protocols.records import VerifyProgress, VerifyReport
from artifactstore_protocols.storage_errors import StorageDenied
from artifactstore_protocols.verification import EVERY_OBJECT, VERIFIED_OBJECTS_MAX, DueObjects
from integration.registry.samples import check_sound, object_file, plant, settings_in, whole_log
from stored_objects import overwrite

DAY_S = 86_400


class Calendar:
    """The clock of this machine, which moves by days when a test says so."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.days = 0
        patch.setattr("artifactstore.environment.time.time_ns", self._now_ns)

    def _now_ns(self) -> int:
        return 1_800_000_000_000_000_000 + self.days * DAY_S * 10**9


@pytest.fixture(params=[65536, 0], ids=["rows", "files"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    return replace(settings_in(tmp_path / "store"), storage_small_max=request.param)


async def _ingest(registry: Registry, tree: Path, *names: str) -> None:
    for name in names:
        await registry.ingest_tree(plant(tree / name, {name: f"content of {name}".encode()}), name=name)


async def _verified(registry: Registry, *, after: int = 0) -> list[StoreVerified]:
    payloads = [stored.decode() for stored in (await whole_log(registry))[after:]]
    return [payload for payload in payloads if isinstance(payload, StoreVerified)]


async def _objects(registry: Registry, tree: Path) -> list[str]:
    """The addresses of the contents of `a`, `b` and `c`, in the order in which they were stored."""
    await _ingest(registry, tree, "a", "b", "c")
    return [(await registry.list_files(name))[0].content_address for name in ("a", "b", "c")]


async def test_only_what_was_not_read_for_so_long_is_read(
    settings: Settings, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calendar = Calendar(monkeypatch)
    async with open_registry(settings) as registry:
        await _ingest(registry, tree, "a", "b")
        calendar.days = 20
        await _ingest(registry, tree, "c")
        assert (await registry.verify(max_age_s=30 * DAY_S)).objects == 0
        calendar.days = 31
        first = await registry.verify(max_age_s=30 * DAY_S)
        assert (first.objects, first.manifests, first.sound) == (2, 0, True)
        assert (await registry.verify(max_age_s=30 * DAY_S)).objects == 0
        calendar.days = 51
        assert (await registry.verify(max_age_s=30 * DAY_S)).objects == 1
        calendar.days = 62
        assert (await registry.verify(max_age_s=30 * DAY_S)).objects == 2
        components = (await registry.health(max_age_s=0)).components
        [details] = [part.details for part in components if part.name == "objects"]
        assert (details["last_verification_age_s"], details["oldest_unverified_age_s"]) == (0, 11 * DAY_S)
        await check_sound(registry)


async def test_an_interrupted_verification_loses_one_batch_and_the_next_one_continues(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _objects(registry, tree)
    for name, value in (("_BATCH", 1), ("_RUN", 1), ("_CONCURRENT", 1)):
        monkeypatch.setattr(f"artifactstore.verify.{name}", value)

    def stop(counts: VerifyProgress) -> None:
        if counts.objects == 2:
            raise KeyError

    with pytest.raises(KeyError):
        await registry.verify(progress=stop)
    assert len(await _verified(registry)) == 1, "the second batch was read, and not recorded"
    read = list[int]()
    report = await registry.verify(max_age_s=0, progress=lambda counts: read.append(counts.objects))
    assert report.objects == 3
    [one, two, three] = (await _verified(registry))[1:]
    assert one.first.sequence < two.first.sequence < three.first.sequence, "the one that was read comes last"
    await check_sound(registry)


async def test_few_objects_have_one_event_since_which_they_are_due(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a page of the order of verification sorts no more than one batch: see the plans of its query."""
    assert OBJECTS_MAX <= verify._BATCH == VERIFIED_OBJECTS_MAX  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr("artifactstore.verify._BATCH", 3)
    contents = {str(number): str(number).encode() for number in range(8)}
    await registry.ingest_tree(plant(tree / "many", contents), name="many")
    assert (await registry.verify()).objects == 8
    objects = await event_store(registry).due_objects(DueObjects(1 << 40, EVERY_OBJECT), after=None, limit=9)
    assert sorted(Counter(each.verified_sequence for each in objects).values()) == [2, 3, 3]


async def test_a_batch_ends_after_so_many_bytes(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _objects(registry, tree)
    monkeypatch.setattr("artifactstore.verify._BATCH_BYTES", 20)
    assert (await registry.verify()).objects == 3
    assert [payload.objects for payload in await _verified(registry)] == [1, 1, 1]
    monkeypatch.setattr("artifactstore.verify._BATCH_BYTES", 30)
    assert (await registry.verify()).objects == 3
    assert [payload.objects for payload in (await _verified(registry))[3:]] == [2, 1]


async def test_a_sample_reads_its_share_and_the_same_seed_the_same_objects(registry: Registry, tree: Path) -> None:
    files = {f"{number}": f"content {number}".encode() for number in range(64)}
    await registry.ingest_tree(plant(tree, files), name="many")
    before = len(await whole_log(registry))
    report = await registry.verify(sample_ppm=250_000, seed=5)
    assert 0 < report.objects < 64
    assert (report.seed, report.manifests) == (5, 0)
    assert (await registry.verify(sample_ppm=250_000, seed=5)).objects == report.objects
    rest = await registry.verify(sample_ppm=750_000, seed=5 + 2**30)
    assert rest.objects == 64 - report.objects, "the other three quarters"
    first, again, other = await _verified(registry, after=before)
    assert (first.share_ppm, first.seed, first.objects) == (250_000, 5, report.objects)
    assert (again.objects, other.objects) == (report.objects, rest.objects)
    drawn = {(await registry.verify(sample_ppm=1)).seed for _ in range(2)}
    assert len(drawn) == 2
    await check_sound(registry)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"package": "a", "max_age_s": 1}, "leave out the package"),
        ({"package": "a", "sample_ppm": 1}, "leave out the package"),
        ({"seed": 1}, "give a sample"),
        ({"seed": 1, "sample_ppm": 1_000_000}, "less than everything"),
        ({"sample_ppm": 0}, "parts per million"),
        ({"sample_ppm": 1_000_001}, "parts per million"),
        ({"sample_ppm": 1, "seed": 2**32}, "use a number"),
        ({"limit_rate": 0}, "bytes a second"),
    ],
)
async def test_what_cannot_be_combined_is_refused(registry: Registry, arguments: dict[str, int], reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        await registry.verify(**arguments)  # type: ignore[arg-type]


def test_a_limited_verification_takes_its_time_by_the_clock(settings: Settings, tree: Path) -> None:
    """On a clock that jumps: only the pauses take time."""
    waited: list[float] = []
    sleep_until = trio.sleep_until

    async def main() -> VerifyReport:
        async with open_registry(settings) as registry:
            await _objects(registry, tree)
            with pytest.MonkeyPatch.context() as patch:

                async def noted(deadline: float) -> None:
                    waited.append(deadline - trio.current_time())
                    await sleep_until(trio.current_time())

                patch.setattr("artifactstore.pace.trio.sleep_until", noted)
                return await registry.verify(limit_rate=2)

    assert trio.run(main, clock=MockClock(rate=1)).objects == 3
    assert [round(each) for each in waited] == [0, 6, 12], "two bytes a second, of objects of 12 bytes"


async def test_a_flaw_counts_only_if_a_second_read_confirms_it(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_others = await _objects(registry, tree)
    verify_objects = StorageActor.verify_objects
    asked: list[list[str]] = []

    async def flaky(actor: StorageActor, message: VerifyObjects) -> Sequence[VerifyResult]:
        asked.append([str(known.address) for known in message.known])
        results = await verify_objects(actor, message)
        if len(asked) > 1:
            return results
        return tuple(
            VerifyResult(each.address, "damaged", None, None) if str(each.address) == first else each
            for each in results
        )

    monkeypatch.setattr(StorageActor, "verify_objects", flaky)
    report = await registry.verify()
    assert (report.sound, report.unconfirmed) == (True, 1)
    assert asked[1:] == [[first]]
    assert [stored.event.type for stored in (await whole_log(registry))[-2:]] == [
        "v1.package.finalized",
        "v1.store.verified",
    ]


async def test_what_nobody_could_read_stays_due(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _first, second, _third = await _objects(registry, tree)
    verify_objects = StorageActor.verify_objects

    async def denied(actor: StorageActor, message: VerifyObjects) -> Sequence[VerifyResult]:
        if second in {str(known.address) for known in message.known}:
            raise StorageDenied("local", "reading an object", "EACCES")
        return await verify_objects(actor, message)

    with monkeypatch.context() as patch:
        patch.setattr(StorageActor, "verify_objects", denied)
        assert len((await registry.verify()).unreadable) == 1
    assert [payload.objects for payload in await _verified(registry)] == [1, 1]
    await registry.verify()
    [last] = (await _verified(registry))[2:]
    assert (last.objects, last.first.place.object_key.rpartition("/")[2]) == (3, second.partition(":")[2])
    await check_sound(registry)


async def test_a_report_names_the_packages_and_the_paths_that_a_flaw_affects(
    registry: Registry, settings: Settings, tree: Path
) -> None:
    content = b"the same in many places"
    await registry.ingest_tree(plant(tree / "one", {f"{number}": content for number in range(5)}), name="one")
    await registry.ingest_tree(plant(tree / "two", {"x": content, "y": b"sound"}), name="two")
    [address] = {file.content_address for file in await registry.list_files("one")}
    overwrite(object_file(settings, address), b"the same in many placeS")
    report = await registry.verify()
    [flaw] = report.mismatches
    assert (flaw.file_count, len(flaw.files)) == (6, 6)
    assert [(package.name, package.files) for package in report.affected] == [("one", 5), ("two", 1)]
    assert report.affected_packages == 2


async def test_the_paths_of_a_report_are_bounded_and_counted(
    registry: Registry, settings: Settings, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{number}": b"lost" if number % 2 else b"gone" for number in range(10)} | {"z": b"sound", "zz": b"fine"}
    await registry.ingest_tree(plant(tree, files), name="one")
    for file in await registry.list_files("one"):
        if file.path in {"0", "1"}:
            object_file(settings, file.content_address).unlink()
    monkeypatch.setattr("artifactstore.affected._FILES_OF_AN_OBJECT_MAX", 4)
    monkeypatch.setattr("artifactstore.affected._FILES_MAX", 6)
    report = await registry.verify()
    assert sorted((len(flaw.files), flaw.file_count) for flaw in report.missing) == [(2, 5), (4, 5)]
