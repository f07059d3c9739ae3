"""The HTML page for people: what the store holds, its health and its latest events, updated by a short script.

This module prepares the values, and the template escapes them. Markup, style and script are files in the directory
`page`. Without the script, the page shows the state at the time of the request.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from artifactstore.cli.output import counted, size_text
from artifactstore.http.overview import Overview
from artifactstore.json_output import timestamp
from artifactstore.stats_text import content_text, stats_lines
from artifactstore_protocols.disk_usage import NameUsage
from artifactstore_protocols.moments import age_text
from artifactstore_protocols.records import ComponentHealth, HealthReport, PackageRecord
from artifactstore_protocols.supervision import ActorSnapshot, ChildState, SupervisorSnapshot

__all__ = ["ASSETS", "PAGE", "TEMPLATES", "View", "view_of"]

TEMPLATES = Path(__file__).parent / "page"
PAGE = "index.html"

ASSETS: Mapping[str, str] = MappingProxyType(
    {
        "page.css": "text/css",
        "pages.css": "text/css",
        "common.js": "text/javascript",
        "page.js": "text/javascript",
        "pages.js": "text/javascript",
        "login.js": "text/javascript",
        "icon.svg": "image/svg+xml",
    }
)
"""Static files of the pages, with their media types."""

_EVENTS_SHOWN = 200
"""Events of the past that the page reads. It groups them, so they become far fewer rows."""

_NAMES_SHOWN = 3
_US = 1_000_000
_ACTOR = "actor:"
_ID_SHOWN = 8
"""Characters from the end of an id. Ids that were made within a minute begin alike."""

_DIGEST_SHOWN = 12
_CODE = "_failure_code"
"""Details that are for programs only."""


class Copied(Struct, frozen=True):
    """A long text that the page shows in short, and copies in full."""

    full: str
    short: str


class Package(Struct, frozen=True):
    """A package as the page shows it. `digest` is its manifest digest; None while it is open."""

    name: str
    package_id: Copied
    created_at: str
    age: str
    content: str
    state: str
    by: str
    digest: Copied | None


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
        actors: the state of all actors in one line; None while the tree is starting.
        ill: whether an actor is ill, so that the page shows the tree.
        tree: the root of the supervision tree; None while it is starting.
        since: the sequence after which the page shows events.
        stored: what the store holds, as labels and texts; empty if that cannot be read.
        packages: the latest packages, the newest first.
        unread: why the contents cannot be read; None if they can.
    """

    status: str
    healthy: bool
    reasons: Sequence[str]
    version: str
    measured_at: str
    parts: Sequence[Part]
    actors: str | None
    ill: bool
    tree: Node | None
    since: int
    stored: Sequence[tuple[str, str]]
    packages: Sequence[Package]
    unread: str | None


def view_of(
    report: HealthReport | str, tree: SupervisorSnapshot | None, found: Overview | str | None, now_us: int
) -> View:
    """Return the values that the page shows.

    Args:
        report: the latest health report, or the reason why there is none.
        tree: a snapshot of the supervision tree; None while it is starting.
        found: the contents of the store, the reason why they cannot be read, or None while the store is starting.
        now_us: the current time, in microseconds since the epoch.
    """
    parts = () if isinstance(report, str) else report.components
    shown = None if tree is None else _node(tree)
    unwell = any(part.name.startswith(_ACTOR) and not part.healthy for part in parts)
    head = next((part.details.get("head", 0) for part in parts if part.name == "database"), 0)
    overview = found if isinstance(found, Overview) else None
    status = "unavailable" if isinstance(report, str) else "healthy" if report.healthy else "unhealthy"
    return View(
        status=status,
        healthy=not isinstance(report, str) and report.healthy,
        reasons=(report,) if isinstance(report, str) else report.reasons,
        version="unknown" if isinstance(report, str) else report.version,
        measured_at=timestamp(now_us if isinstance(report, str) else report.answered_at_us),
        # An actor that is well is in the line about all actors.
        parts=[_part(part, now_us) for part in parts if not (part.healthy and part.name.startswith(_ACTOR))],
        actors=None if tree is None else _actors_line(tree),
        ill=unwell or isinstance(report, str) or (tree is not None and _is_ill(tree)),
        tree=shown,
        since=max(0, int(head) - _EVENTS_SHOWN),
        stored=() if overview is None else (*stats_lines(overview.stats, now_us), *_most_space(overview.names)),
        packages=() if overview is None else [_package(each, now_us) for each in overview.packages],
        unread="The store is starting." if found is None else found if isinstance(found, str) else None,
    )


def _most_space(names: Sequence[NameUsage]) -> Sequence[tuple[str, str]]:
    largest = [f"{each.name}: {size_text(each.bytes)}" for each in names[:_NAMES_SHOWN] if each.bytes]
    return (("most space", "; ".join(largest)),) if largest else ()


def _package(record: PackageRecord, now_us: int) -> Package:
    digest = record.manifest_digest
    return Package(
        name=record.name,
        package_id=Copied(record.package_id, f"…{record.package_id[-_ID_SHOWN:]}"),
        created_at=timestamp(record.created_at_us),
        age=age_text(now_us - record.created_at_us),
        content=f"{content_text(record.files, record.links, record.directories)}, {size_text(record.bytes)}",
        state=record.status,
        by=record.created_by,
        digest=None if digest is None else Copied(digest, _short(digest)),
    )


def _short(digest: str) -> str:
    algorithm, _, digits = digest.partition(":")
    return f"{algorithm}:{digits[:_DIGEST_SHOWN]}…"


def _is_ill(found: ActorSnapshot | SupervisorSnapshot) -> bool:
    if isinstance(found, SupervisorSnapshot):
        return found.state is not ChildState.RUNNING or any(map(_is_ill, found.children))
    return found.state is not ChildState.RUNNING or found.stall is not None


def _actors_of(found: ActorSnapshot | SupervisorSnapshot) -> Sequence[ActorSnapshot]:
    if isinstance(found, ActorSnapshot):
        return (found,)
    return [actor for child in found.children for actor in _actors_of(child)]


def _actors_line(tree: SupervisorSnapshot) -> str:
    actors = _actors_of(tree)
    running = sum(actor.state is ChildState.RUNNING for actor in actors)
    count = f"All {counted(running, 'actor')}" if running == len(actors) else f"{running} of {len(actors)} actors"
    restarts = sum(actor.starts - 1 for actor in actors if actor.starts > 1)
    return f"{count} run" + (f", {counted(restarts, 'restart')} so far" if restarts else "")


def _part(part: ComponentHealth, now_us: int) -> Part:
    age_s = max(0, now_us - part.measured_at_us) / _US
    details = [_fact(name, value) for name, value in part.details.items() if not name.endswith(_CODE)]
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
