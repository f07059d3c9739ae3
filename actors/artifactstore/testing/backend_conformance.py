"""What every storage backend must do, whatever it is made of: subclass `StorageBackendConformance` and name a store.

Like this::

    class TestMyBackend(StorageBackendConformance):
        @pytest.fixture
        @override
        def store(self, tmp_path: Path) -> Store:
            return partial(MyBackend, tmp_path / "objects")

A case gives a fixture `store`: a picklable callable that opens the same, at first empty, store anew each time, as
another process would. The suite closes what it opens. It needs pytest, so nothing else imports this module.
"""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.synchronize import Barrier

import pytest

from artifactstore_protocols.identity import ContentAddress, ContentHasher
from artifactstore_protocols.storage import (
    KeyRefused,
    ObjectMissing,
    ObjectPut,
    StorageBackend,
    StorageError,
    StorageReceipt,
    object_key_of,
)

__all__ = ["StorageBackendConformance", "Store"]

type Store = Callable[[], StorageBackend]
"""Opens the store under test."""

CONTENTS = (b"", b"x", b"a small object", bytes(range(256)) * 5000)
SHARED = tuple(b"shared %d" % number * 50 for number in range(30))
OUTSIDE = ("../x", "/x", "a/../../x", "a//x", "", "tmp/x", "a\\x", "a\0")
MANY = 3
PATIENCE_S = 60


def address_of(content: bytes) -> ContentAddress:
    """The content address of these bytes."""
    hasher = ContentHasher()
    hasher.update(content)
    return hasher.digests().content_address


def key_of(content: bytes) -> str:
    """The key that these bytes belong under."""
    return object_key_of(address_of(content))


def put_of(content: bytes, *, key: str | None = None, rewrite: bool = False) -> ObjectPut:
    """What puts these bytes, under their own key unless another is given."""
    return ObjectPut(key_of(content) if key is None else key, address_of(content), content, rewrite)


def stored(answer: StorageReceipt | StorageError) -> StorageReceipt:
    """The receipt; what went wrong is raised."""
    if isinstance(answer, StorageError):
        raise answer
    return answer


def put(backend: StorageBackend, content: bytes, *, key: str | None = None, rewrite: bool = False) -> StorageReceipt:
    """Put one object as part of a batch."""
    (answer,) = backend.put_batch([put_of(content, key=key, rewrite=rewrite)])
    return stored(answer)


def write(backend: StorageBackend, content: bytes, *, key: str | None = None, rewrite: bool = False) -> StorageReceipt:
    """Put one object in two pieces."""
    with backend.begin_write() as writer:
        writer.write(content[:1])
        writer.write(memoryview(content)[1:])
        object_key = key_of(content) if key is None else key
        return writer.commit(object_key, address_of(content), rewrite=rewrite)


def read(backend: StorageBackend, key: str) -> bytes:
    """All bytes of an object."""
    with backend.open_object(key) as reader:
        return reader.read_at(0, reader.size_bytes)


def keys_in(backend: StorageBackend) -> list[str]:
    """The keys of all objects, in the order of the backend."""
    return [found.object_key for found in backend.list_objects()]


_start: list[Barrier] = []


def wait_at(start: Barrier) -> None:
    """Give a process of the pool the barrier that all of them start at."""
    _start.append(start)


def put_shared_in_this_process(store: Store) -> list[StorageReceipt]:
    """Put the shared contents; one process's part."""
    backend = store()
    try:
        _start[0].wait(PATIENCE_S)
        return [put(backend, content) for content in SHARED]
    finally:
        backend.close()


def write_half(backend: StorageBackend) -> None:
    """Begin an object and break off."""
    with backend.begin_write() as writer:
        writer.write(b"interrupted")
        raise LookupError("broken source")


