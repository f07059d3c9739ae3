"""The errors of the API as problem details (RFC 9457), each with a stable code that a client can compare.

A problem of the server itself says no more than its code: its message can name files and databases, and is for the log.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from artifactstore.database.errors import DatabaseDamaged, DatabaseUnavailable
from artifactstore.errors import (
    AmbiguousPackage,
    AskError,
    ContentPurged,
    DatabaseClosed,
    FileNotInPackage,
    IdempotencyConflict,
    InvalidValue,
    LinkLeadsNowhere,
    LinksLeadOut,
    MailboxFull,
    ManifestRedacted,
    NotAFile,
    NotFinalized,
    NoThreadLeft,
    PackageBusy,
    PackageChanged,
    PackageExists,
    PackageFinalizedAlready,
    PackageGone,
    PackageKept,
    PackageNotFound,
    PathConflict,
    PathRefused,
    PathsNotInPackage,
    PathTaken,
    RangeRefused,
    Refusal,
    StorageFull,
    StoreClosed,
    TagNotFound,
    TagProtected,
    TooManyFiles,
)
from artifactstore.json_output import Json, json_text, to_json
from artifactstore_protocols.error_codes import code_of
from artifactstore_protocols.tokens import TokenInvalid

__all__ = ["INTERNAL_DETAIL", "NO_DETAILS", "PROBLEM_MEMBERS", "Problem", "problem_of"]

PROBLEM_MEMBERS: Final = ("type", "title", "status", "code", "detail")
"""The members of every problem, in their order."""

NO_DETAILS: Final[Mapping[str, Json]] = {}

_AGAIN_AFTER_S: Final = "5"
_TYPE: Final = "urn:artifactstore:problem:"
_NOT_FOUND, _CONFLICT, _BAD = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.BAD_REQUEST
_STATUSES: Final[Mapping[type[Exception], HTTPStatus]] = {
    InvalidValue: _BAD,
    PathRefused: _BAD,
    TokenInvalid: HTTPStatus.UNAUTHORIZED,
    PackageNotFound: _NOT_FOUND,
    TagNotFound: _NOT_FOUND,
    FileNotInPackage: _NOT_FOUND,
    LinkLeadsNowhere: _NOT_FOUND,
    PathsNotInPackage: _NOT_FOUND,
    LinksLeadOut: _CONFLICT,
    NotAFile: _CONFLICT,
    AmbiguousPackage: _CONFLICT,
    IdempotencyConflict: _CONFLICT,
    NotFinalized: _CONFLICT,
    PackageBusy: _CONFLICT,
    PackageChanged: _CONFLICT,
    PackageExists: _CONFLICT,
    PackageFinalizedAlready: _CONFLICT,
    PackageKept: _CONFLICT,
    PathConflict: _CONFLICT,
    PathTaken: _CONFLICT,
    TagProtected: _CONFLICT,
    TooManyFiles: _CONFLICT,
    PackageGone: HTTPStatus.GONE,
    ContentPurged: HTTPStatus.GONE,
    ManifestRedacted: HTTPStatus.GONE,
    RangeRefused: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    AskError: HTTPStatus.SERVICE_UNAVAILABLE,
    DatabaseClosed: HTTPStatus.SERVICE_UNAVAILABLE,
    MailboxFull: HTTPStatus.SERVICE_UNAVAILABLE,
    NoThreadLeft: HTTPStatus.SERVICE_UNAVAILABLE,
    DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    DatabaseDamaged: HTTPStatus.INTERNAL_SERVER_ERROR,
    StoreClosed: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
}
INTERNAL_DETAIL: Final = "The service failed on this request; its log has the reason."
_LATER_DETAIL = "The service cannot answer this now; ask again later."


class Problem(Exception):
    """The API answers a request with an error.

    Attributes:
        status: the HTTP status.
        code: the stable code.
        detail: what is wrong, and what to do.
        headers: further headers of the answer.
        details: the fields of the library's error, which its message shows too; empty if it has none.
    """

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Json] = NO_DETAILS,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.details = status, code, detail, details
        self.headers = dict(headers or {})
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self.headers.setdefault("Retry-After", _AGAIN_AFTER_S)

    @property
    def body(self) -> bytes:
        """The problem as JSON."""
        title = self.code.replace("_", " ").capitalize()
        values = (f"{_TYPE}{self.code}", title, self.status.value, self.code, self.detail)
        members: dict[str, Json] = dict(zip(PROBLEM_MEMBERS, values, strict=True))
        if self.details:
            members["details"] = self.details
        return f"{json_text(members)}\n".encode()


def problem_of(error: Refusal) -> Problem:
    """Return the problem for an error of the library."""
    status = next(
        (_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), HTTPStatus.INTERNAL_SERVER_ERROR
    )
    code = code_of(type(error).__name__)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Problem(status, code, INTERNAL_DETAIL if status is HTTPStatus.INTERNAL_SERVER_ERROR else _LATER_DETAIL)
    return Problem(status, code, str(error), details={name: to_json(value) for name, value in error.fields().items()})
