"""The bytes and the states of uploads that are not complete, as files below the object root.

`uploads/PRINCIPAL/ID.part` has the bytes of an upload, and `ID.json` its state. PRINCIPAL is a digest. A state is
replaced as a whole, after the bytes that it counts are durable, so a crash at any time leaves a state that is true.

A lock on the part keeps two requests from writing into it, in one process or in several. A lock on the directory of a
principal keeps its uploads countable while one begins. All functions block.
"""

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from artifactstore.dataplane import translated_os_errors
from artifactstore.durable import fsync_directory, make_durable_directory
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.ids import is_id
from artifactstore_protocols.records import FileRecord
from artifactstore_protocols.resumable_uploads import (
    ResumableLimits,
    Upload,
    decode_upload,
    encode_upload,
    has_room,
    resumed,
)

__all__ = ["UPLOADS", "HeldUpload", "UploadFiles", "UploadHeld"]

UPLOADS: Final = "uploads"
"""Name of the directory, below the object root. No object key begins with it."""

_PRINCIPAL_DIGITS: Final = 32
_STATE_BYTES_MAX: Final = 1 << 20
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW


class UploadHeld(Exception):
    """Another request, of this server or of another one, is writing into the upload."""


class HeldUpload:
    """An upload whose part is locked. Only the holder changes it.

    Attributes:
        upload: its state. The part has at least as many bytes as the offset says.
    """

    def __init__(self, directory: str, upload: Upload, fd: int) -> None:
        self.upload = upload
        self._directory = directory
        self._fd = fd

    def write(self, data: bytes | bytearray, position: int) -> None:
        """Write bytes at a position."""
        left = memoryview(data)
        with _on_device("writing an upload"):
            while left:
                written = os.pwrite(self._fd, left, position)
                left, position = left[written:], position + written

    def read(self, position: int, length: int) -> bytes:
        """Return up to `length` bytes from a position on."""
        with _on_device("reading an upload"):
            return os.pread(self._fd, length, position)

    def record(self, upload: Upload) -> None:
        """Make the bytes up to the offset durable, forget those beyond, and then make the state durable.

        An offset that goes back is made durable first: a crash must leave no offset beyond the bytes.
        """
        with _on_device("recording an upload"):
            if upload.offset < self.upload.offset:
                _write_state(self._directory, upload)
            os.ftruncate(self._fd, upload.offset)
            os.fsync(self._fd)
            _write_state(self._directory, upload)
        self.upload = upload

    def complete(self, file: FileRecord, expires_at_us: int) -> None:
        """Record that the file is in its package, and remove the bytes."""
        self.upload = replace(self.upload, file=file, expires_at_us=expires_at_us)
        with _on_device("completing an upload"):
            _write_state(self._directory, self.upload)
            _unlink(_part(self._directory, self.upload.upload_id))

    def remove(self) -> None:
        """Remove the upload."""
        with _on_device("removing an upload"):
            _remove(self._directory, self.upload.upload_id)

    def close(self) -> None:
        """Give the upload back."""
        os.close(self._fd)


