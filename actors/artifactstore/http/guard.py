"""The guard before the pages of the service: the log, the metrics, the tree and the report are about the whole store.

`/livez`, `/readyz`, the files of the page and a terse `/health` are open. `/login` and `/logout` begin and end the
session of a browser. Everything else needs a token or a session, so paths that do not exist tell nothing either. The
API asks for itself.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader

from artifactstore.http.access import facts_of
from artifactstore.http.api.bodies import body_of, cut_problem
from artifactstore.http.api.problems import Problem, problem_of
from artifactstore.http.api.routing import LOGIN_PATH, PACKAGES_PATH, is_of_api, is_page
from artifactstore.http.authentication import Authenticator, Identity, challenge, token_missing
from artifactstore.http.metrics import RequestCounts
from artifactstore.http.page import TEMPLATES
from artifactstore.http.problems import PROBLEM_TYPE
from artifactstore.http.request_body import BodyCut, BodyTooLong
from artifactstore.http.shortcut import DETAILED, HEADERS, HTML_HEADERS, Application, Receive, Scope, Send
from artifactstore_protocols.supervision import Refusal
from artifactstore_protocols.tokens import Grant

__all__ = ["FORMS", "IDENTITY", "OPEN", "Guard"]

_logger = logging.getLogger("artifactstore.http")

LOGOUT: Final = "/logout"
FORMS: Final = frozenset({LOGIN_PATH, LOGOUT})
"""The paths to which a browser sends a form."""

OPEN: Final = frozenset({"/livez", "/readyz"})
"""The paths that need no token, besides the files of the page, `/login` and a terse `/health`."""

IDENTITY: Final = "artifactstore.identity"
"""The key of who sends a request in its ASGI scope, for the pages that need a token."""

_ASSETS: Final = "/page/"
_PAGE: Final = "/"
_HEALTH: Final = "/health"
_MONITORS: Final = frozenset({"/metrics", "/tree"})
_FORM_BYTES_MAX: Final = 4096
_READING: Final = ("GET", "HEAD")
_HTML: Final = "text/html; charset=utf-8"


class Guard:
    """An ASGI application that passes requests to another one if their senders may see what they ask for.

    Args:
        application: answers the requests.
        authenticator: tells who sends a request.
        counts: counters of all requests.
    """

    def __init__(self, application: Application, authenticator: Authenticator, counts: RequestCounts) -> None:
        self._application = application
        self._authenticator = authenticator
        self._counts = counts
        templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
        self._login_page = templates.get_template("login.html")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse a request, or pass it on."""
        path = scope["path"]
        if scope["type"] != "http" or is_of_api(path) or is_page(path) or path in OPEN or path.startswith(_ASSETS):
            await self._application(scope, receive, send)
            return
        try:
            if path in FORMS:
                await self._answer_form(scope, send)
            elif path == _HEALTH:
                detailed = await self._may_see_details(scope)
                await self._application({**scope, DETAILED: detailed}, receive, send)
            else:
                async with self._authenticator.admitted(scope) as identity:
                    _check(identity, path)
                    await self._application({**scope, IDENTITY: identity}, receive, send)
        except Problem as problem:
            await self._refuse(scope, send, problem)
        except Refusal as error:
            await self._refuse(scope, send, problem_of(error))

    async def _may_see_details(self, scope: Scope) -> bool:
        """Return whether a request for the health may see more than whether all is well.

        Raises:
            Problem: it has a token that is not valid.
        """
        try:
            identity = await self._authenticator.identity(scope)
            return not identity.is_anonymous and _monitors(identity.grant)
        except Problem as problem:
            if problem.code in {"token_missing", "starting"}:
                return False
            raise
        except Refusal as error:
            if problem_of(error).status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return False  # nobody can be identified without the database, and that is what a monitor wants to hear

    async def _answer_form(self, scope: Scope, send: Send) -> None:
        """Show the form for a code or a token, or take a form."""
        path, method = scope["path"], scope["method"]
        if path == LOGIN_PATH and method in _READING:
            await self._show_login(scope, send, HTTPStatus.OK, "")
        elif method != "POST":
            allowed = "GET, HEAD, POST" if path == LOGIN_PATH else "POST"
            detail = f"This path takes {allowed}."
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", detail, {"Allow": allowed})
        elif path == LOGIN_PATH:
            value, grant = await self._authenticator.log_in(scope, (await _form(scope)).get("secret", "").strip())
            first = _PAGE if grant.allows("admin") else PACKAGES_PATH
            await self._go(scope, send, first, self._authenticator.set_cookie(scope, value))
        else:
            form = await _form(scope)
            session = await self._authenticator.session(scope)
            self._authenticator.check_csrf(session, form.get("csrf", ""))
            self._authenticator.sessions.end(session)
            await self._go(scope, send, LOGIN_PATH, self._authenticator.set_cookie(scope, ""))

    async def _go(self, scope: Scope, send: Send, target: str, cookie: str) -> None:
        fields = {"Location": target, "Set-Cookie": cookie, "Content-Length": "0"}
        await self._send(scope, send, HTTPStatus.SEE_OTHER, {**HEADERS, **fields}, b"")

    async def _refuse(self, scope: Scope, send: Send, problem: Problem) -> None:
        """Answer with a problem; for a browser that wants the page or sent a form, with the form to sign in."""
        await body_of(scope).discard(_FORM_BYTES_MAX)
        if problem.status is HTTPStatus.INTERNAL_SERVER_ERROR:
            _logger.error("%s %s failed: %s", scope["method"], scope["path"], problem.code)
        is_page = scope["path"] in {_PAGE, *FORMS} and _accepts_html(scope)
        if is_page and problem.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            detail = "" if problem.code == "token_missing" else problem.detail
            await self._show_login(scope, send, HTTPStatus(problem.status), detail)
            return
        fields = {**HEADERS, "Content-Type": PROBLEM_TYPE, **problem.headers, **challenge(problem)}
        await self._send(scope, send, HTTPStatus(problem.status), fields, problem.body)

    async def _show_login(self, scope: Scope, send: Send, status: HTTPStatus, detail: str) -> None:
        body = self._login_page.render(detail=detail).encode()
        fields = {**HTML_HEADERS, "Content-Type": _HTML}
        if status is HTTPStatus.UNAUTHORIZED:
            fields |= challenge(token_missing())
        await self._send(scope, send, status, fields, body)

    async def _send(
        self, scope: Scope, send: Send, status: HTTPStatus, headers: Mapping[str, str], body: bytes
    ) -> None:
        given = {**headers, "Content-Length": str(len(body))}
        encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()]
        await send({"type": "http.response.start", "status": status.value, "headers": encoded})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        known = scope["path"] in {_PAGE, _HEALTH, *FORMS, *_MONITORS}
        method = scope["method"] if scope["method"] in {*_READING, "POST"} else "other"
        facts = facts_of(scope)
        facts.route = scope["path"] if known else "other"
        self._counts.count(facts.route, method, status, facts.token)


