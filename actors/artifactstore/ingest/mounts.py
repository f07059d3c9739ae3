"""Where else a part of a directory can be seen: other mounts of it, and overlays that it is a layer of (Linux).

A bind mount of a directory has its inode, one of something below it does not; an overlay has inodes of its own.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["mounted_again", "overlaid_places"]

_TABLE: Final = Path("/proc/self/mountinfo")
_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")
_LAYER_OPTIONS: Final = frozenset({b"lowerdir", b"lowerdir+", b"datadir+", b"upperdir"})
_BETWEEN_LAYERS: Final = re.compile(rb"(?<!\\):")


class _Mount(NamedTuple):
    """A line of the table (proc_pid_mountinfo(5)).

    Attributes:
        device: which file system.
        root: directory or file of it.
        point: where that is.
        layers: real paths of the directories that an overlay lays over one another; none of other file systems.
    """

    device: bytes
    root: bytes
    point: bytes
    layers: tuple[bytes, ...]


def mounted_again(directories: Iterable[bytes]) -> list[bytes]:
    """Return where what lies below one of these real directories can be seen too; nothing where there is no table."""
    mounts = _mounts()
    found: list[bytes] = []
    for directory in directories:
        if (holder := _holder(mounts, directory)) is not None:
            inside = _inside(holder, directory)
            found += [mount.point for mount in mounts if mount.device == holder.device and _is_in(mount.root, inside)]
        found += [mount.point for mount in mounts if any(_is_in(layer, directory) for layer in mount.layers)]
        found += _overlaid(mounts, directory)
    return found


def overlaid_places(directory: bytes) -> list[bytes]:
    """Return the paths of a real directory in overlays that it is part of, or in the layers of the overlay it is in."""
    return list(_overlaid(_mounts(), directory))


def _overlaid(mounts: list[_Mount], directory: bytes) -> Iterator[bytes]:
    for mount in mounts:
        for layer in mount.layers:
            inside = _join(b"/", directory[len(layer.rstrip(b"/")) :])
            if _is_in(directory, layer) and _is_in(inside, mount.root):
                yield _join(mount.point, inside[len(mount.root.rstrip(b"/")) :])
    if (holder := _holder(mounts, directory)) is not None:
        for layer in holder.layers:
            yield _join(layer, _inside(holder, directory))


def _mounts() -> list[_Mount]:
    try:
        return list(map(_mount, _TABLE.read_bytes().splitlines()))
    except OSError:
        return []


def _mount(line: bytes) -> _Mount:
    place, _, system = line.partition(b" - ")
    device, root, point = (_plain(field) for field in place.split(b" ", 5)[2:5])
    kind, _source, options = system.split(b" ", 2)
    return _Mount(device, root, point, tuple(_layers(options)) if kind == b"overlay" else ())


def _layers(options: bytes) -> Iterator[bytes]:
    for option in options.split(b","):
        name, _, value = option.partition(b"=")
        if name in _LAYER_OPTIONS:
            layers = (re.sub(rb"\\(.)", rb"\1", layer) for layer in _BETWEEN_LAYERS.split(_plain(value)))
            # One that was named relative to the directory of that time cannot be found.
            yield from (os.path.realpath(layer) for layer in layers if layer.startswith(b"/"))


def _holder(mounts: list[_Mount], directory: bytes) -> _Mount | None:
    """Return the mount that a directory is in: the last of those that are mounted over one another is what is seen."""
    return max((mount for mount in reversed(mounts) if _is_in(directory, mount.point)), key=_depth, default=None)


def _inside(mount: _Mount, directory: bytes) -> bytes:
    """Return the path of a directory within the file system of its mount."""
    return _join(mount.root, directory[len(mount.point.rstrip(b"/")) :])


def _depth(mount: _Mount) -> int:
    return len(mount.point)


def _plain(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field)


def _is_in(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def _join(root: bytes, below: bytes) -> bytes:
    return (root.rstrip(b"/") + below).rstrip(b"/") or b"/"
