"""`v1.tag.set`: a tag was set to a package, or its protection changed."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.commands import SetTag
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.event_types.ending import check_not_gone
from artifactstore_protocols.packages import NotFinalized, PackageNotFound, TagChanged, TagProtected
from artifactstore_protocols.state import LogState, Needs, TagState
from artifactstore_protocols.views import TAGS, Put, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["TAG_SET", "TagSet", "set_tag", "tag_subject"]


class TagSet(Struct, frozen=True):
    """A tag was set to a package, or its protection changed. The subject is `tag:` and the tag.

    Attributes:
        tag: the name of the tag.
        package_id: the id of the finalized package that the tag names from now on.
        protected: whether the tag can be neither moved nor deleted.
    """

    tag: str
    package_id: str
    protected: bool


def tag_subject(tag: str) -> str:
    """Return the subject of the events of a tag."""
    return f"tag:{tag}"


def set_tag(command: SetTag, state: LogState) -> TagSet | None:
    """Return the payload that sets a tag; None if the tag is set like this already.

    Raises:
        PackageNotFound: no package has this id.
        PackageGone: the package was deleted or has expired.
        NotFinalized: the package is open.
        TagChanged: the tag does not name the package that the command expects.
        TagProtected: the tag is protected and names another package.
    """
    package, current = state.packages.get(command.package_id), state.tags.get(command.tag)
    if package is None:
        raise PackageNotFound(command.package_id)
    check_not_gone(package)
    if not package.finalized:
        raise NotFinalized(command.package_id)
    if command.expected is not None and command.expected != ("" if current is None else current.package_id):
        raise TagChanged(command.tag)
    if current is not None and current.protected and current.package_id != command.package_id:
        raise TagProtected(command.tag, current.package_id)
    kept = current is not None and current.protected
    protected = kept if command.protected is None else command.protected
    if current == TagState(command.package_id, protected):
        return None
    return TagSet(command.tag, command.package_id, protected)


def _command(payload: TagSet) -> SetTag:
    return SetTag(payload.tag, payload.package_id, payload.protected)


def _check(payload: TagSet, _event: "Event") -> None:
    _command(payload)


def _judge(payload: TagSet, _stored: "StoredEvent", state: LogState) -> None:
    if set_tag(_command(payload), state) is None:
        raise InvalidValue("tag", payload.tag, "it is set like this already")


def _evolve(payload: TagSet, _stored: "StoredEvent", state: LogState) -> None:
    state.set_tag(payload.tag, TagState(payload.package_id, payload.protected))


def _rows(payload: TagSet, stored: "StoredEvent") -> Iterable[RowOperation]:
    event = stored.event
    row: Row = (
        payload.tag,
        payload.package_id,
        int(payload.protected),
        event.principal,
        event.recorded_at_us,
        stored.sequence,
    )
    return (Put(TAGS, (row,)),)


def _describe(payload: TagSet) -> str:
    return f"set tag {payload.tag!r} to {payload.package_id}{', protected' if payload.protected else ''}"


_NAME: Final = "v1.tag.set"
TAG_SET: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, TagSet),
    subject=lambda payload: tag_subject(payload.tag),
    needs=lambda payload: Needs(packages=frozenset({payload.package_id}), tags=frozenset({payload.tag})),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=_describe,
)
