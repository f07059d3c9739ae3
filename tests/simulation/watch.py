"""The oracle of keeping and deleting: what is held whenever something is committed, and whenever a file is unlinked.

It reads the events of the log for themselves, so that the views, the state and the rules of the product are held
against a plain account of who refers to what, and who holds what.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import blake3

from artifactstore_protocols.collection import content_place
from artifactstore_protocols.event_types import (
    EntriesReleased,
    FilesIngested,
    HoldPlaced,
    HoldReleased,
    ObjectsCondemned,
    PackageDeleted,
    PackageExpired,
    PackageFinalized,
)
from artifactstore_protocols.event_types.object_places import digest_at
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.life_cycle import ABANDONED, RETENTION_ENDED
from artifactstore_protocols.views import LOCATIONS, RETENTION
from memory_views import bytes_of, text_of
from simulation.log import SimulatedLog
from simulation.posix import OBJECTS, SimulatedPosix
from simulation.world import World

__all__ = ["Watch"]

_CURRENT: Final = {"live", "condemned"}
_GONE: Final = {"retired", "removed"}


class Watch:
    """Looks at one store, and knows what its log says so far."""

    def __init__(self, world: World, log: SimulatedLog, posix: SimulatedPosix, require: Callable[..., None]) -> None:
        self._world = world
        self._log = log
        self._posix = posix
        self._require = require
        self._entries: dict[str, dict[str, bytes]] = {}
        self._holds: dict[str, str] = {}
        self._gone: set[str] = set()
        self._finalized: set[str] = set()
        for stored in log.events:
            self._account(stored)
        log.on_commit = self._committed
        posix.on_unlink = self._unlinked

    def is_gone(self, package_id: str) -> bool:
        """Whether a package was deleted or has expired."""
        return package_id in self._gone

    def state_of(self, key: str) -> str | None:
        """The state of an object, by its key."""
        found = (row for row in self._log.tables.tables[LOCATIONS].values() if row["object_key"] == key)
        return next((text_of(row, "state") for row in found), None)

    def must_be_safe(self, digest: bytes, who: str) -> None:
        """A content that an entry refers to is there for readers, and would be after a loss of power."""
        if any(digest in entries.values() for entries in self._entries.values()):
            self._must_be_whole(digest, self._keys()[digest], who)

    def must_be_exact(self) -> None:
        """Collected to the end, the disk has the contents that entries refer to, and nothing else."""
        keys = self._keys()
        wanted = {key for digest in self._references() for key in keys[digest]}
        found = {path.removeprefix(f"{OBJECTS}/") for path, _ in self._posix.disk.files(f"{OBJECTS}/blake3")}
        self._require(wanted == found, "the disk lacks", wanted - found, "and has too much:", found - wanted)
        empty = list(self._posix.disk.empty_directories(f"{OBJECTS}/blake3"))
        self._require(not empty, "empty directories are left:", empty)
        for package_id in self._gone:
            self._require(not self._entries.get(package_id), "entries of", package_id, "are not released")

    def held(self) -> frozenset[str]:
        """The packages that are under a hold."""
        return frozenset(self._holds.values())

    def _committed(self, events: Sequence[StoredEvent]) -> None:
        for stored in events:
            self._account(stored)
        references, keys = self._references(), self._keys()
        for row in self._log.tables.tables[LOCATIONS].values():
            state, digest = text_of(row, "state"), bytes_of(row, "digest_primary")
            if state in _CURRENT:
                is_right = (state == "live") == (references[digest] > 0)
                self._require(is_right, row["object_key"], "is", state, "and has", references[digest], "references")
        for digest in references:
            self._must_be_whole(digest, keys[digest], f"sequence {self._log.head()}")

    def _account(self, stored: StoredEvent) -> None:
        """Note what an event says, and hold it to what was so before."""
        match payload := stored.decode():
            case FilesIngested(package_id=package_id):
                entries = self._entries.setdefault(package_id, {})
                for key in payload.removed:
                    entries.pop(key, None)
                entries.update(
                    (key, entry.digest) for key, entry in zip(payload.path_keys, payload.entries, strict=True)
                )
            case HoldPlaced(hold_id=hold_id, package_id=package_id):
                self._holds[hold_id] = package_id
            case HoldReleased(hold_id=hold_id):
                del self._holds[hold_id]
            case PackageFinalized():
                self._finalized.add(stored.event.subject)
            case PackageDeleted(package_id=package_id) | PackageExpired(package_id=package_id):
                self._require(package_id not in self.held(), "sequence", stored.sequence, "ends a package under a hold")
                if isinstance(payload, PackageExpired):
                    self._must_be_due(payload, stored)
                self._gone.add(package_id)
            case EntriesReleased(package_id=package_id, first=first, last=last):
                is_gone = package_id in self._gone
                self._require(is_gone, "sequence", stored.sequence, "releases entries of a package that is there")
                entries = self._entries[package_id]
                self._entries[package_id] = {key: entries[key] for key in entries if not first <= key <= last}
            case ObjectsCondemned(objects=objects):
                held = {digest for package_id in self.held() for digest in self._entries.get(package_id, {}).values()}
                condemned = held.intersection(map(digest_at, objects))
                self._require(not condemned, "sequence", stored.sequence, "condemns what is under a hold")
            case _:
                pass

    def _must_be_due(self, expired: PackageExpired, stored: StoredEvent) -> None:
        due_us = self._log.tables.tables[RETENTION][expired.package_id,]["expires_at"]
        finalized = expired.package_id in self._finalized
        is_due = isinstance(due_us, int) and due_us <= self._world.latest_us if finalized else expired.rule == ABANDONED
        self._require(
            is_due and finalized == (expired.rule == RETENTION_ENDED),
            *("sequence", stored.sequence, "expires by", expired.rule, "what is not due"),
        )

    def _unlinked(self, path: str) -> None:
        key = path.removeprefix(f"{OBJECTS}/")
        if content_place("local", key) is not None:
            state = self.state_of(key)
            self._require(state in _GONE, "bytes of", key, "were deleted, and it is", state)

    def _references(self) -> Counter[bytes]:
        """How many entries refer to each content."""
        return Counter(digest for entries in self._entries.values() for digest in entries.values() if digest)

    def _keys(self) -> dict[bytes, list[str]]:
        """The keys of each content that it should have bytes at."""
        keys = {digest: list[str]() for digest in self._references()}
        for row in self._log.tables.tables[LOCATIONS].values():
            if row["state"] in _CURRENT:
                digest = bytes_of(row, "digest_primary")
                keys[digest] = [*keys.get(digest, ()), text_of(row, "object_key")]
        return keys

    def _must_be_whole(self, digest: bytes, keys: Sequence[str], who: str) -> None:
        whole = any(self._is_whole(key, digest) for key in keys)
        harmed = bool(keys) and all(self._posix.was_harmed_durably(key) for key in keys)
        self._require(whole or harmed, who, "needs one of", keys, "on the disk")

    def _is_whole(self, key: str, digest: bytes) -> bool:
        """Whether readers find an object with its bytes, and would after a loss of power."""
        now, later = (self._posix.disk.find(f"{OBJECTS}/{key}", synced=synced) for synced in (False, True))
        return (
            now is not None
            and later is not None
            and blake3.blake3(now.data).digest() == digest
            and (later.synced == bytes(now.data) or blake3.blake3(later.synced).digest() == digest)
        )
