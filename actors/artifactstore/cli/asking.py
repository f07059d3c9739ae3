"""What `artifactstore health` and `tree` do with `--url`: ask a service over HTTP, and show its report.

A service on this machine is never asked through a proxy: what a proxy calls 127.0.0.1 is the proxy's own machine. For
other machines, `http_proxy`, `https_proxy` and `no_proxy` hold as usual.
"""

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast, override
from urllib.parse import urlsplit

from artifactstore.cli.output import say, say_json
from artifactstore.facts import Json
from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["ServiceUnreachable", "ask_service", "ask_tree", "print_health"]

_TIMEOUT_S = 10
_ANSWER_BYTES_MAX = 16 << 20
_ANSWERS = (200, 503)
_UNIX = "unix:"
_FORMS = "a URL begins with http://, https:// or unix:"


@dataclass(eq=False)
class ServiceUnreachable(ArtifactStoreError):
    """Nobody answered as the service would."""

    url: str
    reason: str

    @override
    def __str__(self) -> str:
        return f"no report from {self.url}: {self.reason}; is the service running there?"


def ask_service(url: str) -> Mapping[str, Json]:
    """Return the report of a running service.

    Args:
        url: of the service, with or without the path `/health`; or `unix:PATH`.

    Raises:
        ServiceUnreachable: nobody is there, or somebody else is.
    """
    return _get(url, "/health", having="status")


def ask_tree(url: str) -> Mapping[str, Json]:
    """Return the supervision tree of a running service, which is at `url`; raises as `ask_service` does."""
    return _get(url, "/tree", having="state")


def print_health(report: Mapping[str, Json], *, json: bool) -> bool:
    """Show a report. Returns whether it is a healthy one."""
    if json:
        say_json(report)
    else:
        say(str(report["status"]))
        for name, part in cast("Mapping[str, Mapping[str, Json]]", report.get("components", {})).items():
            say(f"  {'ok ' if part['healthy'] else 'BAD'}  {name:22} {part['detail']}")
    return report["status"] == "healthy"


def _get(url: str, path: str, *, having: str) -> Mapping[str, Json]:
    target = url if url.startswith(_UNIX) else url.rstrip("/").removesuffix("/health") + path
    try:
        status, body = _read_unix(url.removeprefix(_UNIX), path) if url.startswith(_UNIX) else _read(target)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        text = (reason.strerror if isinstance(reason, OSError) else None) or str(reason)
        raise ServiceUnreachable(target, text or type(error).__name__) from error
    if status not in _ANSWERS:
        raise ServiceUnreachable(target, f"it answers HTTP {status}")
    try:
        answer: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServiceUnreachable(target, "its answer is not JSON") from error
    if not isinstance(answer, Mapping) or having not in answer or not _is_report(cast("Mapping[str, object]", answer)):
        raise ServiceUnreachable(target, "its answer is something else")
    return cast("Mapping[str, Json]", answer)


def _is_report(answer: Mapping[str, object]) -> bool:
    """Return whether it can be shown: its components, if it has any, are what `print_health` looks at."""
    parts = answer.get("components", {})
    return isinstance(parts, Mapping) and all(
        isinstance(part, Mapping) and "healthy" in part and "detail" in part
        for part in cast("Mapping[str, object]", parts).values()
    )


def _read(target: str) -> tuple[int, bytes]:
    parts = urlsplit(target)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(_FORMS)
    if parts.port == 0:  # looking at it refuses what is no port; a system call would take the rest of 99999 by 65536
        raise ValueError("port 0 is no port of a service")
    handlers = [urllib.request.ProxyHandler({})] if _is_here(parts.hostname) else []
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(target, timeout=_TIMEOUT_S) as response:
            return cast("int", response.status), cast("bytes", response.read(_ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(_ANSWER_BYTES_MAX)


def _is_here(host: str) -> bool:
    """Return whether every address of a host is this machine's own."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # only a proxy may know it
        return False
    return all(ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def _read_unix(path: str, target: str) -> tuple[int, bytes]:
    if not path:
        raise ValueError("unix: needs a path")
    with closing(_UnixConnection(path)) as connection:
        connection.request("GET", target)
        response = connection.getresponse()
        return response.status, response.read(_ANSWER_BYTES_MAX)


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
