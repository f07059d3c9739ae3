"""The HTML page for people: the health report and the supervision tree, updated by a short script.

This module prepares the values, and the template escapes them. Markup, style and script are files in the directory
`page`. Without the script, the page shows the state at the time of the request.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from artifactstore.cli.output import size_text
from artifactstore.json_output import timestamp
from artifactstore_protocols.records import ComponentHealth, HealthReport
from artifactstore_protocols.supervision import ActorSnapshot, ChildState, SupervisorSnapshot

__all__ = ["ASSETS", "PAGE", "TEMPLATES", "View", "view_of"]

TEMPLATES = Path(__file__).parent / "page"
PAGE = "index.html"

ASSETS: Mapping[str, str] = MappingProxyType(
    {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
)
"""Static files of the page, with their media types."""

_EVENTS_SHOWN = 20
_US = 1_000_000


class Part(Struct, frozen=True):
    """A component as the page shows it."""

    name: str
    good: bool
    detail: str
    details: Sequence[tuple[str, str]]
    measured: str


class Node(Struct, frozen=True):
    """A supervisor or an actor as the page shows it."""

    name: str
    state: str
    good: bool
    notes: Sequence[str]
    failure: str | None
    children: "Sequence[Node]" = ()


class View(Struct, frozen=True):
    """The values that the page shows.

    Attributes:
        status: the status of the store in one word.
        healthy: whether every component is healthy.
        reasons: the problems, one line each.
        version: version of the release.
        measured_at: time of the report, or of the request if there is no report, in RFC 3339.
        parts: the components.
        tree: the root of the supervision tree; None while it is starting.
        since: the sequence after which the page shows events.
    """

    status: str
    healthy: bool
    reasons: Sequence[str]
    version: str
    measured_at: str
    parts: Sequence[Part]
    tree: Node | None
    since: int


def view_of(report: HealthReport | str, tree: SupervisorSnapshot | None, now_us: int) -> View:
    """Return the values that the page shows.

    Args:
        report: the latest health report, or the reason why there is none.
        tree: a snapshot of the supervision tree; None while it is starting.
        now_us: the current time, in microseconds since the epoch.
    """
    shown = None if tree is None else _node(tree)
    if isinstance(report, str):
        return View("unavailable", False, (report,), "unknown", timestamp(now_us), (), shown, 0)
    head = next((part.details.get("head", 0) for part in report.components if part.name == "database"), 0)
    return View(
        status="healthy" if report.healthy else "unhealthy",
        healthy=report.healthy,
        reasons=report.reasons,
        version=report.version,
        measured_at=timestamp(report.answered_at_us),
        parts=[_part(part, now_us) for part in report.components],
        tree=shown,
        since=max(0, int(head) - _EVENTS_SHOWN),
    )


def _part(part: ComponentHealth, now_us: int) -> Part:
    age_s = max(0, now_us - part.measured_at_us) / _US
    details = [_fact(name, value) for name, value in part.details.items()]
    return Part(part.name, part.healthy, part.detail, details, f"{age_s:.1f} s ago, took {_duration(part.latency_s)}")


def _fact(name: str, value: str | float) -> tuple[str, str]:
    """Return the label and the text of a detail, with the unit that its suffix names."""
    if not isinstance(value, str):
        if name.endswith("_bytes"):
            return name.removesuffix("_bytes").replace("_", " "), size_text(int(value))
        if name.endswith("_s"):
            return name.removesuffix("_s").replace("_", " "), _duration(value)
        return name.replace("_", " "), f"{value:,}"
    return name.replace("_", " "), value


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _node(found: ActorSnapshot | SupervisorSnapshot) -> Node:
    notes: list[str] = []
    children: list[Node] = []
    if found.starts > 1:
        notes.append(f"restarts {found.starts - 1}")
    if isinstance(found, SupervisorSnapshot):
        notes.append(found.strategy.replace("_", " "))
        children = [_node(child) for child in found.children]
    else:
        notes += _notes(found)
    failure = found.last_failure
    return Node(
        name=found.name,
        state=str(found.state),
        good=found.state is ChildState.RUNNING,
        notes=notes,
        failure=None if failure is None else f"last failure {failure.kind}: {failure.text}",
        children=children,
    )


def _notes(actor: ActorSnapshot) -> list[str]:
    box = actor.mailbox
    notes = [f"mailbox {box.depth} (peak {box.depth_peak})"]
    if box.oldest_s is not None:
        notes.append(f"oldest waits {_duration(box.oldest_s)}")
    notes += [f"{work.message} for {_duration(work.age_s)}" for work in actor.work[:1]]
    if actor.tasks:
        notes.append(f"tasks {len(actor.tasks)}")
    if actor.stall is not None:
        notes.append("will not stop")
    return notes
