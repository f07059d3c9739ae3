"""The translation of driver errors into the store's own errors, which say whether anything was written.

SQLAlchemy wraps most driver errors, but neither socket errors nor those of direct `sqlite3` calls. The codes classify
an error: SQLSTATE, or SQLite's result code. Texts change with the release and the server's language, so only one SQLite
error without a code is recognized by its text.
"""

import errno
import sqlite3
import traceback
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from artifactstore.database.cells import DamagedCell
from artifactstore.database.errors import (
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnavailable,
    NoTemporaryDirectory,
    Refused,
    StoreReadOnly,
)

__all__ = ["DRIVER_ERRORS", "is_refusal", "reason_of", "translated", "was_undone", "write_obstacle"]

DRIVER_ERRORS = (SQLAlchemyError, sqlite3.Error, OSError, UnicodeEncodeError, OverflowError, DamagedCell)
"""All errors of a database. `OSError` covers `TimeoutError`; two types report text or a number that SQL cannot hold."""

_READ_ONLY_TRANSACTION = "25006"
_LOCK_NOT_AVAILABLE = "55P03"
_CONTENT_CLASSES = {"22", "23", "54"}  # data exception, integrity constraint violation, program limit exceeded
_ASYNCPG_REFUSAL = "DataError"
_DAMAGE_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DAMAGE_STATES = {"XX001", "XX002"}  # data or an index is corrupted
_NOT_UTF8 = "Could not decode to UTF-8"
_BUSY_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNDONE_CODES = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}
_NO_TEMPORARY_CODE = sqlite3.SQLITE_IOERR_GETTEMPPATH
_CANNOT_WRITE_CODES = {sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_WRITE}
_CANNOT_WRITE_KINDS = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY}
_CANNOT_WRITE_ERRNOS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
_FULL_CODES = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_WRITE}
_INPUT_OUTPUT = "SQLITE_IOERR"
_PRIMARY_CODE = 0xFF
_SERVER_CONTINUES = "ERROR"


@contextmanager
def translated(database: str) -> Generator[None]:
    """Translate driver errors in the block to the errors below.

    Each of them says that nothing was written, so the block must not commit.

    Args:
        database: name of the database in the errors.

    Raises:
        Refused: a constraint or a value was at fault.
        DatabaseBusy: no lock or no connection was free in time.
        DatabaseDamaged: stored data cannot be read.
        StoreReadOnly: the database can only be read.
        NoTemporaryDirectory: SQLite found no directory for a temporary table.
        DatabaseUnavailable: any other error.
    """
    try:
        yield
    except DRIVER_ERRORS as error:
        _clear_frames(error)
        reason = reason_of(error)
        if is_refusal(error):
            raise Refused(reason) from error
        if _is_damage(error):
            raise DatabaseDamaged(database, reason) from error
        if isinstance(error, PoolTimeout):
            raise DatabaseBusy(database, "all of its connections were in use for too long") from error
        if _is_busy(error):
            raise DatabaseBusy(database, f"another process held its lock for too long ({reason})") from error
        if _is_read_only(error):
            raise StoreReadOnly(database, f"database {database} takes no changes ({reason})") from error
        if _code(error) == _NO_TEMPORARY_CODE:
            raise NoTemporaryDirectory from error
        raise DatabaseUnavailable(database, reason) from error


def _clear_frames(error: BaseException | None) -> None:
    """Clear the local variables of an error's frames, since a cursor among them would keep SQLite's locks.

    A caller may keep an error for a long time, as a supervisor does. The traceback keeps its line numbers.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def is_refusal(error: BaseException) -> bool:
    """Return whether the database refused a value, as opposed to a failure of the database."""
    if isinstance(error, IntegrityError | DataError | UnicodeEncodeError | OverflowError):
        return True
    # asyncpg checks some values before it sends them; its error has no SQLSTATE.
    refused_by_driver = type(_original(error).__cause__).__name__ == _ASYNCPG_REFUSAL
    return refused_by_driver or _sqlstate(error)[:2] in _CONTENT_CLASSES


def was_undone(error: BaseException) -> bool:
    """Return whether a COMMIT that failed with this error has certainly rolled back its transaction.

    PostgreSQL has rolled back if the severity is ERROR; a FATAL error can follow the commit. SQLite commits by the last
    frame of its write-ahead log. A frame that was not written is no commit, but a frame that was written and not synced
    may be read after a crash.
    """
    cause = _original(error)
    if isinstance(cause, sqlite3.Error):
        return _code(error) in _UNDONE_CODES or is_refusal(error)
    return getattr(cause.__cause__, "severity_en", None) == _SERVER_CONTINUES


def reason_of(error: BaseException) -> str:
    """Return the driver's message in one line, without the statement and parameters that SQLAlchemy adds."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    cause = _original(error)
    if isinstance(cause, OSError) and cause.filename is not None:
        return f"{cause.filename}: {cause.strerror}"
    name = getattr(cause, "sqlite_errorname", "")
    which = f" ({name})" if name.startswith(_INPUT_OUTPUT) else ""  # all I/O errors of SQLite have the same message
    return (" ".join(str(cause).split()) or type(cause).__name__) + which


def write_obstacle(error: BaseException) -> str | None:
    """Return why a database that may still be readable cannot be written; None for any other error."""
    if isinstance(error, OSError):
        told = error.errno in _CANNOT_WRITE_ERRNOS
        return f"{error.filename or 'a file'} cannot be written ({error.strerror})" if told else None
    code = _code(error)
    if code in _FULL_CODES:
        return f"there is no room on its disk ({reason_of(error)})"
    told = code in _CANNOT_WRITE_CODES or code & _PRIMARY_CODE in _CANNOT_WRITE_KINDS
    return f"its files cannot be written ({reason_of(error)})" if told else None


def _original(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _sqlstate(error: BaseException) -> str:
    return getattr(_original(error), "sqlstate", None) or ""


def _is_damage(error: BaseException) -> bool:
    cause = _original(error)
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        # The errors that `sqlite3` itself raises have no code; only the text identifies this one.
        return str(cause).startswith(_NOT_UTF8) if code is None else code & _PRIMARY_CODE in _DAMAGE_CODES
    return isinstance(cause, DamagedCell) or _sqlstate(error) in _DAMAGE_STATES


def _is_busy(error: BaseException) -> bool:
    return _code(error) & _PRIMARY_CODE in _BUSY_CODES or _sqlstate(error) == _LOCK_NOT_AVAILABLE


def _is_read_only(error: BaseException) -> bool:
    return _code(error) & _PRIMARY_CODE == sqlite3.SQLITE_READONLY or _sqlstate(error) == _READ_ONLY_TRANSACTION


def _code(error: BaseException) -> int:
    """Return SQLite's extended result code; 0 if there is none, as in errors that `sqlite3` itself raises."""
    return getattr(_original(error), "sqlite_errorcode", 0)
