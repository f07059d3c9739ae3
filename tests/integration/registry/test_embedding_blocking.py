"""A store inside a plain program: called from any thread, interrupted, closed; nothing of it stays behind."""

import gc
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from artifactstore import Registry, Settings
from artifactstore.aio import AsyncioRegistry
from artifactstore.blocking import BlockingRegistry, open_registry
from artifactstore.database.errors import SchemaTooNew
from artifactstore.errors import FileNotInPackage, NotFinalized, WaitsForItself
from artifactstore.registry import StoreClosed
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.records import IngestProgress
from integration.registry.samples import make_schema_too_new, objects, plant, settings_in, store_threads, temp_files
from public_methods import public_methods


@pytest.fixture
def registry(settings: Settings) -> Generator[BlockingRegistry]:
    with open_registry(settings) as registry:
        yield registry
    assert store_threads() == []


@pytest.fixture
def package(registry: BlockingRegistry) -> str:
    return registry.create_package("p").package_id


def test_the_whole_way(registry: BlockingRegistry, tree: Path, tmp_path: Path) -> None:
    plant(tree, {"a.txt": b"hello", "sub/b.txt": b"hello"})
    progress: list[IngestProgress] = []
    summary = registry.ingest_tree(tree, name="tree", progress=progress.append)
    assert (summary.files, summary.bytes, summary.deduplicated_bytes) == (2, 10, 5)
    assert [counts.files for counts in progress] == [0, 2]
    package = registry.create_package("streamed").package_id
    assert registry.ingest_file(package, "c.txt", [b"by ", b"threads"], expected_size=10).size_bytes == 10
    assert registry.ingest_file(package, "d.txt", tree / "a.txt").size_bytes == 5
    with registry.get_file("streamed", "c.txt") as chunks:
        assert b"".join(chunks) == b"by threads"
    with registry.get_file("streamed", "c.txt", offset=3, length=4) as chunks:
        assert list(chunks) == [b"thre"]
    assert [found.name for found in registry.list_packages()] == ["streamed", "tree"]
    assert [entry.sequence for entry in registry.history(package)] == [6, 8, 9]
    assert [file.path for file in registry.list_files(package)] == ["c.txt", "d.txt"]
    with pytest.raises(NotFinalized):
        registry.get_manifest_bytes(package)
    assert registry.finalize_package(package).files == 2
    assert registry.get_manifest_bytes(package, "json").startswith(b"{")
    assert registry.export_package(package, tmp_path / "out").files == 2
    assert registry.verify().objects == 2
    assert registry.replay(check=True).identical
    assert registry.health().healthy


def test_the_registry_has_every_method_of_the_one_in_trio() -> None:
    public = set(public_methods(Registry))
    assert public - set(vars(BlockingRegistry)) == set()
    assert public - set(vars(AsyncioRegistry)) == set()


def test_the_tree_is_seen_from_any_thread(registry: BlockingRegistry) -> None:
    assert registry.snapshot().actor("root/core/ingest").starts == 1


@pytest.mark.slow
def test_several_threads_at_once(registry: BlockingRegistry) -> None:
    def produce(number: int) -> str:
        package = registry.create_package(f"p{number}").package_id
        registry.ingest_file(package, "f", [b"%d" % number])
        return registry.finalize_package(package).manifest_digest

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(produce, range(24)))) == 24
    assert [stored.sequence for stored in registry.read_events()] == list(range(1, 98))


def test_errors_arrive_as_they_were_raised(registry: BlockingRegistry, settings: Settings, package: str) -> None:
    failure = ConnectionResetError("the peer went away")

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise failure

    with pytest.raises(PackageNotFound) as refused:
        registry.get_package("nobody")
    assert refused.value.package == "nobody"
    with pytest.raises(FileNotInPackage), registry.get_file(package, "f"):
        raise AssertionError("entered")
    with pytest.raises(ConnectionResetError) as raised:
        registry.ingest_file(package, "f", broken())
    assert raised.value is failure
    assert registry.list_files(package) == []
    assert objects(settings) == {}


def test_what_a_progress_callback_raises_interrupts_the_call(registry: BlockingRegistry, tree: Path) -> None:
    plant(tree, {"a": b"a"})
    failure = ValueError("stop here")

    def stop(_counts: IngestProgress) -> None:
        raise failure

    with pytest.raises(ValueError, match="stop here") as raised:
        registry.ingest_tree(tree, progress=stop)
    assert raised.value is failure


def test_a_callback_cannot_wait_for_the_store_that_waits_for_it(registry: BlockingRegistry, tree: Path) -> None:
    plant(tree, {"a": b"a"})
    with pytest.raises(WaitsForItself):
        registry.ingest_tree(tree, progress=lambda _counts: print(registry.health()))  # noqa: T201


def test_a_generator_that_is_closed_in_the_stores_thread_does_not_wait_for_itself(
    registry: BlockingRegistry, package: str, tree: Path
) -> None:
    """As the garbage collector may do, which runs in any thread."""
    plant(tree, {"a": b"a"})
    leaving = ExitStack()
    tail = leaving.enter_context(registry.tail_events(1))
    assert next(tail).event.subject == package
    assert registry.ingest_tree(tree, progress=lambda _counts: leaving.close()).files == 1
    with pytest.raises(StopIteration):
        next(tail)


