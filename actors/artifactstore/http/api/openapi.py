"""The OpenAPI 3.1 document of the API. All of it follows from the table of routes."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from artifactstore.http.api.model import HTML, Route
from artifactstore.http.api.problems import PROBLEM_MEMBERS
from artifactstore.http.api.routing import openapi_path, parameters_of
from artifactstore.http.api.schemas import Schema, Schemas
from artifactstore.http.problems import PROBLEM_TYPE
from artifactstore.json_output import Json
from artifactstore.version import VERSION

__all__ = ["document", "operation_id"]

_BYTES: Final[Schema] = {"type": "string", "contentMediaType": "application/octet-stream"}
_PATH_PARAMETERS: Final[Mapping[str, str]] = {
    "package": "What names a package: its id or a part of it, a name, `NAME@latest`, `tag:TAG`, `tree:DIGEST`, …",
    "path": "A path in the package.",
    "tag": "The name of a tag.",
    "hold": "The id of a hold.",
    "upload": "The id of an upload.",
}
_SECURITY: Final = "token"
_COMMON: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.BAD_REQUEST: "A parameter or the body is not valid.",
    HTTPStatus.UNAUTHORIZED: "The request has no valid token.",
    HTTPStatus.FORBIDDEN: "The token lacks the scope or is not for all packages, or another site asks.",
    HTTPStatus.NOT_FOUND: "There is no such thing, or the token may not read it.",
    HTTPStatus.NOT_ACCEPTABLE: "The client accepts no media type of this answer.",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not arrive in time.",
    HTTPStatus.CONFLICT: "Several packages match, or the package is not in the state that this needs.",
    HTTPStatus.GONE: "The package was deleted or has expired, or what it had was purged or redacted.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request has a body, and this route takes none, or only a smaller one.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is compressed, or of another media type.",
    HTTPStatus.MISDIRECTED_REQUEST: "`Host` is no name of this service.",
    HTTPStatus.TOO_MANY_REQUESTS: "The token has as many requests at once as it may, or too many had no valid token.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The service failed; its log has the reason.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The service cannot answer this now; `Retry-After` says when to ask again.",
}


def document(routes: Sequence[Route[Any]]) -> Schema:
    """Return the document."""
    schemas = Schemas()
    paths: dict[str, dict[str, Json]] = {}
    for route in routes:
        item = paths.setdefault(openapi_path(route.template), {})
        item[route.method.lower()] = _operation(route, schemas)
        if route.method == "GET":
            item["head"] = _operation(route, schemas, is_head=True)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "artifactstore",
            "version": VERSION,
            "description": "A content-addressed artifact store. A token sees only packages that its globs match.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{_SECURITY: []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "securitySchemes": {
                _SECURITY: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`artifactstore token create` makes one.",
                }
            },
            "responses": {_response_name(status): _problem(text) for status, text in _COMMON.items()},
            "schemas": {**schemas.components, "Problem": _PROBLEM},
        },
    }


def operation_id(route: Route[Any], *, is_head: bool = False) -> str:
    """Return the id of an operation, which is the name of its handler."""
    name = getattr(route.handler, "__name__", "")
    return f"head_{name}" if is_head else name


_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "An error, by RFC 9457.",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string", "description": "The code in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "pattern": "^[a-z0-9_]+$", "description": "A stable name, for programs."},
        "detail": {"type": "string", "description": "What is wrong, and what to do, for people."},
        "details": {
            "type": "object",
            "description": "The values in the detail, by the fields of the error.",
        },
    },
    "required": [each for each in PROBLEM_MEMBERS if each != "code"],
}


def _operation(route: Route[Any], schemas: Schemas, *, is_head: bool = False) -> Schema:
    needs = "any token" if route.scope is None else f"the scope `{route.scope}`"
    whole = ", in a token for all packages" if route.whole_store else ""
    success: dict[str, Json] = {"description": route.summary}
    if route.answers and not is_head:
        success["content"] = {name: {"schema": _schema(each, schemas)} for name, each in route.answers.items()}
    errors: dict[str, Json] = {}
    is_page = HTML in route.answers
    for status, text in _COMMON.items():
        common: Schema = {"$ref": f"#/components/responses/{_response_name(status)}"}
        errors[str(status.value)] = _problem(text, is_page=True) if is_page else common
    errors |= {str(int(status)): _other(status, text, success) for status, text in route.errors.items()}
    if is_head:
        errors = {status: {"description": "As for GET, without a body."} for status in errors}
    path = [_path_parameter(name) for name in parameters_of(route.template)]
    headers: list[Schema] = [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in route.headers.items()
    ]
    operation: dict[str, Json] = {
        "operationId": operation_id(route, is_head=is_head),
        "summary": route.summary,
        "description": f"Needs {needs}{whole}.",
        "tags": [route.tag],
        "parameters": [*path, *schemas.query(route.query), *headers],
        "responses": {str(route.status.value): success, **errors},
    }
    if route.body and not is_head:
        content = {
            name: {"schema": _BYTES if each is None else schemas.input(each)} for name, each in route.body.items()
        }
        operation["requestBody"] = {"required": route.needs_body, "content": content}
    return operation


def _schema(annotation: object, schemas: Schemas) -> Schema:
    return _BYTES if annotation is None else schemas.of(annotation)


def _path_parameter(name: str) -> Schema:
    about = _PATH_PARAMETERS[name]
    return {"name": name, "in": "path", "required": True, "description": about, "schema": {"type": "string"}}


def _other(status: int, text: str, success: Mapping[str, Json]) -> Schema:
    """Return what a route answers beside its success: a part of it, nothing, or a problem."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return {**success, "description": text}
    return {"description": text} if status < HTTPStatus.BAD_REQUEST else _problem(text)


def _problem(text: str, *, is_page: bool = False) -> Schema:
    """Return an error. That of a page is a page too, for a client that prefers one."""
    content: dict[str, Json] = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": text, "content": content | ({HTML: {"schema": _BYTES}} if is_page else {})}


def _response_name(status: HTTPStatus) -> str:
    return status.phrase.title().replace(" ", "")
