"""Packages as a file system of fsspec, read-only: `artifactstore://PACKAGE/PATH`.

pandas, pyarrow and other libraries that use fsspec read packages by these URLs, without an export. This module needs
fsspec: install `artifactstore-actors[fsspec]`. Nothing else in artifactstore imports it.

PACKAGE is any text that names a package, such as `nightly`, `nightly@{1}` or `tag:release-4`. Each `/`, `%`, `*`, `?`
and `[` in it is written as `%2F`, `%25`, `%2A`, `%3F` and `%5B`. PATH is written as it is.
"""

import errno
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from io import RawIOBase
from pathlib import Path
from typing import Any, ClassVar, Final, override
from urllib.parse import quote, unquote

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from artifactstore.config import Settings
from artifactstore.package_paths import BlockingPackagePath, PathStat
from artifactstore.refusals import FileNotInPackage, LinkLeadsNowhere, NotAFile
from artifactstore.shared_stores import SharedStore, close_shared_stores, shared_store, whole_places
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.records import PackageRecord

__all__ = ["ArtifactStoreFile", "ArtifactStoreFileSystem", "ReadOnlyFileSystem", "package_url"]

type Info = dict[str, Any]

_PLAIN_IN_PACKAGE: Final = "@:{}+ "


def package_url(package: str, path: str = "") -> str:
    """Return the URL of a package, or of a path in it.

    Args:
        package: any text that names a package.
        path: a path in the package.
    """
    return f"artifactstore://{quote(package, safe=_PLAIN_IN_PACKAGE)}/{path}".rstrip("/")


class ReadOnlyFileSystem(OSError):
    """The file system only reads packages."""

    def __init__(self, path: str) -> None:
        reason = "fsspec only reads packages; write a directory with `artifactstore ingest` or Registry.ingest_tree"
        super().__init__(errno.EROFS, reason, path)


