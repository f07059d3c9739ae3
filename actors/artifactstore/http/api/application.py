"""The ASGI application of the API: for each request the token, the route, the scope, the query, the package, the body.

A request without a valid token learns nothing, not even which paths there are. What a token may not read is answered as
if it were not there. Requests for other paths go to the application behind this one.
An error of a page is a page for those who prefer one.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from msgspec import Struct, ValidationError, convert
from msgspec.structs import fields

from artifactstore.http.access import facts_of
from artifactstore.http.api.bodies import body_of, json_sent
from artifactstore.http.api.freshness import wait_for_sequence
from artifactstore.http.api.model import HTML, JSON, Answer, Call, FreshQuery, Reply, Route, UploadLimits
from artifactstore.http.api.negotiation import preferred
from artifactstore.http.api.openapi import document
from artifactstore.http.api.pages.html import PAGE_HEADERS, error_page
from artifactstore.http.api.problems import INTERNAL_DETAIL, Problem, problem_of
from artifactstore.http.api.routing import OPENAPI_PATH, is_of_api, is_page, match, openapi_path, raw_path
from artifactstore.http.api.upload_turns import Uploads
from artifactstore.http.authentication import Authenticator, Identity, challenge, headers_of, token_missing
from artifactstore.http.metrics import RequestCounts
from artifactstore.http.problems import PROBLEM_TYPE
from artifactstore.http.shortcut import HEADERS, Application, Receive, Scope, Send
from artifactstore.http.streams import EventStreams
from artifactstore.json_output import json_text, to_json
from artifactstore.registry import Registry, event_store
from artifactstore_protocols.api_version import API_VERSION, API_VERSION_HEADER, misfit_text
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.packages import PackageIdNeeded, PackageNotFound
from artifactstore_protocols.records import PackageRecord
from artifactstore_protocols.supervision import Refusal
from artifactstore_protocols.tokens import Grant, TokenInvalid

__all__ = ["Api", "is_anonymous_route"]

_logger = logging.getLogger("artifactstore.http")

_PARAMETERS_MAX: Final = 100
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_PLACE: Final = "other"
_SEQUENCE: Final = "Artifactstore-Sequence"
"""A header of answers to requests that change something: a later read with this `min_sequence` shows the change."""

_VERSION: Final = API_VERSION_HEADER.lower()
_DISCARDED_BYTES_MAX: Final = 64 << 10
"""The most bytes of a refused body that are read, so that the connection can serve the next request."""
_FIELD: Final = re.compile(r"[$.`]([A-Za-z_]+)`")


class Api:
    """The application that answers what is below `/v1`, `/openapi.json`, and the pages of packages and of the log.

    Args:
        application: answers requests for all other paths.
        routes: the routes of the API.
        authenticator: tells who sends a request.
        streams: the event streams of this server.
        uploads: the requests of this server that write into uploads.
        counts: counters of all requests.
        limits: the limits of uploads.
    """

    def __init__(
        self,
        application: Application,
        routes: Sequence[Route[Any]],
        authenticator: Authenticator,
        streams: EventStreams,
        uploads: Uploads,
        counts: RequestCounts,
        limits: UploadLimits,
    ) -> None:
        self._limits = limits
        self._application = application
        self._routes = routes
        self._authenticator = authenticator
        self._streams = streams
        self._uploads = uploads
        self._counts = counts
        self._document = f"{json_text(document(routes))}\n".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the API or a page of it; pass any other to the application."""
        if scope["type"] != "http" or not (is_of_api(scope["path"]) or is_page(scope["path"])):
            await self._application(scope, receive, send)
            return
        counted = _Counted(send)
        try:
            async with self._authenticator.admitted(scope) as identity:
                await self._answer(scope, receive, counted, identity)
        except TokenInvalid as error:
            if counted.status is not None:  # the token ended meanwhile, so the answer ends before its end
                _logger.info("%s %s ended: its token is not valid any more", scope["method"], counted.place)
                return
            await self._refused(scope, counted, _problem_for(error, scope["method"]))
        except Exception as error:
            problem = _problem_for(error, scope["method"])
            if counted.status is not None or problem.status is HTTPStatus.INTERNAL_SERVER_ERROR:
                _logger.exception("%s %s failed", scope["method"], counted.place)
            if counted.status is not None:
                raise  # the connection ends, so the client sees that the answer is not whole
            await self._refused(scope, counted, problem)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            facts = facts_of(scope)
            facts.route = counted.place
            if counted.status is not None:
                self._counts.count(counted.place, method, counted.status, facts.token)

    async def _refused(self, scope: Scope, send: "_Counted", problem: Problem) -> None:
        await body_of(scope).discard(_DISCARDED_BYTES_MAX)
        await _refuse(scope, send, problem)

    async def _answer(self, scope: Scope, receive: Receive, send: "_Counted", identity: Identity) -> None:
        headers = headers_of(scope)
        registry, grant = identity.registry, identity.grant
        facts = facts_of(scope)
        if (misfit := misfit_text(headers.get(_VERSION, str(API_VERSION)), side="client")) is not None:
            raise Problem(HTTPStatus.BAD_REQUEST, "api_version_refused", misfit)
        path = raw_path(scope["raw_path"])
        if path == OPENAPI_PATH:
            send.place = OPENAPI_PATH
            if scope["method"] not in {"GET", "HEAD"}:
                raise _wrong_method({"GET"})
            await _send(scope, send, HTTPStatus.OK, JSON, self._document, {})
            return
        is_head = scope["method"] == "HEAD"
        method = "GET" if is_head else scope["method"]
        fitting = match(self._routes, path)
        if identity.is_anonymous and (method not in fitting or not is_anonymous_route(fitting[method][0])):
            raise token_missing()
        if not fitting:
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", f"There is nothing at this path; see {OPENAPI_PATH}.")
        if method not in fitting:
            raise _wrong_method(fitting)
        route, values = fitting[method]
        send.place = openapi_path(route.template)
        _check_scope(grant, route)
        media_type = preferred(headers.get("accept"), tuple(route.answers)) if route.answers else JSON
        if media_type is None:
            detail = f"This route answers with {', '.join(route.answers)}; accept one of them."
            raise Problem(HTTPStatus.NOT_ACCEPTABLE, "not_acceptable", detail)
        query = _query(scope["query_string"], route.query)
        if isinstance(query, FreshQuery) and query.min_sequence:
            await wait_for_sequence(event_store(registry), query.min_sequence)
        named = await _named(registry, grant, route, values)
        facts.package_id = None if named is None else named.package_id
        body = body_of(scope)
        sent = await json_sent(route, headers, body)
        recheck = identity.recheck
        call = Call(
            registry,
            grant,
            method,
            is_head,
            values,
            headers,
            media_type,
            self._streams,
            self._uploads,
            recheck,
            body,
            self._limits,
            sent,
            named,
        )
        reply: Reply = await route.handler(call, query)
        if isinstance(reply, Answer):
            given = dict(reply.headers)
            if method != "GET":
                with suppress(Refusal):  # the change is made, whatever the database says now
                    given[_SEQUENCE] = str(await event_store(registry).wait_for_growth(0))
            await _send(scope, send, reply.status, media_type, _encoded(reply.value), given)
        else:
            await reply(scope, receive, send)


