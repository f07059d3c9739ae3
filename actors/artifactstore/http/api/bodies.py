"""What the body of a request may be: JSON, which is checked before the handler, or bytes, which the handler reads."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from msgspec import DecodeError, ValidationError
from msgspec.json import decode

from artifactstore.http.api.model import ANY, JSON, Route
from artifactstore.http.api.problems import Problem
from artifactstore.http.request_body import BODY_KEY, BodyCut, BodyTooLong, RequestBody
from artifactstore.http.shortcut import Scope
from artifactstore_protocols.errors import InvalidValue

__all__ = ["JSON_BYTES_MAX", "body_of", "cut_problem", "json_sent"]

JSON_BYTES_MAX: Final = 1 << 20
"""The most bytes of a JSON body."""

_AT: Final = re.compile(r"`\$\.?([^`]*)`")


def body_of(scope: Scope) -> RequestBody:
    """Return the body of a request."""
    body: RequestBody = scope["state"][BODY_KEY]
    return body


async def json_sent(route: Route[Any], headers: Mapping[str, str], body: RequestBody) -> object:
    """Return the value of a JSON body; None if there is none, or it is bytes that its handler reads.

    Raises:
        Problem: the body is too long, of another media type, or incomplete.
        InvalidValue: it is no JSON, or not what the route takes.
    """
    if not route.body:
        if body.length != 0:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_refused", "This route takes no body.")
        return None
    if ANY in route.body or (body.length == 0 and not route.needs_body):
        return None
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in route.body:
        detail = f"Send Content-Type: {' or '.join(route.body)}."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media_type_refused", detail)
    if given != JSON:
        return None
    try:
        return decode(await body.read(JSON_BYTES_MAX), type=route.body[JSON])
    except BodyTooLong as error:
        detail = f"A body of this route has at most {JSON_BYTES_MAX} bytes."
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_long", detail) from error
    except BodyCut as error:
        raise cut_problem(error) from error
    except (DecodeError, RecursionError, UnicodeDecodeError) as error:
        found = _AT.search(str(error)) if isinstance(error, ValidationError) else None
        raise InvalidValue("body", found[1] if found else "", str(error)) from error


def cut_problem(error: BodyCut) -> Problem:
    """Return the problem for a body that is not complete."""
    status = HTTPStatus.REQUEST_TIMEOUT if error.late else HTTPStatus.BAD_REQUEST
    return Problem(status, "body_incomplete", f"{error} Send it again.")
