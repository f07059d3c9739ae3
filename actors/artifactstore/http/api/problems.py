"""The errors of the API as problem details (RFC 9457), each with a stable code that a client can compare.

A problem of the server itself says no more than its code: its message can name files and databases, and is for the log.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from artifactstore.database.errors import OutcomeUnknown
from artifactstore.http.api.statuses import status_of
from artifactstore.json_output import Json, json_text, to_json
from artifactstore_protocols.error_codes import code_of
from artifactstore_protocols.supervision import AskError, Refusal

__all__ = ["INTERNAL_DETAIL", "NO_DETAILS", "PROBLEM_MEMBERS", "Problem", "problem_of"]

PROBLEM_MEMBERS: Final = ("type", "title", "status", "code", "detail")
"""The members of every problem, in their order."""

NO_DETAILS: Final[Mapping[str, Json]] = {}

_AGAIN_AFTER_S: Final = "5"
_TYPE: Final = "urn:artifactstore:problem:"
INTERNAL_DETAIL: Final = "The service failed on this request; its log has the reason."
_DETAILS: Final = {
    HTTPStatus.SERVICE_UNAVAILABLE: "The service cannot answer this now; ask again later.",
    HTTPStatus.INSUFFICIENT_STORAGE: "The store has no room left; ask again when it has.",
}
_UNKNOWN_DETAIL: Final = (
    "The service does not know whether this has taken effect. Look before you ask again, or ask with the same "
    "Idempotency-Key."
)
_READING: Final = frozenset({"GET", "HEAD"})


class Problem(Exception):
    """The API answers a request with an error.

    Attributes:
        status: the HTTP status, which is one that HTTP itself has a name for, unless a protocol adds one.
        code: the stable code.
        detail: what is wrong, and what to do.
        headers: further headers of the answer.
        details: the fields of the library's error, which its message shows too; empty if it has none.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Json] = NO_DETAILS,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.details = status, code, detail, details
        self.headers = dict(headers or {})
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.headers.setdefault("Retry-After", _AGAIN_AFTER_S)

    @property
    def title(self) -> str:
        """The code in words."""
        return self.code.replace("_", " ").capitalize()

    @property
    def body(self) -> bytes:
        """The problem as JSON."""
        values = (f"{_TYPE}{self.code}", self.title, int(self.status), self.code, self.detail)
        members: dict[str, Json] = dict(zip(PROBLEM_MEMBERS, values, strict=True))
        if self.details:
            members["details"] = self.details
        return f"{json_text(members)}\n".encode()


def problem_of(error: Refusal, method: str = "GET") -> Problem:
    """Return the problem for an error of the library, in the answer to a request with this method."""
    status, code = status_of(type(error)), code_of(type(error).__name__)
    unknown = isinstance(error, AskError) and error.may_have_taken_effect
    if method not in _READING and (unknown or isinstance(error, OutcomeUnknown)):
        return Problem(status, code, _UNKNOWN_DETAIL)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Problem(status, code, _DETAILS.get(status, INTERNAL_DETAIL))
    return Problem(status, code, str(error), details={name: to_json(value) for name, value in error.fields().items()})
