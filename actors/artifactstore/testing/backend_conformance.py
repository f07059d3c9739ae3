"""Test suites that every storage backend must pass. Subclass a suite and define its fixture `store`.

For example::

    class TestMyBackend(SharedBackendConformance):
        @pytest.fixture
        @override
        def store(self, tmp_path: Path) -> Store:
            return partial(MyBackend, tmp_path / "objects")

The fixture returns a callable that opens the store under test. The store is empty at first, and every call opens the
same store. `SharedBackendConformance` is for backends that several processes use concurrently; its `store` must be
picklable. `StorageBackendConformance` has the same tests except those with several processes. The suites close the
backends that they open. No other module imports this module, because it needs pytest.
"""

import multiprocessing
import os
import threading
from collections.abc import Buffer, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing.synchronize import Barrier
from typing import ClassVar

import pytest

from artifactstore_protocols.identity import ContentAddress, ContentHasher
from artifactstore_protocols.object_keys import first_key, next_key
from artifactstore_protocols.storage import (
    KeyRefused,
    KeyTaken,
    ObjectMissing,
    OffersFiles,
    PutOutcome,
    StorageBackend,
    StorageError,
)

__all__ = ["SharedBackendConformance", "StorageBackendConformance", "Store"]

type Store = Callable[[], StorageBackend]
"""A callable that opens the store under test."""

type AnyPut = Callable[..., PutOutcome]
"""A function that stores one object: `put` or `write`."""

SHARED = tuple(b"shared %d" % number * 50 for number in range(30))
OUTSIDE = ("../x", "/x", "a/../../x", "a//x", "", "tmp/x", "small/x", "a\\x", "a\0")
MANY = 3
PATIENCE_S = 60


def address_of(content: bytes) -> ContentAddress:
    """Return the content address of these bytes."""
    hasher = ContentHasher()
    hasher.update(content)
    return hasher.digests().content_address


def key_of(content: bytes) -> str:
    """Return the first key of these bytes."""
    return first_key(address_of(content))


def put_of(content: bytes) -> tuple[str, bytes]:
    """Return the item for `put_many` that stores these bytes under their first key."""
    return key_of(content), content


def stored(answer: PutOutcome | StorageError) -> PutOutcome:
    """Return the outcome of a put, or raise it if it is an error."""
    if isinstance(answer, StorageError):
        raise answer
    return answer


def put(backend: StorageBackend, content: bytes, *, key: str | None = None) -> PutOutcome:
    """Store one object with `put_many`."""
    (answer,) = backend.put_many([(key_of(content) if key is None else key, content)])
    return stored(answer)


def write(backend: StorageBackend, content: bytes, *, key: str | None = None) -> PutOutcome:
    """Store one object with a writer, in two pieces."""
    with backend.open_writer() as writer:
        writer.write(content[:1])
        writer.write(memoryview(content)[1:])
        return writer.commit(key_of(content) if key is None else key)


def read(backend: StorageBackend, key: str, offset: int = 0, length: int | None = None) -> bytes:
    """Return all bytes of an object, or those of a range."""
    with backend.open(key, offset, length) as reader:
        buffer = bytearray(reader.size_bytes + 1)
        return bytes(buffer[: reader.readinto(buffer)])


def delete(backend: StorageBackend, key: str) -> bool:
    """Delete one object and return whether it existed."""
    (answer,) = backend.delete_many([key])
    if isinstance(answer, StorageError):
        raise answer
    return answer


def keys_in(backend: StorageBackend) -> list[str]:
    """Return the keys of all objects, in the order of the backend."""
    return [key for key, _size in listed(backend)]


def listed(backend: StorageBackend, limit: int = 2) -> list[tuple[str, int]]:
    """Return the keys and sizes of all objects, read in pages of `limit`."""
    found: list[tuple[str, int]] = []
    while page := backend.list_keys(after=found[-1][0] if found else "", limit=limit):
        assert len(page) <= limit
        found += [(each.object_key, each.size_bytes) for each in page]
    return found


_start: list[Barrier] = []


