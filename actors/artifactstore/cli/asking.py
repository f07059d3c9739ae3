"""What `artifactstore health` and `tree` do with `--url`: ask a service over HTTP, and show its report."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, override

from artifactstore.cli.output import say, say_json
from artifactstore.facts import Json
from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["ServiceUnreachable", "ask_service", "ask_tree", "print_health"]

_TIMEOUT_S = 10
_ANSWER_BYTES_MAX = 16 << 20
_UNAVAILABLE = 503


@dataclass(eq=False)
class ServiceUnreachable(ArtifactStoreError):
    """Nobody answered as the service would."""

    url: str
    reason: str

    @override
    def __str__(self) -> str:
        return f"no report from {self.url}: {self.reason}; is the service running there?"


def ask_service(url: str) -> Mapping[str, Json]:
    """The report of a running service.

    Args:
        url: of the service, with or without the path `/health`.

    Raises:
        ServiceUnreachable: nobody is there, or somebody else is.
    """
    return _get(url, "/health", having="status")


def ask_tree(url: str) -> Mapping[str, Json]:
    """The supervision tree of a running service, which is at `url`; raises as `ask_service` does."""
    return _get(url, "/tree", having="state")


def _get(url: str, path: str, *, having: str) -> Mapping[str, Json]:
    target = url.rstrip("/").removesuffix("/health") + path
    if not target.startswith(("http://", "https://")):
        raise ServiceUnreachable(url, "a URL begins with http:// or https://")
    try:
        answer: object = json.loads(_read(target))
    except urllib.error.HTTPError as error:
        raise ServiceUnreachable(target, f"it answers HTTP {error.code}") from error
    except ValueError as error:
        raise ServiceUnreachable(target, "its answer is not JSON") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        text = (reason.strerror if isinstance(reason, OSError) else None) or str(reason)
        raise ServiceUnreachable(target, text or type(error).__name__) from error
    if not isinstance(answer, Mapping) or having not in answer:
        raise ServiceUnreachable(target, "its answer is something else")
    return cast("Mapping[str, Json]", answer)


def _read(target: str) -> bytes:
    try:
        with urllib.request.urlopen(target, timeout=_TIMEOUT_S) as response:  # noqa: S310 - the scheme was checked
            return cast("bytes", response.read(_ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as error:
        with error:
            if error.code != _UNAVAILABLE:
                raise
            return error.read(_ANSWER_BYTES_MAX)


def print_health(report: Mapping[str, Json], *, json: bool) -> bool:
    """Show a report. Returns whether it is a healthy one."""
    if json:
        say_json(report)
    else:
        say(str(report["status"]))
        for name, part in cast("Mapping[str, Mapping[str, Json]]", report.get("components", {})).items():
            say(f"  {'ok ' if part['healthy'] else 'BAD'}  {name:22} {part['detail']}")
    return report["status"] == "healthy"