def _monitors(grant: Grant) -> bool:
    """Return whether a token may see how the store as a whole does."""
    return grant.allows("admin") or grant.allows("read")


def _check(identity: Identity, path: str) -> None:
    """Check that the sender may see a page.

    Raises:
        Problem: it may not.
    """
    if identity.is_anonymous:
        raise token_missing()
    if path in _MONITORS:
        if not _monitors(identity.grant):
            detail = "This needs a token with the scope read for all packages, or with the scope admin."
            raise Problem(HTTPStatus.FORBIDDEN, "scope_missing", detail)
    elif not identity.grant.allows("admin"):
        detail = "This shows the log of the whole store, so it needs a token with the scope admin."
        raise Problem(HTTPStatus.FORBIDDEN, "scope_missing", detail)


async def _form(scope: Scope) -> Mapping[str, str]:
    """Return the fields of a form.

    Raises:
        Problem: the body is none, too long, or not complete.
    """
    headers: Mapping[bytes, bytes] = dict(scope["headers"])
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/x-www-form-urlencoded":
        detail = "Send Content-Type: application/x-www-form-urlencoded."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media_type_refused", detail)
    try:
        text = (await body_of(scope).read(_FORM_BYTES_MAX)).decode("latin-1")
        return {name: values[0] for name, values in parse_qs(text, max_num_fields=8).items()}
    except BodyTooLong as error:
        detail = f"A form has at most {_FORM_BYTES_MAX} bytes."
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_long", detail) from error
    except BodyCut as error:
        raise cut_problem(error) from error
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "invalid_value", "The form has too many fields.") from error


def _accepts_html(scope: Scope) -> bool:
    headers: Mapping[bytes, Any] = dict(scope["headers"])
    return b"text/html" in headers.get(b"accept", b"")
