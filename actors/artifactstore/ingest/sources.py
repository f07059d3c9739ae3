"""The sources of an ingest, read as one tree: directories, files, archives and pipes, below one prefix."""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

from artifactstore.dataplane.source import change_of
from artifactstore.ingest.link_judging import refused_links
from artifactstore.ingest.links import reason
from artifactstore.ingest.open_files import FileAt, SharedSpool
from artifactstore.ingest.own_files import OwnFiles
from artifactstore.ingest.refusals import (
    REFUSED_MAX,
    EntriesRefused,
    PathUnusable,
    RefusedEntry,
    SourceInsideStore,
    TreeTooLarge,
)
from artifactstore.ingest.scan import Scan, ScannedFile, scan_directory, stamp_of
from artifactstore.ingest.stripping import stripped
from artifactstore.open_files import OpenFile
from artifactstore.os_paths import path_bytes, path_text
from artifactstore_protocols.dataplane import FileSource, Piece
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.manifest import check_tree
from artifactstore_protocols.paths import PathRefused, check_path, listed_paths, tree_order
from artifactstore_protocols.sources import Source, SourceTree
from artifactstore_protocols.storage import HeldFile

__all__ = ["Gathered", "check_sources", "default_name", "gather"]

_SUFFIX: Final = re.compile(r"(?<=.)\.(?:tar(?:\.(?:gz|bz2|xz))?|tgz|tbz2|txz|zip)\Z", re.IGNORECASE)

type _Tell = Callable[[int, int], None]


class Gathered(NamedTuple):
    """The tree that sources are together.

    Attributes:
        scan: its entries.
        source_of: returns where the content of one of its files is.
        cached_as: the name of the files cache for these sources; None if no file has a stamp.
    """

    scan: Scan
    source_of: Callable[[ScannedFile], FileSource]
    cached_as: str | None


class _Limits(NamedTuple):
    files_max: int
    own: OwnFiles | None
    check_cancelled: Callable[[], None]
    tell: _Tell
    spool: SharedSpool


def gather(
    tree: SourceTree,
    *,
    files_max: int,
    own: OwnFiles | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
    tell: _Tell = lambda _files, _bytes: None,
) -> Gathered:
    """Read what an ingest needs to know of its sources. Blocks.

    The arguments are those of `scan_directory`.

    Raises:
        PathUnusable: a source is neither a file nor a directory, or cannot be read.
        ArchiveRefused: an archive is damaged, incomplete, too large when it is unpacked, or of an unknown form.
        PathRefused: two sources have entries that a package cannot hold together.
        TreeTooLarge: the sources have too many entries together.
        InvalidValue: without their first names, paths are empty or collide, or links lead out.
        Exception: the errors of `scan_directory`.
    """
    with ExitStack() as stack:
        found = _gather(tree, _Limits(files_max, own, check_cancelled, tell, SharedSpool(stack)))
    if not tree.strip_components:
        return found
    return found._replace(scan=stripped(found.scan, tree.prefix, tree.strip_components))


def _gather(tree: SourceTree, limits: _Limits) -> Gathered:
    if len(tree.sources) == 1:
        return _one(tree.sources[0], tree, limits, several=False)
    files_max = limits.files_max
    ones: list[Gathered] = []
    refused: list[RefusedEntry] = []
    left, files, size_bytes = files_max, 0, 0

    def tell_all(more: int, bigger: int) -> None:
        limits.tell(files + more, size_bytes + bigger)

    for source in tree.sources:
        try:
            one = _one(source, tree, limits._replace(files_max=left, tell=tell_all), several=True)
        except EntriesRefused as error:
            refused += error.entries
            continue
        except TreeTooLarge as error:
            if error.limit != left or left == files_max:
                raise
            raise _too_large(source, files_max) from error
        ones.append(one)
        left -= len(one.scan.files) + len(one.scan.links) + len(one.scan.directories)
        if left < 0:
            raise _too_large(source, files_max)
        files += len(one.scan.files)
        size_bytes += sum(file.size_bytes for file in one.scan.files)
    if refused:
        raise EntriesRefused(_names_of(tree), tuple(refused[:REFUSED_MAX]))
    return _together(tree, ones)


def _too_large(source: Source, files_max: int) -> TreeTooLarge:
    return TreeTooLarge(source.path, files_max, "entries together with the sources before it", "split the ingest")


def _names_of(tree: SourceTree) -> str:
    return listed_paths([source.path for source in tree.sources])