class _Counted:
    """An ASGI `send` that remembers the status, and the route as it is counted, and adds the version of the API."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.place = _NO_PLACE

    async def __call__(self, event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            version = _VERSION.encode(), str(API_VERSION).encode()
            event = {**event, "headers": [*event["headers"], version]}
        await self._send(event)


def _encoded(value: object) -> bytes:
    """Return the body of an answer: bytes as they are, nothing for None, and anything else as JSON."""
    if value is None or isinstance(value, bytes):
        return value or b""
    return f"{json_text(to_json(value))}\n".encode()


def is_anonymous_route(route: Route[Any]) -> bool:
    """Return whether `--anonymous-read` opens a route: it reads packages, and is not about the store as a whole."""
    return route.method == "GET" and route.scope == "read" and not route.whole_store


def _check_scope(grant: Grant, route: Route[Any]) -> None:
    """Refuse a token that lacks the scope. This comes before any look at packages, so it tells nothing about them."""
    if route.scope is None:
        return
    if route.scope not in grant.scopes:
        raise Problem(HTTPStatus.FORBIDDEN, "scope_missing", f"This needs a token with the scope {route.scope}.")
    if route.whole_store and not grant.allows(route.scope):
        raise Problem(HTTPStatus.FORBIDDEN, "scope_missing", "This needs a token for all packages.")


def _query[Q: Struct](text: bytes, kind: type[Q]) -> Q:
    """Return the parameters of a query.

    Raises:
        InvalidValue: a parameter is unknown, repeated, missing, or has an invalid value.
    """
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=_PARAMETERS_MAX,
        )
    except ValueError as error:  # also what is no UTF-8
        reason = f"write NAME=VALUE&…, percent-encoded UTF-8, at most {_PARAMETERS_MAX} of them"
        raise InvalidValue("query", "", reason) from error
    many = {each.encode_name for each in fields(kind) if each.default == ()}
    values: dict[str, str | list[str]] = {}
    for name, value in pairs:
        if "\0" in value:  # PostgreSQL refuses it in any text
            raise InvalidValue("query parameter", name[:60], "leave out the NUL character")
        if name in many:
            cast("list[str]", values.setdefault(name, [])).append(value)
        elif name in values:
            raise InvalidValue("query", name[:60], "give this parameter once")
        else:
            values[name] = value
    try:
        query = convert(values, kind, strict=False)
    except ValidationError as error:
        named = _FIELD.search(str(error))
        raise InvalidValue("query parameter", named[1] if named else "", str(error)) from error
    for each in fields(kind):
        if each.encode_name in values and getattr(query, each.name) is None:  # `null` is no value of a parameter
            raise InvalidValue("query parameter", each.encode_name, "give a value, or leave the parameter out")
    return query


async def _named(
    registry: Registry, grant: Grant, route: Route[Any], values: Mapping[str, str]
) -> PackageRecord | None:
    """Return the package that the path names, looking only at packages that the token may use."""
    text = values.get("package")
    if text is None:
        return None
    prefer_open = route.named != "any"
    found = await event_store(registry).find_package(text, prefer_open=prefer_open, within=grant.packages)
    if not any(grant.allows(scope, found.name) for scope in grant.scopes):  # whatever the query did
        raise PackageNotFound(text)
    if route.named == "id" and text != found.package_id:
        raise PackageIdNeeded(text, found.package_id)
    return found


def _wrong_method(methods: Iterable[str]) -> Problem:
    allowed = ", ".join(each for method in sorted(methods) for each in (method, "HEAD")[: 1 + (method == "GET")])
    return Problem(
        HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", f"This path takes {allowed}.", {"Allow": allowed}
    )


def _problem_for(error: Exception, method: str) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refusal):
        return problem_of(error, method)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", INTERNAL_DETAIL)


async def _refuse(scope: Scope, send: _Counted, problem: Problem) -> None:
    fields = {**problem.headers, **challenge(problem)}
    if is_page(scope["path"]) and preferred(headers_of(scope).get("accept"), (PROBLEM_TYPE, HTML)) == HTML:
        await _send(scope, send, problem.status, HTML, error_page(problem), {**fields, **PAGE_HEADERS})
    else:
        await _send(scope, send, problem.status, PROBLEM_TYPE, problem.body, fields)


async def _send(
    scope: Scope, send: Send, status: int, media_type: str, body: bytes, headers: Mapping[str, str]
) -> None:
    about = {} if status == HTTPStatus.NO_CONTENT else {"Content-Type": media_type, "Content-Length": str(len(body))}
    given = {**about, **HEADERS, **headers}
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
