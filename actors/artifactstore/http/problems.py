"""Error responses as JSON problem details (RFC 9457). They expose no internals of the service."""

from http import HTTPStatus

from quart import Response
from werkzeug.exceptions import HTTPException

from artifactstore.json_output import json_text

__all__ = ["PROBLEM_TYPE", "problem", "problem_body", "problem_of"]

PROBLEM_TYPE = "application/problem+json"

_DETAILS = {
    HTTPStatus.NOT_FOUND: "There is nothing at this path; / lists what there is.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This service is read-only: use GET or HEAD.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The service failed on this request; its log has the reason.",
}
# The names of RFC 9110. Python 3.12 has older ones.
_TITLES = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Content Too Large", HTTPStatus.REQUEST_URI_TOO_LONG: "URI Too Long"}


def problem_body(status: HTTPStatus, detail: str = "") -> bytes:
    """Return the body of a problem of type `about:blank`. Its title is the status phrase (RFC 9457 section 4.2.1)."""
    body = {
        "type": "about:blank",
        "title": _TITLES.get(status, status.phrase),
        "status": status.value,
        "detail": detail or _DETAILS.get(status, status.description),
    }
    return f"{json_text(body)}\n".encode()


def problem(status: HTTPStatus, detail: str = "") -> Response:
    """Return a response with the body of `problem_body`."""
    return Response(problem_body(status, detail), status=status, content_type=PROBLEM_TYPE)


def problem_of(error: HTTPException) -> Response:
    """Return the response to a framework error, such as an unknown path; keep its headers, such as `Allow`."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    answer = problem(status, _DETAILS.get(status) or error.description or status.description)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            answer.headers[name] = value
    return answer