def check_sources(sources: Sequence[Source]) -> None:
    """Reject sources that no ingest can read. Blocks.

    Raises:
        PathUnusable: a source is neither a file nor a directory, or cannot be found.
        EntriesRefused: a package cannot hold a file with the name that an open file or pipe has.
    """
    for source in sources:
        if source.descriptor is None:
            _found(source)
        elif not source.unpack:
            _checked(source, source.path)


def default_name(sources: Sequence[Source]) -> str:
    """Return the name that a package of these sources has by default. Blocks.

    Raises:
        InvalidValue: there are several sources, or it is an archive from stdin.
        PathUnusable: the source is neither a file nor a directory, or cannot be read.
    """
    if len(sources) > 1:
        raise InvalidValue("package name", "", "several sources have no name in common")
    [source] = sources
    if source.descriptor is not None:
        if source.unpack and source.path == "-":
            raise InvalidValue("package name", "", "stdin has none")
        return _SUFFIX.sub("", _last(source.path)) if source.unpack else _last(source.path)
    real, found = _found(source)
    if source.unpack and stat.S_ISREG(found.st_mode):
        return _SUFFIX.sub("", _last(source.path))
    return path_text(os.path.basename(real)) if stat.S_ISDIR(found.st_mode) else _last(source.path)  # noqa: PTH119 - bytes


def _one(source: Source, tree: SourceTree, limits: _Limits, *, several: bool) -> Gathered:
    prefix = f"{tree.prefix}/" if tree.prefix else ""
    if source.descriptor is not None:
        if source.unpack:
            return _archive(source, source.descriptor, None, tree, limits)
        from artifactstore.ingest.archives.reading import everything_in  # noqa: PLC0415 - few ingests need it

        return _of_piece(source, prefix, everything_in(source.descriptor, source.path, limits.check_cancelled))
    real, found = _found(source)
    name = path_text(os.path.basename(real))  # noqa: PTH119 - bytes
    if stat.S_ISDIR(found.st_mode):
        below = f"{prefix}{name}/" if several else prefix
        scan = scan_directory(
            source.path,
            files_max=limits.files_max,
            prefix=below,
            root_prefix=prefix if several else None,
            links=tree.links,
            selection=tree.selection,
            skip_unreadable=tree.skip_unreadable,
            own=limits.own,
            check_cancelled=limits.check_cancelled,
            tell=limits.tell,
        )
        scan = _with_root(scan, source, below.removesuffix("/"))
        return Gathered(scan, partial(_below, scan.root), scan.root)
    if limits.own is not None and limits.own.hold(real):
        raise SourceInsideStore(source.path)
    if source.unpack:
        return _opened(source, real, tree, limits)
    path = _checked(source, f"{prefix}{_last(source.path)}")
    root = path_text(os.path.dirname(real))  # noqa: PTH120 - bytes
    if not os.access(real, os.R_OK, effective_ids=True):
        if not tree.skip_unreadable:
            entry = RefusedEntry(path, "unreadable", "cannot be read: Permission denied")
            raise EntriesRefused(source.path, (entry,))
        return Gathered(Scan(root, (), (), (), (), (path,)), partial(_below, root), path_text(real))
    file = ScannedFile(path, name, bool(found.st_mode & stat.S_IXUSR), found.st_size, stamp_of(found))
    scan = Scan(root, (file,), (), (), ())
    return Gathered(scan, partial(_below, root), path_text(real))


def _with_root(scan: Scan, source: Source, root: str) -> Scan:
    """Return a scan with its root as an empty directory, if it has one in the package and nothing is in it."""
    if not root or scan.files or scan.links or scan.directories or scan.excluded or scan.unreadable:
        return scan
    return scan._replace(directories=(_checked(source, root),))


def _opened(source: Source, real: bytes, tree: SourceTree, limits: _Limits) -> Gathered:
    """Read an archive at a path."""
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise PathUnusable(source.path, reason(error)) from error
    try:
        return _archive(source, descriptor, real, tree, limits)
    finally:
        os.close(descriptor)


