"""The gate before the application. It admits requests that name this service and come from no other site.

Bodies are only for the API and for forms, and never compressed.

A refused request gets a problem document, and its connection is closed.
"""

from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import unquote

from artifactstore.http.api.routing import is_of_api
from artifactstore.http.guard import FORMS
from artifactstore.http.hosts import Hosts, parse_authority
from artifactstore.http.metrics import RequestCounts
from artifactstore.http.problems import PROBLEM_TYPE, problem_body
from artifactstore.http.shortcut import HEADERS, Application, Receive, Scope, Send

__all__ = ["Gate", "Refused"]

_VERSIONS = ("1.0", "1.1")
_SCHEMES = ("http", "https")
_STREAM = "/events/stream"
_OWN_SITE = (b"same-origin", b"none")
_READING = ("GET", "HEAD")
_IDENTITY = b"identity"


class Refused(Exception):
    """The gate refuses a request.

    Attributes:
        status: the HTTP status to answer with.
        detail: the reason; empty if the status suffices.
    """

    def __init__(self, status: HTTPStatus, detail: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Gate:
    """An ASGI application that passes admitted requests to another.

    Args:
        application: answers admitted requests.
        hosts: names that clients may use for the service.
        counts: counters of all requests.
    """

    def __init__(self, application: Application, hosts: Hosts, counts: RequestCounts) -> None:
        self._application = application
        self._hosts = hosts
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] == "http":
            try:
                scope = {**scope, "path": _examined(scope, self._hosts)}
            except Refused as refused:
                self._counts.count("other", scope["method"] if scope["method"] in _READING else "other", refused.status)
                await _refuse(send, refused)
                return
        await self._application(scope, receive, send)


async def _refuse(send: Send, refused: Refused) -> None:
    body = problem_body(refused.status, refused.detail)
    fields = {"Content-Type": PROBLEM_TYPE, "Content-Length": str(len(body)), "Connection": "close", **HEADERS}
    if refused.status is HTTPStatus.METHOD_NOT_ALLOWED:
        fields["Allow"] = ", ".join(_READING)
    headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": refused.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _examined(scope: Scope, hosts: Hosts) -> str:
    """Return the requested path.

    Raises:
        Refused: the request is not admitted.
    """
    if scope["http_version"] not in _VERSIONS:
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "This service speaks HTTP/1.1 and HTTP/1.0.")
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    _refuse_compressed(headers)
    path, authority = _target(scope)
    _refuse_body(headers, admitted=is_of_api(path) or path in FORMS)
    named = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if scope.get("server") is not None:  # on a Unix socket, which no browser reaches, any name is valid
        for each in [*named, *authority] or [""]:
            _refuse_host(each, hosts, scope["server"][0])
    _refuse_other_sites(path, headers, [*authority, *named], hosts)
    return path


def _refuse_body(headers: Iterable[tuple[bytes, bytes]], *, admitted: bool) -> None:
    length = [value for name, value in headers if name == b"content-length"]
    coded = any(name == b"transfer-encoding" for name, _value in headers)
    if coded and length:
        raise Refused(HTTPStatus.BAD_REQUEST, "Content-Length and Transfer-Encoding exclude each other.")
    if not admitted and (coded or any(value.strip(b"0") for value in length)):
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This request takes no body.")


def _refuse_compressed(headers: Iterable[tuple[bytes, bytes]]) -> None:
    codings = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    if any(coding not in {b"", _IDENTITY} for coding in codings):
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the body uncompressed, without Content-Encoding.")


def _target(scope: Scope) -> tuple[str, list[str]]:
    """Return the path, and the authority if the target is a whole URL (RFC 9112 section 3.2.2)."""
    path: str = scope["path"]
    scheme, separator, rest = scope["raw_path"].decode("latin-1").partition("://")
    if separator and scheme.lower() in _SCHEMES:
        authority, slash, below = rest.partition("/")
        return unquote(slash + below) or "/", [authority]
    if path == "*":
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED)
    if not path.startswith("/"):
        raise Refused(HTTPStatus.BAD_REQUEST, "The target of a request is a path that begins with /.")
    return path, []


def _refuse_host(text: str, hosts: Hosts, reached: str) -> None:
    if not text:
        raise Refused(HTTPStatus.BAD_REQUEST, "The request has no Host.")
    authority = parse_authority(text)
    if authority is None:
        raise Refused(
            HTTPStatus.BAD_REQUEST, "The Host of the request is malformed; it is NAME, NAME:PORT or [IPv6]:PORT."
        )
    if not hosts.admits(authority, reached):
        detail = (
            f"This service is not called {authority.name}. Call it by the address that it listens on, or start it with "
            f"--allow-host {authority.name} if that is one of its names."
        )
        raise Refused(HTTPStatus.MISDIRECTED_REQUEST, detail)


def _refuse_other_sites(path: str, headers: Iterable[tuple[bytes, bytes]], named: Iterable[str], hosts: Hosts) -> None:
    """Refuse requests by pages of other sites. A browser hides the answer from such a page, but only after the work."""
    own = next((parse_authority(each) for each in named), None)
    for name, value in headers:
        if name == b"origin":
            scheme, _, text = value.decode("latin-1").partition("://")
            origin = parse_authority(text)
            # A configured name may belong to a proxy, which has its own port, so the ports are not compared.
            if origin is None or not (origin.name in hosts.names or (own and origin.same_as(own, scheme))):
                raise Refused(HTTPStatus.FORBIDDEN, "This service answers no pages of other sites.")
        if name == b"sec-fetch-site" and path == _STREAM and value not in _OWN_SITE:
            raise Refused(HTTPStatus.FORBIDDEN, "Streams of events are not for pages of other sites.")
