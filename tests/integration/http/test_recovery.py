"""A service whose database, objects, actors or disk fail says 503 and which, from the next measurement on, and is well
again by itself once the cause is gone; what it acknowledged meanwhile is there afterwards.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from artifactstore import Settings
from artifactstore.blocking import open_registry
from http_viewer import VIEWER
from integration.registry.samples import settings_in

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("producing_service.py")
TESTS = Path(__file__).parents[2]
GUARD_S = 120
MORE = 3
"""How many packages a producer must get done before, and after, a fault."""


@dataclass
class Producing:
    """A service that runs, with a producer inside.

    Attributes:
        url: where it serves.
        acknowledged: what the producer was told, as it comes.
    """

    url: str
    acknowledged: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    grown: threading.Condition = field(default_factory=threading.Condition)

    def health(self) -> tuple[int, dict[str, Any]]:
        try:
            asked = urllib.request.Request(f"{self.url}/health", headers=dict([VIEWER]))
            with urllib.request.urlopen(asked) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def is_unwell(self, part: str, *, since: datetime | None) -> dict[str, Any]:
        """Wait until a part is unwell; with `since`, no report that was measured later may call it well."""
        for status, report in self._looks():
            found = report["components"][part]
            if status == 503 and not found["healthy"]:
                return report
            measured_at = datetime.fromisoformat(found["measured_at"])
            took_s = found["latency_s"]
            assert since is None or measured_at.timestamp() - took_s < since.timestamp(), report
        raise AssertionError(part)

    def is_well(self) -> None:
        """Wait until all is well."""
        any(status == 200 for status, _report in self._looks())

    def _looks(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Look again and again; a test that waits for what will not come ends."""
        until = time.monotonic() + GUARD_S
        while time.monotonic() < until:
            yield self.health()
            _pause()
        raise AssertionError(self.health())

    def gets_more_done(self) -> None:
        with self.grown:
            wanted = len(self.acknowledged) + MORE
            assert self.grown.wait_for(lambda: len(self.acknowledged) >= wanted, GUARD_S)

    def listen(self, lines: list[bytes]) -> None:
        for line in lines:
            with self.grown:
                self.acknowledged.append(json.loads(line))
                self.grown.notify_all()


def _pause() -> None:
    """Between two looks, so as not to take from the service the time that it needs."""
    threading.Event().wait(0.05)