class ArtifactStoreFileSystem(AbstractFileSystem):
    """The packages of a store, as fsspec sees them.

    All instances of a process that name the same store share it, in any thread. It opens at the first use and stays
    open until `close` or `clear_instance_cache`. A text that names a package means the same until `invalidate_cache`.

    Symbolic links are followed inside the package. In a listing, a link to a directory has the type `other`, so that
    walks end; so has a link that leads to nothing.

    Args:
        store: the directory of the store, as `--store` names it.
        database_url: the database's URL, together with `storage_local_root`, in place of `store`.
        storage_local_root: the directory of the objects.
        storage_options: options of fsspec. Without a store, the settings are found as the command line finds them.

    Raises:
        InvalidValue: a setting is invalid.
    """

    protocol: ClassVar[str] = "artifactstore"
    root_marker: ClassVar[str] = ""

    def __init__(
        self,
        store: str | os.PathLike[str] | None = None,
        database_url: str | None = None,
        storage_local_root: str | os.PathLike[str] | None = None,
        **storage_options: object,
    ) -> None:
        super().__init__(**storage_options)
        if (database_url is None) != (storage_local_root is None) or (store is not None and database_url is not None):
            raise InvalidValue(
                "storage options", "store", "give the store, or both database_url and storage_local_root, or nothing"
            )
        if database_url is not None and storage_local_root is not None:
            settings = Settings(database_url=database_url, storage_local_root=Path(storage_local_root))
        else:
            settings = Settings.load(store=None if store is None else os.fspath(store))
        self._settings = whole_places(settings)

    @property
    def shared(self) -> SharedStore:
        """The store, which all instances of this process share."""
        return shared_store(self._settings)

    def close(self) -> None:
        """Close the store, for all instances of this process. Its next use opens it again."""
        self.shared.close()

    @classmethod
    @override
    def clear_instance_cache(cls) -> None:
        """Forget all instances, and close all stores that fsspec has opened in this process."""
        super().clear_instance_cache()
        close_shared_stores()

    @override
    def invalidate_cache(self, path: str | None = None) -> None:
        """Look up every package again when it is used next."""
        super().invalidate_cache(path)
        self.shared.forget()

    @override
    def info(self, path: str, **kwargs: Any) -> Info:
        """Return what a path leads to: `name`, `size`, `type`, `islink`, and of a file its digests and media type."""
        path = self._strip_protocol(path)
        found = self._path(path)
        with _errors_of_os(path):
            stat = found.stat()
        return _info(path, found, stat, stat.kind)

    @override
    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Return what a directory contains, or the file itself."""
        path = self._strip_protocol(path)
        found = self._path(path)
        with _errors_of_os(path):
            stat = found.stat()
        if stat.kind != "directory":
            return [_info(path, found, stat, stat.kind)] if detail else [path]
        if not detail:
            return [f"{path}/{each.name}" for each in found.iterdir()]
        return [_listed(f"{path}/{each.name}", each) for each in found.iterdir()]

    @override
    def exists(self, path: str, **kwargs: Any) -> bool:
        """Return whether a path leads to something. A store that cannot be opened raises its error."""
        try:
            self.info(path)
        except OSError:
            return False
        return True

    @override
    def lexists(self, path: str, **kwargs: Any) -> bool:
        """Return whether there is something at a path, also a link that leads to nothing."""
        path = self._strip_protocol(path)
        try:
            with _errors_of_os(path):
                self._path(path).stat(follow_symlinks=False)
        except OSError:
            return False
        return True

    @override
    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Return the bytes of a file, or a range of them given like a slice; see `ArtifactStoreFile`."""
        with self.raw_file(path) as file:
            return self._slice_of(file, start, end)

    @override
    def cat_ranges(
        self,
        paths: list[str],
        starts: int | list[int | None] | None,
        ends: int | list[int | None] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Return ranges of files. A file whose ranges follow each other in the list is opened once."""
        all_starts = starts if isinstance(starts, list) else [starts] * len(paths)
        all_ends = ends if isinstance(ends, list) else [ends] * len(paths)
        found: list[bytes | Exception] = []
        with ExitStack() as stack:
            opened: tuple[str, RawIOBase] | None = None
            for path, start, end in zip(paths, all_starts, all_ends, strict=True):
                try:
                    if opened is None or opened[0] != path:
                        stack.close()
                        opened = None
                        opened = path, stack.enter_context(self.raw_file(path))
                    found.append(self._slice_of(opened[1], start, end))
                except Exception as error:
                    if on_error != "return":
                        raise
                    found.append(error)
        return found

    def _slice_of(self, file: RawIOBase, start: int | None, end: int | None) -> bytes:
        size_bytes = file.seek(0, os.SEEK_END)
        first, after, _ = slice(start, end).indices(size_bytes)
        return self.read_range(file, first, after)

    def read_range(self, file: RawIOBase, start: int, end: int) -> bytes:
        """Return the bytes of an open file from one position to another."""
        file.seek(start)
        return self.shared.run(lambda: file.read(max(0, end - start)) or b"")

    def raw_file(self, path: str) -> RawIOBase:
        """Open a file without a buffer.

        Raises:
            OSError: the path leads to nothing, or to a directory.
        """
        path = self._strip_protocol(path)
        found = self._path(path)
        with _errors_of_os(path):
            return found.open().detach()

    @override
    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> "ArtifactStoreFile":
        if mode != "rb":
            raise ReadOnlyFileSystem(path)
        return ArtifactStoreFile(self, path, mode, block_size, autocommit, cache_options=cache_options, **kwargs)

    @override
    def ukey(self, path: str) -> str:
        """Return a text that identifies what is at a path: of a file the digest of its bytes."""
        info = self.info(path)
        if info["type"] == "file":
            return str(info["content_address"])
        package, inside = self._parts(self._strip_protocol(path))
        return f"sha256:{sha256(f'{self.shared.package(package).package_id}/{inside}'.encode()).hexdigest()}"

    @override
    def checksum(self, path: str) -> int:
        """Return `ukey` as a number."""
        return int(self.ukey(path).rpartition(":")[2], 16)

    @override
    def created(self, path: str) -> datetime:
        """Return when the package was created."""
        return self._moment(path, lambda record: record.created_at_us)

    @override
    def modified(self, path: str) -> datetime:
        """Return when the package was finalized; of an open package, when it was created."""
        return self._moment(path, lambda record: record.finalized_at_us or record.created_at_us)

    def _moment(self, path: str, moment_us: Callable[[PackageRecord], int]) -> datetime:
        path = self._strip_protocol(path)
        self.info(path)
        return datetime.fromtimestamp(moment_us(self.shared.package(self._parts(path)[0]).record) / 1_000_000, UTC)

    def _parts(self, path: str) -> tuple[str, str]:
        """Return the text that names the package, and the path in it."""
        package, _, inside = path.partition("/")
        if not package:
            raise InvalidValue("URL", f"artifactstore://{path}"[:80], "name a package: artifactstore://PACKAGE/PATH")
        return unquote(package), inside.lstrip("/")

    def _path(self, path: str) -> BlockingPackagePath:
        package, inside = self._parts(path)
        with _errors_of_os(path):
            return self.shared.package(package).path(inside)

    def _refuse(self, *args: object, **_: object) -> None:
        raise ReadOnlyFileSystem(str(args[0]) if args else "")

    # What fsspec's own classes do by opening a file for writing is refused by `_open`.
    mkdir = makedirs = rmdir = rm = rm_file = _rm = cp_file = copy = mv = touch = put_file = put = pipe_file = _refuse


class ArtifactStoreFile(AbstractBufferedFile):
    """An open file of a package, with a buffer of fsspec. One thread at a time reads it.

    Every byte of a file of up to 8 MiB is compared with its digest; the file stays in memory until it is closed. A
    larger file is compared when it is read from its beginning to its end without a jump. Other ranges are not compared.
    """

    def __init__(self, fs: ArtifactStoreFileSystem, path: str, *args: object, **kwargs: object) -> None:
        self._raw = fs.raw_file(path)
        super().__init__(fs, path, *args, **kwargs)

    @override
    def _fetch_range(self, start: int, end: int) -> bytes:
        fs: ArtifactStoreFileSystem = self.fs
        return fs.read_range(self._raw, start, end)

    @override
    def close(self) -> None:
        super().close()
        if hasattr(self, "_raw"):  # the garbage collector also closes a file that could not be opened
            self._raw.close()


def _info(path: str, found: BlockingPackagePath, stat: PathStat, kind: str) -> Info:
    info: Info = {"name": path, "size": stat.size_bytes, "type": kind, "islink": found.is_symlink()}
    if info["islink"]:
        info["destination"] = found.readlink()
    if stat.kind == "file":
        info |= {name: getattr(stat, name) for name in ("executable", "media_type", "content_address", "sha256")}
    return info


def _listed(path: str, found: BlockingPackagePath) -> Info:
    """Return the information on an item of a directory."""
    try:
        stat = found.stat()
    except LinkLeadsNowhere:
        return _info(path, found, PathStat("link"), "other")
    is_link_to_directory = stat.kind == "directory" and found.is_symlink()
    return _info(path, found, stat, "other" if is_link_to_directory else stat.kind)


@contextmanager
def _errors_of_os(path: str) -> Generator[None]:
    """Raise what callers of file systems expect in place of the library's own errors."""
    try:
        yield
    except NotAFile as error:
        raise IsADirectoryError(errno.EISDIR, str(error), path) from error
    except (FileNotInPackage, PackageNotFound) as error:
        raise FileNotFoundError(errno.ENOENT, str(error), path) from error
    except LinkLeadsNowhere as error:
        code = errno.ELOOP if error.is_loop else errno.ENOENT
        raise OSError(code, str(error), path) from error  # OSError makes a FileNotFoundError of ENOENT