def wait_at(start: Barrier) -> None:
    """Initialize a process of the pool with the barrier at which all processes wait before they start."""
    _start.append(start)


def put_shared_in_this_process(store: Store) -> list[PutOutcome]:
    """Open the store and put the shared contents, concurrently with the other processes of the pool."""
    _start[0].wait(PATIENCE_S)
    backend = store()
    try:
        return [put(backend, content) for content in SHARED]
    finally:
        backend.close()


def check_shared(backend: StorageBackend, answers: list[list[PutOutcome]]) -> None:
    """Check that every shared content exists once, and that at least one put of it returned `stored`."""
    for content, outcomes in zip(SHARED, zip(*answers, strict=True), strict=True):
        assert "stored" in outcomes
        assert read(backend, key_of(content)) == content
    assert keys_in(backend) == sorted(map(key_of, SHARED))


def write_half(backend: StorageBackend) -> None:
    """Write a part of an object, then raise LookupError."""
    with backend.open_writer() as writer:
        writer.write(b"interrupted")
        raise LookupError("broken source")


class StorageBackendConformance:
    """The suite for a backend that one process uses; see the module.

    Attributes:
        LARGEST_BYTES: size of the largest object that the tests store, in bytes. A backend for small objects sets its
            own limit.
    """

    LARGEST_BYTES: ClassVar[int] = 5 << 20

    @pytest.fixture
    def store(self) -> Store:
        """Override this fixture: return a callable that opens the store under test."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self, store: Store) -> Iterator[StorageBackend]:
        """Open the store for one test and close it afterwards."""
        backend = store()
        yield backend
        backend.close()

    @pytest.fixture(params=[put, write])
    def any_put(self, request: pytest.FixtureRequest) -> AnyPut:
        """Return a function that stores one object; each test runs with `put` and with `write`."""
        way: AnyPut = request.param
        return way

    @pytest.mark.parametrize("size_bytes", [0, 1, 1000, None], ids=["empty", "one byte", "small", "largest"])
    def test_what_is_put_can_be_got(self, backend: StorageBackend, any_put: AnyPut, size_bytes: int | None) -> None:
        content = (bytes(range(251)) * (self.LARGEST_BYTES // 251 + 1))[
            : self.LARGEST_BYTES if size_bytes is None else size_bytes
        ]
        assert any_put(backend, content) == "stored"
        assert read(backend, key_of(content)) == content
        assert backend.stat_many([key_of(content)]) == [len(content)]

    def test_what_is_put_is_there_for_the_next_who_opens_the_store(
        self, store: Store, backend: StorageBackend, any_put: AnyPut
    ) -> None:
        any_put(backend, b"kept")
        other = store()
        assert read(other, key_of(b"kept")) == b"kept"
        other.close()
        backend.close()
        backend.close()

    def test_a_range_is_exact_and_ends_where_the_object_ends(self, backend: StorageBackend) -> None:
        content = bytes(range(200))
        put(backend, content)
        for offset, length in ((0, 0), (0, 1), (0, 200), (7, 50), (199, 1), (190, 100), (200, 1), (500, 1)):
            assert read(backend, key_of(content), offset, length) == content[offset : offset + length]
        assert read(backend, key_of(content), 150) == content[150:]

    def test_an_object_is_read_on_where_the_last_read_ended(self, backend: StorageBackend) -> None:
        put(backend, b"0123456789")
        buffer = bytearray(4)
        with backend.open(key_of(b"0123456789"), 1, 7) as reader:
            assert reader.size_bytes == 10
            assert (reader.readinto(buffer), bytes(buffer)) == (4, b"1234")
            assert (reader.readinto(memoryview(buffer)[:2]), bytes(buffer)) == (2, b"5634")
            assert (reader.readinto(buffer), bytes(buffer[:1])) == (1, b"7")
            assert reader.readinto(buffer) == 0
            reader.close()
        with backend.open(key_of(b"0123456789"), 1, 7) as reader:
            assert [reader.read(4), reader.read(0), reader.read(2), reader.read(4), reader.read(4)] == [
                b"1234",
                b"",
                b"56",
                b"7",
                b"",
            ]

    def test_small_objects_are_read_together_in_order(self, backend: StorageBackend) -> None:
        backend.put_many([("a", b"first"), ("b", b""), ("c", b"longer than it should be")])
        wanted = [("c", 6), ("absent", 3), ("b", 0), ("a", 5), ("a", 9)]
        longer, absent, *others = backend.read_many(wanted)
        assert isinstance(longer, bytes)
        assert len(longer) > 6
        assert b"longer than it should be".startswith(longer)
        assert isinstance(absent, ObjectMissing)
        assert absent.object_key == "absent"
        assert others == [b"", b"first", b"first"]
        assert backend.read_many([]) == []

    def test_the_same_content_again_is_deduplicated(self, backend: StorageBackend, any_put: AnyPut) -> None:
        assert [put(backend, b"twice"), any_put(backend, b"twice")] == ["stored", "deduplicated"]
        assert read(backend, key_of(b"twice")) == b"twice"

    def test_the_same_content_twice_in_one_batch_is_stored_once(self, backend: StorageBackend) -> None:
        assert backend.put_many(map(put_of, [b"twin", b"other", b"twin"])) == ["stored", "stored", "deduplicated"]
        assert keys_in(backend) == sorted([key_of(b"twin"), key_of(b"other")])

    @pytest.mark.parametrize("at", [0, 1 << 15, -1])
    def test_bytes_at_a_key_never_change(self, backend: StorageBackend, any_put: AnyPut, at: int) -> None:
        content = b"0123456789abcdef" * (1 << 12)
        damaged = bytearray(content)
        damaged[at] ^= 1
        key = key_of(content)
        put(backend, bytes(damaged), key=key)
        with pytest.raises(KeyTaken) as caught:
            any_put(backend, content)
        assert (caught.value.backend_id, caught.value.object_key) == (backend.backend_id, key)
        assert read(backend, key) == damaged
        assert any_put(backend, content, key=next_key(key)) == "stored"
        assert read(backend, next_key(key)) == content

    def test_an_object_of_another_size_takes_the_key(self, backend: StorageBackend, any_put: AnyPut) -> None:
        put(backend, b"tor", key=key_of(b"torn"))
        with pytest.raises(KeyTaken):
            any_put(backend, b"torn")
        assert read(backend, key_of(b"torn")) == b"tor"

    def test_other_bytes_for_a_key_of_the_same_batch_are_refused(self, backend: StorageBackend) -> None:
        first, second, third = backend.put_many([("key", b"first"), ("key", b"other"), ("key", b"longer than that")])
        assert first == "stored"
        assert isinstance(second, KeyTaken)
        assert isinstance(third, KeyTaken)
        assert read(backend, "key") == b"first"

    def test_a_writer_whose_key_is_taken_can_commit_to_another(self, backend: StorageBackend) -> None:
        put(backend, b"in the way", key="first")
        with backend.open_writer() as writer:
            writer.write(b"content")
            with pytest.raises(KeyTaken):
                writer.commit("first")
            assert writer.commit("second") == "stored"
        assert read(backend, "second") == b"content"

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_buffer_can_be_put(self, backend: StorageBackend, kind: Callable[[bytes], Buffer]) -> None:
        assert backend.put_many([("key", kind(b"content"))]) == ["stored"]
        assert read(backend, "key") == b"content"

    @pytest.mark.parametrize("count", [0, 1, 40])
    def test_a_batch_of_any_length_is_answered_in_order(self, backend: StorageBackend, count: int) -> None:
        contents = [b"object %d" % number for number in range(count)]
        assert backend.put_many(map(put_of, contents)) == ["stored"] * count
        assert [read(backend, key_of(content)) for content in contents] == contents
        assert backend.stat_many([*map(key_of, contents), "absent"]) == [*map(len, contents), None]
        assert backend.put_many(map(put_of, contents)) == ["deduplicated"] * count
        assert backend.delete_many([*map(key_of, contents), "absent"]) == [True] * count + [False]
        assert keys_in(backend) == []

    def test_a_batch_whose_source_breaks_is_abandoned(self, backend: StorageBackend) -> None:
        def breaking() -> Iterator[tuple[str, bytes]]:
            yield put_of(b"before")
            raise LookupError("no more")

        with pytest.raises(LookupError, match="no more"):
            backend.put_many(breaking())
        assert keys_in(backend) == []

    def test_an_abandoned_write_leaves_nothing(self, backend: StorageBackend) -> None:
        with backend.open_writer() as writer:
            writer.write(b"given up")
        writer.abort()
        with pytest.raises(LookupError, match="broken source"):
            write_half(backend)
        assert keys_in(backend) == []

    def test_a_writer_is_done_after_commit_or_abort(self, backend: StorageBackend) -> None:
        with backend.open_writer() as committed:
            committed.commit("empty")
            committed.abort()
            with pytest.raises(RuntimeError):
                committed.write(b"more")
        aborted = backend.open_writer()
        aborted.abort()
        with pytest.raises(RuntimeError):
            aborted.commit("aborted")
        assert keys_in(backend) == ["empty"]

    def test_a_closed_reader_reads_no_more(self, backend: StorageBackend) -> None:
        put(backend, b"closed")
        with backend.open(key_of(b"closed")) as reader:
            pass
        with pytest.raises(RuntimeError):
            reader.readinto(bytearray(1))
        with pytest.raises(RuntimeError):
            reader.read(1)

    def test_what_is_deleted_is_gone(self, backend: StorageBackend) -> None:
        key = key_of(b"short-lived")
        backend.put_many(map(put_of, [b"short-lived", b"stays"]))
        assert delete(backend, key) is True
        assert keys_in(backend) == [key_of(b"stays")]
        assert delete(backend, key) is False
        assert backend.stat_many([key]) == [None]

    def test_an_open_object_outlives_its_deletion(self, backend: StorageBackend) -> None:
        put(backend, b"still read")
        buffer = bytearray(10)
        with backend.open(key_of(b"still read")) as reader:
            delete(backend, key_of(b"still read"))
            assert (reader.readinto(buffer), bytes(buffer)) == (10, b"still read")

    def test_an_offered_file_holds_the_object_only_can_be_read_and_outlives_its_deletion(
        self, backend: StorageBackend, any_put: AnyPut
    ) -> None:
        if not isinstance(backend, OffersFiles):
            pytest.skip("the backend offers no files, and need not")
        any_put(backend, b"whole")
        file = backend.open_file(key_of(b"whole"))
        assert delete(backend, key_of(b"whole"))
        with file.opened() as descriptor:
            assert os.pread(descriptor, 100, 0) == b"whole"
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.write(descriptor, b"W")
        with pytest.raises(ObjectMissing):
            backend.open_file(key_of(b"whole"))
        with pytest.raises(KeyRefused):
            backend.open_file(OUTSIDE[0])

    def test_what_is_missing_is_missing(self, backend: StorageBackend) -> None:
        put(backend, b"there")
        key = key_of(b"there")
        for absent in (key_of(b"absent"), key.rpartition("/")[0], f"{key}/below"):
            with pytest.raises(ObjectMissing) as caught:
                backend.open(absent)
            assert (caught.value.backend_id, caught.value.object_key) == (backend.backend_id, absent)
            assert backend.stat_many([absent]) == [None]
            assert delete(backend, absent) is False

    @pytest.mark.parametrize("limit", [1, 2, 6, 100])
    def test_keys_are_listed_page_by_page_in_bytewise_order(self, backend: StorageBackend, limit: int) -> None:
        keys = ["b", "a/z", "a-1/x", "a.b", "a/b/c", "a0"]
        for key in keys:
            put(backend, key.encode() * 2, key=key)
        assert listed(backend, limit) == [(key, len(key) * 2) for key in sorted(keys)]
        assert [each[:2] for each in backend.list_keys(after="a/c", limit=2)] == [("a/z", 6), ("a0", 4)]

    def test_a_listed_object_has_the_age_of_its_first_put(self, backend: StorageBackend) -> None:
        put(backend, b"first")
        (first,) = backend.list_keys(limit=9)
        put(backend, b"second")
        put(backend, b"first")
        ages = {each.object_key: each.age_s for each in backend.list_keys(limit=9)}
        assert ages[key_of(b"first")] >= ages[key_of(b"second")]
        assert ages[key_of(b"first")] >= first.age_s > -1

    def test_compacting_keeps_what_was_not_deleted(self, backend: StorageBackend) -> None:
        contents = [b"%d" % number * 500 for number in range(40)]
        backend.put_many(map(put_of, contents))
        backend.delete_many([key_of(content) for content in contents[1::2]])
        assert backend.compact(lambda: None).freed_bytes >= 0
        assert sorted(keys_in(backend)) == sorted(map(key_of, contents[::2]))
        assert [read(backend, key_of(content)) for content in contents[::2]] == contents[::2]
        assert backend.put_many(map(put_of, contents)) == ["deduplicated", "stored"] * 20

    def test_objects_can_be_deleted_while_threads_put_them(self, store: Store, backend: StorageBackend) -> None:
        other = store()
        contents = [b"comes and goes %d" % number for number in range(4)]
        keys = [*map(key_of, contents)]
        start = threading.Barrier(2)

        def put_all() -> list[PutOutcome]:
            start.wait(PATIENCE_S)
            return [stored(answer) for _ in range(20) for answer in other.put_many(map(put_of, contents))]

        with ThreadPoolExecutor(1) as pool:
            putting = pool.submit(put_all)
            start.wait(PATIENCE_S)
            while not putting.done():
                assert {*backend.delete_many(keys)} <= {True, False}
        assert len(putting.result()) == 20 * len(contents)
        other.put_many(map(put_of, contents))
        assert [read(backend, key) for key in keys] == contents
        other.close()

    @pytest.mark.parametrize("key", OUTSIDE)
    def test_a_key_that_could_leave_the_root_is_refused(self, backend: StorageBackend, key: str) -> None:
        refused, neighbour = backend.put_many([(key, b"refused"), put_of(b"neighbour")])
        assert isinstance(refused, KeyRefused)
        assert neighbour == "stored"
        for act in (
            partial(write, backend, b"refused", key=key),
            partial(backend.open, key),
            partial(backend.stat_many, [key]),
            partial(backend.read_many, [(key, 1)]),
            partial(delete, backend, key),
        ):
            with pytest.raises(KeyRefused):
                act()
        assert keys_in(backend) == [key_of(b"neighbour")]

    def test_health_is_measured(self, backend: StorageBackend) -> None:
        health = backend.health()
        assert (health.backend_id, health.writable, health.failure) == (backend.backend_id, True, None)
        assert health.canary_latency_s is not None
        assert health.canary_latency_s > 0
        if health.total_bytes is not None and health.free_bytes is not None:
            assert 0 <= health.free_bytes <= health.total_bytes
        assert keys_in(backend) == []

    def test_a_backend_takes_at_least_one_call_at_a_time(self, backend: StorageBackend) -> None:
        assert backend.concurrency >= 1

    def test_many_threads_can_put_the_same_objects(self, store: Store, backend: StorageBackend) -> None:
        other = store()
        barrier = threading.Barrier(2 * MANY)

        def put_all(backend: StorageBackend) -> list[PutOutcome]:
            barrier.wait(PATIENCE_S)
            return [put(backend, content) for content in SHARED]

        with ThreadPoolExecutor(2 * MANY) as pool:
            answers = list(pool.map(put_all, [backend, other] * MANY))
        other.close()
        check_shared(backend, answers)


class SharedBackendConformance(StorageBackendConformance):
    """The suite for a backend that several processes use concurrently; see the module."""

    def test_many_processes_can_open_the_store_and_put_the_same_objects(self, store: Store) -> None:
        spawn = multiprocessing.get_context("spawn")
        start = spawn.Barrier(MANY)
        with ProcessPoolExecutor(MANY, spawn, initializer=wait_at, initargs=(start,)) as pool:
            answers = list(pool.map(put_shared_in_this_process, [store] * MANY))
        backend = store()
        check_shared(backend, answers)
        backend.close()
