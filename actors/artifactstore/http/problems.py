"""Errors as JSON by RFC 9457: what went wrong, for programs and for people, and nothing of what is inside."""

from http import HTTPStatus

from quart import Response
from werkzeug.exceptions import HTTPException

from artifactstore.facts import as_json

__all__ = ["problem", "problem_of"]

_CONTENT_TYPE = "application/problem+json"
_DETAILS = {
    HTTPStatus.NOT_FOUND: "There is nothing at this path; / lists what there is.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This service is read-only: use GET or HEAD.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "This service takes no request bodies.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The service failed on this request; its log has the reason.",
}
_TITLES = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Content Too Large"}  # RFC 9110; Python 3.12 has an older name


def problem(status: HTTPStatus, detail: str) -> Response:
    """A problem of the type `about:blank`, whose title is the status' own (RFC 9457 section 4.2.1)."""
    body = {
        "type": "about:blank",
        "title": _TITLES.get(status, status.phrase),
        "status": status.value,
        "detail": detail,
    }
    return Response(as_json(body) + "\n", status=status, content_type=_CONTENT_TYPE)


def problem_of(error: HTTPException) -> Response:
    """What the framework refused, such as a path that there is not; its headers, such as `Allow`, are kept."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    answer = problem(status, _DETAILS.get(status) or error.description or status.description)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            answer.headers[name] = value
    return answer