@contextmanager
def producing(settings: Settings, kill: Path) -> Generator[Producing]:
    environment = os.environ | {
        "ARTIFACTSTORE_DATABASE_URL": settings.database_url,
        "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": str(settings.storage_local_root),
        "ARTIFACTSTORE_STORAGE_SMALL_MAX": str(settings.storage_small_max),
        "PYTHONPATH": str(TESTS),
    }
    command = [sys.executable, "-W", "error", str(PROGRAM), str(kill)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            [url] = json.loads(process.stdout.readline())
            service = Producing(url)
            listener = threading.Thread(target=service.listen, args=(process.stdout,))
            listener.start()
            yield service
            process.stdin.close()
            assert process.wait(GUARD_S) == 0
            listener.join()
        finally:
            process.kill()


def everything_acknowledged_is_there(settings: Settings, acknowledged: list[dict[str, Any]]) -> None:
    with open_registry(settings) as registry:
        assert registry.replay(check=True).identical
        for each in acknowledged:
            [file] = registry.list_files(each["package"])
            assert (file.sequence, file.content_address) == (each["sequence"], each["content_address"])
        found = registry.verify()
        assert found.sound, found
        assert found.objects >= len(acknowledged)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong, and how the cause is gone again.

    Attributes:
        part: what is unwell then.
        reason: what it says.
        strike: does it.
        repair: undoes it.
        at_once: whether the next measurement must show it.
    """

    part: str
    reason: str
    strike: Callable[[Path], None]
    repair: Callable[[Path], None]
    at_once: bool = True


def move(name: str, to: str) -> Callable[[Path], None]:
    def rename(store: Path) -> None:
        (store / name).rename(store / to)

    return rename


def replace_database(store: Path) -> None:
    other = settings_in(store / "other")
    with open_registry(other) as registry:
        registry.create_package("from another store")
    shutil.copyfile(store / "other" / "artifactstore.db", store / "new.db")
    (store / "artifactstore.db").rename(store / "aside")
    (store / "new.db").rename(store / "artifactstore.db")


FAULTS = {
    "the database's file is deleted": Fault(
        "database",
        "was deleted while it was open",
        move("artifactstore.db", "aside"),
        move("aside", "artifactstore.db"),
    ),
    "the database's file is replaced": Fault(
        "database",
        "was replaced by another file while it was open",
        replace_database,
        move("aside", "artifactstore.db"),
    ),
    "the object root is removed": Fault(
        "storage",
        "the root cannot be used: no such file or directory",
        move("objects", "aside"),
        move("aside", "objects"),
    ),
    "an actor is killed again and again": Fault(
        "actor:projection",
        "RuntimeError: killed",
        lambda store: (store / "kill").touch(),
        lambda store: (store / "kill").unlink(),
        at_once=False,
    ),
}


def test_each_fault_is_named_and_over_when_its_cause_is(tmp_path: Path) -> None:
    """One after another, in one service that is never restarted."""
    settings = settings_in(tmp_path)
    with producing(settings, tmp_path / "kill") as service:
        for what, fault in FAULTS.items():
            service.is_well()
            service.gets_more_done()
            fault.strike(tmp_path)
            report = service.is_unwell(fault.part, since=datetime.now(UTC) if fault.at_once else None)
            [reason] = [reason for reason in report["reasons"] if reason.startswith(f"{fault.part}: ")]
            assert fault.reason in reason, what
            fault.repair(tmp_path)
        service.is_well()
        service.gets_more_done()
    everything_acknowledged_is_there(settings, service.acknowledged)


def test_an_object_root_that_is_made_anew_is_used_by_itself(tmp_path: Path) -> None:
    """What was in it is gone with it, as `verify` says; what comes is kept.

    So it is with files. The file of small objects is held open, and health asks for a restart where it is deleted.
    """
    settings = replace(settings_in(tmp_path), storage_small_max=0)
    with producing(settings, tmp_path / "kill") as service:
        service.gets_more_done()
        shutil.rmtree(settings.storage_local_root, ignore_errors=True)
        service.is_unwell("storage", since=datetime.now(UTC))
        lost = len(service.acknowledged)
        settings.storage_local_root.mkdir()
        service.is_well()
        service.gets_more_done()
    with open_registry(settings) as registry:
        missing = {flaw.content_address for flaw in registry.verify().missing}
    assert missing <= {each["content_address"] for each in service.acknowledged[:lost]}


@contextmanager
def small_device(place: Path, size: str) -> Generator[None]:
    """A file system of its own, that can be filled."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a small file system to fill")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until there is no room for a single block more."""
    for block in (1 << 20, 1 << 12):
        with suppress(OSError), path.open("ab", buffering=0) as filler:
            while True:
                filler.write(bytes(block))


def test_a_full_disk_is_named_and_over_when_there_is_room_again(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    with small_device(store, "160m"):
        settings = settings_in(store)
        with producing(settings, store / "kill") as service:
            service.gets_more_done()
            service.is_well()
            fill(store / "filler")
            full_since = datetime.now(UTC)
            report = service.is_unwell("storage", since=full_since)
            assert re.search(r"no space is left|has only \d+ bytes free", report["components"]["storage"]["detail"])
            report = service.is_unwell("database", since=full_since)
            assert "bytes free" in report["components"]["database"]["detail"]
            (store / "filler").unlink()
            service.is_well()
            service.gets_more_done()
        everything_acknowledged_is_there(settings, service.acknowledged)
