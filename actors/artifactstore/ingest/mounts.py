"""Other paths of a directory or of its parts: bind mounts, and overlays that have it as a layer (Linux).

A bind mount of a directory has the inode of the directory. A bind mount of something below it does not, and an overlay
has its own inodes.
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
    """A line of the mount table (proc_pid_mountinfo(5)).

    Attributes:
        device: device number of the file system.
        root: path within the file system of the directory or file that is mounted.
        point: path of the mount point.
        layers: real paths of the layers of an overlay; empty for other file systems.
    """

    device: bytes
    root: bytes
    point: bytes
    layers: tuple[bytes, ...]


def mounted_again(directories: Iterable[bytes]) -> list[bytes]:
    """Return other paths of these real directories' contents; an empty list if the system has no mount table."""
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
    """Return the paths of a real directory in overlays over it, and in the layers of the overlay that holds it."""
    return list(_overlaid(_mounts(), directory))


def _overlaid(mounts: list[_Mount], directory: bytes) -> Iterator[bytes]:
    """Yield the paths of a directory in overlays over it, and in the layers of the overlay that holds it."""
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
    """Parse a line of the mount table."""
    place, _, system = line.partition(b" - ")
    device, root, point = (_plain(field) for field in place.split(b" ", 5)[2:5])
    kind, _source, options = system.split(b" ", 2)
    return _Mount(device, root, point, tuple(_layers(options)) if kind == b"overlay" else ())


def _layers(options: bytes) -> Iterator[bytes]:
    """Yield the real paths of an overlay's layers from its mount options."""
    for option in options.split(b","):
        name, _, value = option.partition(b"=")
        if name in _LAYER_OPTIONS:
            layers = (re.sub(rb"\\(.)", rb"\1", layer) for layer in _BETWEEN_LAYERS.split(_plain(value)))
            # A layer with a relative path cannot be resolved: the working directory of its mount is unknown.
            yield from (os.path.realpath(layer) for layer in layers if layer.startswith(b"/"))


def _holder(mounts: list[_Mount], directory: bytes) -> _Mount | None:
    """Return the mount that a directory is in. Of mounts over one another, only the last one is visible."""
    return max((mount for mount in reversed(mounts) if _is_in(directory, mount.point)), key=_depth, default=None)


def _inside(mount: _Mount, directory: bytes) -> bytes:
    """Return the path of a directory within the file system of its mount."""
    return _join(mount.root, directory[len(mount.point.rstrip(b"/")) :])


def _depth(mount: _Mount) -> int:
    return len(mount.point)


def _plain(field: bytes) -> bytes:
    """Decode the octal escapes of a field of the mount table."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field)


def _is_in(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def _join(root: bytes, below: bytes) -> bytes:
    return (root.rstrip(b"/") + below).rstrip(b"/") or b"/"