@pytest.mark.slow
def test_streams_may_be_left_early(registry: BlockingRegistry, package: str) -> None:
    registry.ingest_file(package, "f", [b"x" * (20 << 20)])
    with registry.get_file(package, "f") as chunks:
        assert next(chunks)
    with registry.tail_events() as tail:
        assert [next(tail).sequence, next(tail).sequence] == [1, 2]
    with pytest.raises(StopIteration):
        next(tail)
    with registry.tail_events():
        pass
    packages = registry.list_packages()
    next(packages)
    del packages  # as a loop with a break does
    gc.collect()


def test_a_tail_follows_what_other_threads_write(registry: BlockingRegistry) -> None:
    with ThreadPoolExecutor(1) as thread, registry.tail_events(1) as tail:
        first = thread.submit(next, tail)
        created = registry.create_package("p")
        assert first.result().event.subject == created.package_id


class Interrupted(BaseException):
    """What strikes the main thread, as KeyboardInterrupt does."""


@contextmanager
def _interruptible() -> Generator[Callable[[], None]]:
    """Gives a function that, called in any thread, interrupts what the main thread waits for."""

    def strike(_number: int, _frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, strike)
    main = threading.get_ident()
    try:
        yield lambda: signal.pthread_kill(main, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_interrupt_while_waiting_withdraws_the_call(
    registry: BlockingRegistry, settings: Settings, package: str
) -> None:
    """Even where the iterable never comes back: its thread is left to it."""
    release = threading.Event()

    with _interruptible() as interrupt:

        def stuck() -> Iterator[bytes]:
            yield b"some"
            interrupt()
            release.wait()

        try:
            with pytest.raises(Interrupted):
                registry.ingest_file(package, "f", stuck())
            assert registry.list_files(package) == []
            assert temp_files(settings) == []
        finally:
            release.set()
    registry.ingest_file(package, "f", [b"again"])


def test_an_interrupt_while_waiting_for_an_event_ends_the_tail(registry: BlockingRegistry, package: str) -> None:
    seen: list[str] = []
    with _interruptible() as interrupt:

        def watch() -> None:
            with registry.tail_events(1) as tail:
                for stored in tail:
                    seen.append(stored.event.subject)
                    threading.Thread(target=interrupt).start()

        with pytest.raises(Interrupted):
            watch()
    assert seen == [package]


def test_an_interrupt_while_opening_leaves_no_thread(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from artifactstore.database.database import Database  # noqa: PLC0415

    open_database = Database.open

    with _interruptible() as interrupt:

        async def interrupted_open(database: Database) -> None:
            interrupt()
            await open_database(database)

        monkeypatch.setattr(Database, "open", interrupted_open)
        with pytest.raises(Interrupted), open_registry(settings):
            raise AssertionError("opened")
    assert store_threads() == []


def test_closing_breaks_off_tails_but_not_calls(settings: Settings) -> None:
    gate, asked = threading.Event(), threading.Event()

    def gated() -> Iterator[bytes]:
        asked.set()
        gate.wait()
        yield b"late"

    with ThreadPoolExecutor(2) as threads:
        with open_registry(settings) as registry:
            package = registry.create_package("p").package_id
            leaving = ExitStack()
            next(leaving.enter_context(registry.tail_events()))
            following = leaving.enter_context(registry.tail_events(2))
            waiting = threads.submit(next, following)
            ingest = threads.submit(registry.ingest_file, package, "f", gated())
            asked.wait()
            threading.Timer(0, gate.set).start()
        assert ingest.result().size_bytes == 4
        with pytest.raises(StoreClosed):
            waiting.result()
    leaving.close()  # harmless: the store's end has ended it
    with pytest.raises(StoreClosed, match="open_registry"):
        registry.get_package(package)
    with pytest.raises(StoreClosed):
        next(registry.list_packages())
    assert store_threads() == []


def test_a_failed_opening_raises_its_cause_and_leaves_no_thread(settings: Settings) -> None:
    make_schema_too_new(settings)
    with pytest.raises(SchemaTooNew), open_registry(settings):
        raise AssertionError("opened")
    assert store_threads() == []
    with pytest.raises(InvalidValue), open_registry(Settings(database_url="mysql://somewhere")):
        raise AssertionError("opened")
    assert store_threads() == []


def test_an_error_of_the_block_passes_through(settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError), open_registry(settings):
        _ = 1 // 0
    assert store_threads() == []


def test_two_stores_in_one_program(tmp_path: Path) -> None:
    with open_registry(settings_in(tmp_path / "one")) as one, open_registry(settings_in(tmp_path / "two")) as two:
        one.create_package("in one")
        two.create_package("in two")
        assert [package.name for package in one.list_packages()] == ["in one"]
        assert [package.name for package in two.list_packages()] == ["in two"]


def test_a_store_that_ends_on_its_own_says_so(settings: Settings, tree: Path) -> None:
    """What means to end the program ends the store, and is raised where the store was opened."""
    plant(tree, {"a": b"a"})

    def leave(_counts: IngestProgress) -> None:
        raise SystemExit(7)

    def use() -> None:
        with open_registry(settings) as registry:
            with pytest.raises(StoreClosed):
                registry.ingest_tree(tree, progress=leave)
            with pytest.raises(StoreClosed):
                registry.health()

    with pytest.raises(SystemExit) as left:
        use()
    assert left.value.code == 7
    assert store_threads() == []
