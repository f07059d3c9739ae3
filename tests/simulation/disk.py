"""A disk that keeps two truths: what a reader sees now, and what would be left if the power failed.

It is as unforgiving as POSIX allows. The bytes of a file become durable when the file is synced, a name when its
directory is: a rename may be lost although the file's content is safe, and the other way round. When the power fails,
every name that was not synced is there or not, by chance, and so is every byte: whole, a part of it, or zeros.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Final

__all__ = ["Inode", "SimulatedDisk"]

_TEARS: Final = ("as before", "whole", "in part", "as zeros")


class Inode:
    """A file or a directory.

    Attributes:
        number: in order of creation.
        is_directory: what it is.
        data: bytes of a file, as readers see them.
        synced: bytes of a file, as they would survive.
        entries: names in a directory, as readers see them.
        synced_entries: names in a directory, as they would survive.
        mode: permission bits.
        changed_us: when its bytes last changed, in microseconds since the epoch.
        spoilt: whether a fault has changed its bytes.
        locked_by: the open file that holds a lock on it, by its descriptor.
    """

    __slots__ = (
        "changed_us", "data", "entries", "is_directory", "locked_by", "mode", "number", "spoilt", "synced",
        "synced_entries",
    )  # fmt: skip

    def __init__(self, number: int, *, is_directory: bool, mode: int) -> None:
        self.number = number
        self.is_directory = is_directory
        self.mode = mode
        self.changed_us = 0
        self.data = bytearray()
        self.synced = b""
        self.entries: dict[str, Inode] = {}
        self.synced_entries: dict[str, Inode] = {}
        self.spoilt = False
        self.locked_by: int | None = None

    def sync(self) -> None:
        """Make the content, or the names, durable."""
        self.synced = bytes(self.data)
        self.synced_entries = dict(self.entries)


class SimulatedDisk:
    """Directories and files below one root."""

    def __init__(self) -> None:
        self._made = 0
        self.root = self.make(is_directory=True, mode=0o755)

    def make(self, *, is_directory: bool, mode: int) -> Inode:
        """A new file or directory, without a name."""
        self._made += 1
        return Inode(self._made, is_directory=is_directory, mode=mode)

    def find(self, path: str, *, synced: bool = False) -> Inode | None:
        """What is at a path of names joined by `/`; with `synced`, what would be there after a loss of power."""
        at = self.root
        for name in path.split("/") if path else ():
            below = (at.synced_entries if synced else at.entries).get(name)
            if below is None:
                return None
            at = below
        return at

    def files(self, path: str) -> Iterator[tuple[str, Inode]]:
        """Every file below a directory, with its path, in order of names."""
        directory = self.find(path)
        for name, inode in sorted(directory.entries.items()) if directory is not None else ():
            if inode.is_directory:
                yield from self.files(f"{path}/{name}")
            else:
                yield f"{path}/{name}", inode

    def empty_directories(self, path: str) -> Iterator[str]:
        """Every directory below one that nothing is in."""
        directory = self.find(path)
        for name, inode in sorted(directory.entries.items()) if directory is not None else ():
            if inode.is_directory and not inode.entries:
                yield f"{path}/{name}"
            elif inode.is_directory:
                yield from self.empty_directories(f"{path}/{name}")

    def remove(self, path: str) -> None:
        """Take a file away, durably."""
        above, _, name = path.rpartition("/")
        directory = self.find(above)
        if directory is not None:
            directory.entries.pop(name, None)
            directory.synced_entries.pop(name, None)

    def sync_all(self) -> None:
        """What `syncfs` does."""
        for inode in _below(self.root):
            inode.sync()

    def lose_power(self, chance: random.Random) -> Counter[str]:
        """Forget what was not synced, or some of it; how many names and contents are not what readers saw before."""
        lost: Counter[str] = Counter()
        for inode in list(_below(self.root)):
            if inode.is_directory:
                survived = _torn_entries(inode, chance)
                lost["names"] += sum(survived.get(name) is not inode.entries[name] for name in inode.entries)
                inode.entries = survived
            elif bytes(inode.data) != inode.synced:
                tear = chance.choice(_TEARS)
                inode.data = bytearray(_torn_data(inode, tear, chance))
                lost[f"contents, {tear}"] += tear != "whole"
            inode.locked_by = None
        for inode in _below(self.root):
            inode.sync()
        return +lost


def _below(inode: Inode) -> Iterator[Inode]:
    yield inode
    # In order of creation: names of temp files differ from run to run.
    everything = {below.number: below for below in (*inode.synced_entries.values(), *inode.entries.values())}
    for number in sorted(everything):
        yield from _below(everything[number])


def _torn_entries(directory: Inode, chance: random.Random) -> dict[str, Inode]:
    survived: dict[str, Inode] = {}
    known = {**directory.synced_entries, **directory.entries}
    for name in sorted(known, key=lambda name: known[name].number):
        now, then = directory.entries.get(name), directory.synced_entries.get(name)
        inode = now if now is then or chance.random() < 0.5 else then
        if inode is not None:
            survived[name] = inode
    return survived


def _torn_data(file: Inode, tear: str, chance: random.Random) -> bytes:
    match tear:
        case "as before":
            return file.synced
        case "in part":
            return bytes(file.data[: chance.randrange(len(file.data) + 1)])
        case "as zeros":
            return bytes(len(file.data))
        case _:
            return bytes(file.data)
