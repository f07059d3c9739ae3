"""HTTP client for `artifactstore health --url` and `artifactstore actors --url`.

Requests to a service on this machine never go through a proxy: to a proxy, 127.0.0.1 is the proxy's own machine. For
other machines, `http_proxy`, `https_proxy` and `no_proxy` apply as usual.

The client does not trust the server. It limits the time and the bytes of the whole answer, follows no redirect, and
checks the answer before it is shown.
"""

import http.client
import queue
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from ipaddress import ip_address
from typing import cast, override
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from artifactstore.json_output import Json
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.tokens import Secret

__all__ = ["ServiceUnreachable", "TokenNeeded", "ask_service", "ask_tree"]

_TIMEOUT_S = 10
"""Limit for the whole answer, in seconds."""

_ANSWER_BYTES_MAX = 1 << 20
_TREE_DEPTH_MAX = 32
_DETAIL_MAX = 300
_ANSWERS = (200, 503)
_REFUSALS = (401, 403)
_UNIX = "unix:"
_FORMS = "a URL begins with http://, https:// or unix:"


class ServiceUnreachable(ArtifactStoreError):
    """No artifactstore service answered at the URL."""

    url: str
    reason: str
    template = "no report from {self.url}: {self.reason}; is the service running there?"


class TokenNeeded(ArtifactStoreError):
    """The service at the URL gives no answer to this client, for lack of a token that allows it."""

    url: str
    reason: str
    template = (
        "{self.url} refuses this: {self.reason} Name a file with a token by --token-file, or set ARTIFACTSTORE_TOKEN"
    )


# The fields of an answer that the commands show. An answer without them is rejected.
class _Part(Struct):
    healthy: bool
    detail: str


class _Report(Struct):
    status: str
    components: dict[str, _Part] = {}


class _Problem(Struct):
    detail: str


class _Mailbox(Struct):
    depth: object
    depth_peak: object


class _Work(Struct):
    message: str
    age_s: float


class _Stall(Struct):
    since: object


class _Failure(Struct):
    kind: object
    text: object


class _Tree(Struct):
    name: str
    state: str
    starts: int
    mailbox: _Mailbox | None = None
    work: list[_Work] | None = None
    stall: _Stall | None = None
    last_failure: _Failure | None = None
    children: "list[_Tree] | None" = None

    def __post_init__(self) -> None:
        if self.levels() > _TREE_DEPTH_MAX:
            raise ValueError("nested too deeply")

    def levels(self) -> int:
        return 1 + max((child.levels() for child in self.children or ()), default=0)


def ask_service(url: str, token: Secret | None = None) -> Mapping[str, Json]:
    """Return the report of a running service: the whole one for a token that may see it, else only the status.

    Args:
        url: URL of the service, with or without the path `/health`; or `unix:PATH`.
        token: the secret of a token.

    Raises:
        ServiceUnreachable: nothing answers at the URL, or it is not an artifactstore service.
        TokenNeeded: it refuses the token, or asks for one.
    """
    return _get(url, "/health", _Report, token)


def ask_tree(url: str, token: Secret | None = None) -> Mapping[str, Json]:
    """Return the supervision tree of the running service at `url`; raises like `ask_service`."""
    return _get(url, "/tree", _Tree, token)


def _get(url: str, path: str, shown: type[_Report | _Tree], token: Secret | None) -> Mapping[str, Json]:
    target = url if url.startswith(_UNIX) else url.rstrip("/").removesuffix("/health") + path
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        status, body = _in_time(
            lambda: (
                _read_unix(url.removeprefix(_UNIX), path, headers) if url.startswith(_UNIX) else _read(target, headers)
            )
        )
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ServiceUnreachable(target, _reason(error)) from error
    if status in _REFUSALS:
        raise TokenNeeded(target, _refusal(status, body))
    if status not in _ANSWERS:
        raise ServiceUnreachable(target, f"it answers HTTP {status}")
    try:
        answer: object = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise ServiceUnreachable(target, "its answer is not JSON") from error
    try:
        msgspec.convert(answer, shown)
    except msgspec.ValidationError as error:
        raise ServiceUnreachable(target, "its answer is something else") from error
    return cast("Mapping[str, Json]", answer)


def _in_time[T](ask: Callable[[], T]) -> T:
    """Call `ask` in a thread, which is abandoned after `_TIMEOUT_S`.

    The timeout of a socket would not limit the whole answer: it starts again with each byte.

    Raises:
        TimeoutError: the call took too long.
    """
    done: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            done.put(ask())
        except Exception as error:
            done.put(error)

    threading.Thread(target=work, name="ask-service", daemon=True).start()
    try:
        found = done.get(timeout=_TIMEOUT_S)
    except queue.Empty:
        raise TimeoutError(f"the answer took longer than {_TIMEOUT_S} s") from None
    if isinstance(found, Exception):
        raise found
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "its answer breaks off"
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, OSError):
        return "it does not speak HTTP"
    reason = getattr(error, "reason", error)
    return (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(error).__name__


def _refusal(status: int, body: bytes) -> str:
    """Return what a service says that refuses a token, without characters that a terminal would obey."""
    try:
        detail = msgspec.json.decode(body, type=_Problem).detail
    except ValueError:
        detail = ""
    shown = "".join(each for each in detail if each.isprintable())[:_DETAIL_MAX]
    return shown or f"it answers HTTP {status}."


def _read(target: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    parts = urlsplit(target)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(_FORMS)
    if parts.port == 0:  # `port` raises if it is out of range; a system call would take it modulo 65536
        raise ValueError("port 0 is no port of a service")
    is_here = _is_here(parts.hostname)
    if headers and parts.scheme == "http" and not is_here:
        raise ValueError("a token is sent to another machine by https only")
    handlers: list[urllib.request.BaseHandler] = [_StayHere()]
    if is_here:
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    try:
        asked = urllib.request.Request(target, headers=dict(headers))  # noqa: S310 - the scheme is checked above
        with opener.open(asked, timeout=_TIMEOUT_S) as response:
            return cast("int", response.status), _body(response)
    except urllib.error.HTTPError as error:
        with error:
            is_read = error.code in {*_ANSWERS, *_REFUSALS}
            return error.code, _body(cast("http.client.HTTPResponse", error.fp)) if is_read else b""


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Redirect handler that follows no redirect: only the service at the URL may answer."""

    @override
    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        """Return None, which means that no request follows."""


def _body(response: http.client.HTTPResponse) -> bytes:
    """Return the whole body.

    Raises:
        ValueError: the body is too long.
        http.client.IncompleteRead: the body is truncated.
    """
    body = response.read(_ANSWER_BYTES_MAX + 1)
    if len(body) > _ANSWER_BYTES_MAX:
        raise ValueError(f"its answer has more than {_ANSWER_BYTES_MAX} bytes")
    if response.length:  # `read` with a number of bytes does not check this
        raise http.client.IncompleteRead(body, response.length)
    return body


def _is_here(host: str) -> bool:
    """Return whether every address of a host is a loopback address."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # perhaps only a proxy can resolve the name
        return False
    return all(ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def _read_unix(path: str, target: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    if not path:
        raise ValueError("unix: needs a path")
    with closing(_UnixConnection(path)) as connection:
        connection.request("GET", target, headers=dict(headers))
        response = connection.getresponse()
        return response.status, _body(response)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)