class StorageBackendConformance:
    """The suite; see the module."""

    @pytest.fixture
    def store(self) -> Store:
        """Override me."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self, store: Store) -> Iterator[StorageBackend]:
        """The store, open."""
        backend = store()
        yield backend
        backend.close()

    @pytest.fixture(params=[put, write])
    def any_put(self, request: pytest.FixtureRequest) -> Callable[..., StorageReceipt]:
        """Both ways into a backend."""
        way: Callable[..., StorageReceipt] = request.param
        return way

    @pytest.mark.parametrize("content", CONTENTS, ids=len)
    def test_what_is_put_can_be_got(
        self, backend: StorageBackend, any_put: Callable[..., StorageReceipt], content: bytes
    ) -> None:
        receipt = any_put(backend, content)
        assert receipt == StorageReceipt(
            backend.backend_id,
            key_of(content),
            address_of(content),
            len(content),
            "stored",
            receipt.retrieval_tier,
            receipt.restore_status,
        )
        assert read(backend, receipt.object_key) == content
        found = backend.head(receipt.object_key)
        assert (found.backend_id, found.object_key) == (backend.backend_id, receipt.object_key)
        assert found.size_bytes == len(content)
        assert (found.retrieval_tier, found.restore_status) == (receipt.retrieval_tier, receipt.restore_status)

    def test_what_is_put_is_there_for_the_next_who_opens_the_store(
        self, store: Store, backend: StorageBackend, any_put: Callable[..., StorageReceipt]
    ) -> None:
        key = any_put(backend, b"kept").object_key
        other = store()
        assert read(other, key) == b"kept"
        other.close()
        backend.close()
        backend.close()

    def test_ranges_are_exact_and_end_where_the_object_ends(self, backend: StorageBackend) -> None:
        content = bytes(range(200))
        with backend.open_object(put(backend, content).object_key) as reader:
            assert reader.size_bytes == len(content)
            for offset, length in ((0, 0), (0, 1), (0, 200), (7, 50), (199, 1), (190, 100), (200, 1), (500, 1)):
                assert reader.read_at(offset, length) == content[offset : offset + length]
            reader.close()

    def test_the_same_content_again_is_deduplicated(
        self, backend: StorageBackend, any_put: Callable[..., StorageReceipt]
    ) -> None:
        first = put(backend, b"twice")
        again = any_put(backend, b"twice")
        assert (first.outcome, again.outcome) == ("stored", "deduplicated")
        assert read(backend, again.object_key) == b"twice"

    def test_the_same_content_twice_in_one_batch_is_stored_once(self, backend: StorageBackend) -> None:
        answers = backend.put_batch([put_of(b"twin"), put_of(b"other"), put_of(b"twin")])
        assert [stored(answer).outcome for answer in answers] == ["stored", "stored", "deduplicated"]
        assert keys_in(backend) == sorted([key_of(b"twin"), key_of(b"other")])

    def test_a_rewrite_replaces_what_is_there_or_should_be(
        self, backend: StorageBackend, any_put: Callable[..., StorageReceipt]
    ) -> None:
        put(backend, b"damaged")
        assert any_put(backend, b"damaged", rewrite=True).outcome == "rewritten"
        assert read(backend, key_of(b"damaged")) == b"damaged"
        assert any_put(backend, b"missing", rewrite=True).outcome == "rewritten"
        assert read(backend, key_of(b"missing")) == b"missing"

    @pytest.mark.parametrize("at", [0, 3 << 20, -1])
    def test_an_object_of_the_same_size_and_other_bytes_is_damaged_and_replaced(
        self, backend: StorageBackend, any_put: Callable[..., StorageReceipt], at: int
    ) -> None:
        content = bytearray(b"0123456789abcdef" * (5 << 16))
        damaged = bytearray(content)
        damaged[at] ^= 1
        put(backend, bytes(damaged), key=key_of(bytes(content)))
        assert any_put(backend, bytes(content)).outcome == "rewritten"
        assert read(backend, key_of(bytes(content))) == content
        assert any_put(backend, bytes(content)).outcome == "deduplicated"

    def test_an_object_of_another_size_is_damaged_and_replaced(
        self, backend: StorageBackend, any_put: Callable[..., StorageReceipt]
    ) -> None:
        put(backend, b"tor", key=key_of(b"torn"))
        assert any_put(backend, b"torn").outcome == "rewritten"
        assert read(backend, key_of(b"torn")) == b"torn"

    def test_a_batch_takes_its_objects_one_by_one(self, backend: StorageBackend) -> None:
        contents = [b"one", b"two", b"six"]
        buffer = bytearray(3)

        def reusing_one_buffer() -> Iterator[ObjectPut]:
            for content in contents:
                buffer[:] = content
                yield ObjectPut(key_of(content), address_of(content), buffer, rewrite=False)

        answers = backend.put_batch(reusing_one_buffer())
        assert [read(backend, stored(answer).object_key) for answer in answers] == contents

    @pytest.mark.parametrize("count", [0, 1, 40])
    def test_a_batch_of_any_length_is_answered_in_order(self, backend: StorageBackend, count: int) -> None:
        contents = [b"object %d" % number for number in range(count)]
        receipts = [stored(answer) for answer in backend.put_batch(map(put_of, contents))]
        assert [receipt.content_address for receipt in receipts] == [address_of(content) for content in contents]
        assert [read(backend, receipt.object_key) for receipt in receipts] == contents
        again = [stored(answer) for answer in backend.put_batch(map(put_of, contents))]
        assert {receipt.outcome for receipt in again} <= {"deduplicated"}

    def test_a_batch_whose_source_breaks_is_abandoned(self, backend: StorageBackend) -> None:
        def breaking() -> Iterator[ObjectPut]:
            yield put_of(b"before")
            raise LookupError("no more")

        with pytest.raises(LookupError, match="no more"):
            backend.put_batch(breaking())
        assert keys_in(backend) == []

    def test_an_abandoned_write_leaves_nothing(self, backend: StorageBackend) -> None:
        with backend.begin_write() as writer:
            writer.write(b"given up")
        writer.abort()
        with pytest.raises(LookupError, match="broken source"):
            write_half(backend)
        assert keys_in(backend) == []

    def test_a_writer_is_done_after_commit_or_abort(self, backend: StorageBackend) -> None:
        with backend.begin_write() as committed:
            receipt = committed.commit(key_of(b""), address_of(b""), rewrite=False)
            committed.abort()
            with pytest.raises(RuntimeError):
                committed.write(b"more")
        aborted = backend.begin_write()
        aborted.abort()
        with pytest.raises(RuntimeError):
            aborted.commit(receipt.object_key, receipt.content_address, rewrite=False)
        assert keys_in(backend) == [receipt.object_key]

    def test_a_closed_reader_reads_no_more(self, backend: StorageBackend) -> None:
        with backend.open_object(put(backend, b"closed").object_key) as reader:
            pass
        with pytest.raises(RuntimeError):
            reader.read_at(0, 1)

    def test_what_is_deleted_is_gone_and_can_be_put_again(self, backend: StorageBackend) -> None:
        key = put(backend, b"short-lived").object_key
        put(backend, b"stays")
        assert backend.delete(key) is True
        assert keys_in(backend) == [key_of(b"stays")]
        assert backend.delete(key) is False
        with pytest.raises(ObjectMissing):
            backend.head(key)
        assert put(backend, b"short-lived").outcome == "stored"

    def test_an_open_object_outlives_its_deletion(self, backend: StorageBackend) -> None:
        with backend.open_object(put(backend, b"still read").object_key) as reader:
            backend.delete(key_of(b"still read"))
            assert reader.read_at(0, 100) == b"still read"

    def test_what_is_missing_is_missing(self, backend: StorageBackend) -> None:
        key = put(backend, b"there").object_key
        for absent in (key_of(b"absent"), key.rpartition("/")[0], f"{key}/below"):
            for look in (backend.head, backend.open_object):
                with pytest.raises(ObjectMissing) as caught:
                    look(absent)
                assert (caught.value.backend_id, caught.value.object_key) == (backend.backend_id, absent)
            assert backend.delete(absent) is False

    def test_objects_are_listed_in_the_order_of_their_keys(self, backend: StorageBackend) -> None:
        keys = ["b", "a/z", "a-1/x", "a.b", "a/b/c", "a0"]
        for key in keys:
            put(backend, key.encode() * 2, key=key)
        assert [(found.object_key, found.size_bytes) for found in backend.list_objects()] == [
            (key, len(key) * 2) for key in sorted(keys)
        ]

    @pytest.mark.parametrize("key", OUTSIDE)
    def test_a_key_that_could_leave_the_root_is_refused(self, backend: StorageBackend, key: str) -> None:
        refused, neighbour = backend.put_batch([put_of(b"refused", key=key), put_of(b"neighbour")])
        assert isinstance(refused, KeyRefused)
        with pytest.raises(KeyRefused):
            write(backend, b"refused", key=key)
        for act in (backend.open_object, backend.head, backend.delete):
            with pytest.raises(KeyRefused):
                act(key)
        assert keys_in(backend) == [stored(neighbour).object_key]

    def test_health_is_measured(self, backend: StorageBackend) -> None:
        health = backend.health()
        assert (health.backend_id, health.writable, health.failure) == (backend.backend_id, True, None)
        assert health.canary_latency_s is not None
        assert health.canary_latency_s > 0
        if health.total_bytes is not None and health.free_bytes is not None:
            assert 0 <= health.free_bytes <= health.total_bytes
        assert keys_in(backend) == []

    def test_many_threads_can_put_the_same_objects(self, store: Store, backend: StorageBackend) -> None:
        other = store()
        barrier = threading.Barrier(2 * MANY)

        def put_all(backend: StorageBackend) -> list[StorageReceipt]:
            barrier.wait(PATIENCE_S)
            return [put(backend, content) for content in SHARED]

        with ThreadPoolExecutor(2 * MANY) as pool:
            answers = list(pool.map(put_all, [backend, other] * MANY))
        other.close()
        self.check_shared(backend, answers)

    def test_many_processes_can_put_the_same_objects(self, store: Store, backend: StorageBackend) -> None:
        spawn = multiprocessing.get_context("spawn")
        start = spawn.Barrier(MANY)
        with ProcessPoolExecutor(MANY, spawn, initializer=wait_at, initargs=(start,)) as pool:
            answers = list(pool.map(put_shared_in_this_process, [store] * MANY))
        self.check_shared(backend, answers)

    def check_shared(self, backend: StorageBackend, answers: list[list[StorageReceipt]]) -> None:
        """The shared contents are there, once each, and every answer names them."""
        for content, receipts in zip(SHARED, zip(*answers, strict=True), strict=True):
            assert {receipt.object_key for receipt in receipts} == {key_of(content)}
            assert "stored" in {receipt.outcome for receipt in receipts}
            assert read(backend, key_of(content)) == content
        assert keys_in(backend) == sorted(map(key_of, SHARED))
