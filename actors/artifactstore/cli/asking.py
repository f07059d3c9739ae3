"""What `artifactstore health` does: ask a service over HTTP, and show a report."""

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
_UNAVAILABLE = 503


@dataclass(eq=False)
class ServiceUnreachable(ArtifactStoreError):
    """Nobody answered as the service would."""

    url: str
    reason: str

    @override
    def __str__(self) -> str:
        return f"no health report from {self.url}: {self.reason}; is the service running there?"


def ask_service(url: str) -> Json:
    """The report of a running service.

    Args:
        url: of the service, with or without the path `/health`.

    Raises:
        ServiceUnreachable: nobody is there, or somebody else is.
    """
    return _get(url.rstrip("/").removesuffix("/health") + "/health")


def ask_tree(url: str) -> Mapping[str, Json]:
    """The supervision tree of a running service, which is at `url`; raises as `ask_service` does."""
    return cast("Mapping[str, Json]", _get(url.rstrip("/").removesuffix("/health") + "/tree"))


def _get(target: str) -> Json:
    if not target.startswith(("http://", "https://")):
        raise ServiceUnreachable(target, "a URL begins with http:// or https://")
    try:
        with urllib.request.urlopen(target, timeout=_TIMEOUT_S) as response:  # noqa: S310 - the scheme was just checked
            return cast("Json", json.load(response))
    except urllib.error.HTTPError as error:
        with error:
            if error.code != _UNAVAILABLE:
                raise ServiceUnreachable(target, f"HTTP {error.code}") from error
            return cast("Json", json.load(error))
    except (OSError, ValueError) as error:
        raise ServiceUnreachable(target, str(getattr(error, "reason", error))) from error


def print_health(report: Json, *, json: bool) -> bool:
    """Show a report. Returns whether it is a healthy one."""
    facts = cast("Mapping[str, Json]", report)
    if json:
        say_json(report)
    else:
        say(str(facts["status"]))
        for name, part in cast("Mapping[str, Mapping[str, Json]]", facts.get("components", {})).items():
            say(f"  {'ok ' if part['healthy'] else 'BAD'}  {name:22} {part['detail']}")
    return facts["status"] == "healthy"