class UploadFiles:
    """The uploads below an object root.

    Args:
        root: the object root.
    """

    def __init__(self, root: Path) -> None:
        self._directory = root / UPLOADS

    def begin(self, upload: Upload, limits: ResumableLimits) -> bool:
        """Begin an upload durably. Return False if its principal may not have a further one.

        Raises:
            StorageError: the files cannot be written.
        """
        directory = self._of(upload.principal)
        with _on_device("beginning an upload"):
            make_durable_directory(Path(directory), None)
            return self._begin_in(directory, upload, limits)

    def _begin_in(self, directory: str, upload: Upload, limits: ResumableLimits) -> bool:
        with _locked(directory):
            if not has_room(self._states(directory), upload.length, limits):
                return False
            os.close(os.open(_part(directory, upload.upload_id), os.O_CREAT | os.O_EXCL | os.O_RDWR | _FLAGS, 0o666))
            try:
                _write_state(directory, upload)
            except OSError:
                _remove(directory, upload.upload_id)
                raise
        return True

    def find(self, principal: str, upload_id: str) -> Upload | None:
        """Return an upload of a principal; None if it has none of this id.

        Raises:
            StorageError: the state cannot be read.
        """
        if not is_id(upload_id):
            return None
        with _on_device("reading an upload"):
            return self._find_in(self._of(principal), upload_id)

    def _find_in(self, directory: str, upload_id: str) -> Upload | None:
        found = _read_state(directory, upload_id)
        if found is None or found.file is not None:
            return found
        try:
            return resumed(found, os.stat(_part(directory, upload_id)).st_size)  # noqa: PTH116 - as all paths here
        except FileNotFoundError:  # it has become complete or was removed, unless somebody removed its bytes
            found = _read_state(directory, upload_id)
            return None if found is None or found.file is None else found

    def hold(self, principal: str, upload_id: str) -> HeldUpload | None:
        """Lock an upload and return it; None if the principal has none of this id that is not complete.

        The caller closes it.

        Raises:
            UploadHeld: another request holds it.
            StorageError: the files cannot be used.
        """
        with _on_device("locking an upload"):
            return _hold(self._of(principal), upload_id) if is_id(upload_id) else None

    def forget(self, principal: str, upload_id: str) -> None:
        """Remove the state of a complete upload."""
        with _on_device("removing an upload"):
            _remove(self._of(principal), upload_id)

    def sweep(self, now_us: int) -> int:
        """Remove the uploads that have expired and what deaths have left. Return the number of expired ones.

        An upload that a request holds stays. So does the file of a complete one, which belongs to its package.

        Raises:
            StorageError: the files cannot be read or removed.
        """
        expired = 0
        with _on_device("removing expired uploads"), suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._directory)):  # noqa: PTH208 - only names are needed
                directory = f"{self._directory}/{name}"
                with suppress(NotADirectoryError), _locked(directory):  # something else may lie here
                    expired += _sweep_of(directory, now_us)
        return expired

    def _of(self, principal: str) -> str:
        return f"{self._directory}/{sha256(principal.encode()).hexdigest()[:_PRINCIPAL_DIGITS]}"

    def _states(self, directory: str) -> Iterator[Upload]:
        for upload_id in _ids(directory, ".json"):
            if (found := _read_state(directory, upload_id)) is not None:
                yield found


_on_device = partial(translated_os_errors, UPLOADS)


def _hold(directory: str, upload_id: str) -> HeldUpload | None:
    try:
        fd = os.open(_part(directory, upload_id), os.O_RDWR | _FLAGS)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UploadHeld from error
        status = os.fstat(fd)
        found = _read_state(directory, upload_id) if status.st_nlink else None
        if found is not None and found.file is None:
            held = HeldUpload(directory, resumed(found, status.st_size), fd)
            fd = -1
            return held
        return None
    finally:
        if fd >= 0:
            os.close(fd)


def _sweep_of(directory: str, now_us: int) -> int:
    """Remove the uploads of one directory that have expired, and files that no state names."""
    expired = 0
    for upload_id in _ids(directory, ".json"):
        with suppress(UploadHeld):
            held = _hold(directory, upload_id)
            try:
                found = _read_state(directory, upload_id) if held is None else held.upload
                if found is None or found.expires_at_us <= now_us:
                    _remove(directory, upload_id)
                    expired += found is not None and found.file is None
                elif held is None:
                    _unlink(_part(directory, upload_id))  # of a complete upload
            finally:
                if held is not None:
                    held.close()
    states = set(_ids(directory, ".json"))
    for ending in (".part", ".new"):
        for upload_id in set(_ids(directory, ending)) - states:
            _unlink(f"{directory}/{upload_id}{ending}")
    return expired


@contextmanager
def _locked(directory: str) -> Generator[None]:
    """Lock the directory of a principal. It stays when it is empty, since its name may be in use again soon."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _ids(directory: str, ending: str) -> list[str]:
    names = os.listdir(directory)  # noqa: PTH208 - only names are needed
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending))


def _part(directory: str, upload_id: str) -> str:
    return f"{directory}/{upload_id}.part"


def _read_state(directory: str, upload_id: str) -> Upload | None:
    try:
        with open(f"{directory}/{upload_id}.json", "rb") as file:  # noqa: PTH123 - plain strings in this module
            return decode_upload(file.read(_STATE_BYTES_MAX))
    except (FileNotFoundError, InvalidValue):  # what cannot be read is no upload, and the next sweep removes it
        return None


def _write_state(directory: str, upload: Upload) -> None:
    path = f"{directory}/{upload.upload_id}"
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o666)
    try:
        left = memoryview(encode_upload(upload))
        while left:
            left = left[os.write(fd, left) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(f"{path}.new", f"{path}.json")  # noqa: PTH104 - plain strings in this module
    fsync_directory(directory)


def _remove(directory: str, upload_id: str) -> None:
    for ending in (".json", ".part", ".new"):  # without its state, an upload is not there
        _unlink(f"{directory}/{upload_id}{ending}")


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - plain strings in this module