def _archive(source: Source, descriptor: int, real: bytes | None, tree: SourceTree, limits: _Limits) -> Gathered:
    """Read an open archive. Its contents can be read as long as the result exists.

    One at a path is closed and opened again to be read, and all of them unpack to one file: a process may open few.
    """
    from artifactstore.ingest.archives import open_archive  # noqa: PLC0415 - it loads five unpackers

    with ExitStack() as stack:
        try:
            opened = stack.enter_context(
                open_archive(
                    descriptor,
                    source.path,
                    files_max=limits.files_max,
                    links=tree.links,
                    selection=tree.selection,
                    prefix=tree.prefix,
                    spool=limits.spool.get,
                    check_cancelled=limits.check_cancelled,
                    tell=limits.tell,
                )
            )
            opened.check_unchanged()
            scan = _with_root(opened.scan, source, tree.prefix)
            if limits.spool.holds(opened.descriptor) and limits.spool.held is not None:
                return Gathered(scan, partial(_in_spool, limits.spool.held), None)
            in_place = opened.descriptor == descriptor
            held = FileAt(real) if real is not None and in_place else OpenFile(opened.descriptor)
            return Gathered(scan, partial(_in_archive, held, change_of(os.fstat(opened.descriptor))), None)
        except OSError as error:  # such as too many open files
            raise PathUnusable(source.path, reason(error)) from error


def _in_spool(held: OpenFile, file: ScannedFile) -> FileSource:
    with held.opened() as descriptor:  # later archives have been unpacked to it as well, and nobody else writes to it
        return _in_archive(held, change_of(os.fstat(descriptor)), file)


def _in_archive(held: HeldFile, change: tuple[int, int, int], file: ScannedFile) -> FileSource:
    return FileSource(file.path, piece=Piece(held, int(file.source), file.size_bytes, change))


def _below(root: str, file: ScannedFile) -> FileSource:
    return FileSource(file.source, root)


def _found(source: Source) -> tuple[bytes, os.stat_result]:
    """Return the real path of a source that is a file or a directory, and its status."""
    try:
        real = os.path.realpath(path_bytes(source.path), strict=True)
        found = os.stat(real)  # noqa: PTH116 - bytes
    except (OSError, ValueError, RecursionError) as error:  # also for a NUL, a surrogate, or a chain of 1,000 links
        raise PathUnusable(source.path, reason(error)) from error
    if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
        raise PathUnusable(source.path, "it is neither a file nor a directory; give a pipe as '-'")
    return real, found


def _of_piece(source: Source, prefix: str, piece: Piece) -> Gathered:
    path = _checked(source, f"{prefix}{source.path}")
    file = ScannedFile(path, path, executable=False, size_bytes=piece.size_bytes, stamp=b"")

    def source_of(_file: ScannedFile) -> FileSource:
        return FileSource(path, piece=piece)

    return Gathered(Scan("", (file,), (), (), ()), source_of, None)


def _checked(source: Source, path: str) -> str:
    try:
        return check_path(path)
    except PathRefused as refused:
        entry = RefusedEntry(path, "name", f"is no path of a package: {refused.reason}")
        raise EntriesRefused(source.path, (entry,)) from refused


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _together(tree: SourceTree, ones: Sequence[Gathered]) -> Gathered:
    """Return the scans of several sources as one. A file's source begins with the number of its own source."""
    files = [
        file._replace(source=f"{number}/{file.source}") for number, one in enumerate(ones) for file in one.scan.files
    ]
    links = dict(sorted((link for one in ones for link in one.scan.links), key=lambda link: tree_order(link[0])))
    directories = sorted((path for one in ones for path in one.scan.directories), key=tree_order)
    files.sort(key=lambda file: tree_order(file.path))
    paths = [*(file.path for file in files), *directories]
    every = Counter(chain(paths, *([path for path, _target in one.scan.links] for one in ones)))
    if twice := [path for path, count in every.items() if count > 1]:
        advice = "rename one, or add the sources one by one: `artifactstore package add` takes --prefix and --as"
        raise PathRefused(twice[0], f"it occurs twice in the sources; {advice}")
    check_tree(every)
    if refused := refused_links(links, paths, LinkPolicy.KEEP):
        raise EntriesRefused(_names_of(tree), refused[:REFUSED_MAX])

    def source_of(file: ScannedFile) -> FileSource:
        number, _, source = file.source.partition("/")
        return ones[int(number)].source_of(file._replace(source=source))

    excluded = tuple(path for one in ones for path in one.scan.excluded)
    unreadable = tuple(path for one in ones for path in one.scan.unreadable)
    scan = Scan("", tuple(files), tuple(links.items()), tuple(directories), excluded, unreadable)
    named = [one.cached_as for one in ones if one.cached_as is not None]
    return Gathered(scan, source_of, "\0".join(named) if len(named) == len(ones) else None)
