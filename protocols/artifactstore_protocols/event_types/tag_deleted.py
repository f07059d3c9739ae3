"""`v1.tag.deleted`: a tag was deleted. Its package stays."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.commands import DeleteTag
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.event_types.tag_set import tag_subject
from artifactstore_protocols.packages import TagChanged, TagNotFound, TagProtected
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import TAGS, Delete, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["TAG_DELETED", "TagDeleted", "delete_tag"]


class TagDeleted(Struct, frozen=True):
    """A tag was deleted. The subject is `tag:` and the tag.

    Attributes:
        tag: the name of the tag.
    """

    tag: str


def delete_tag(command: DeleteTag, state: LogState) -> TagDeleted:
    """Return the payload that deletes a tag.

    Raises:
        TagNotFound: there is no such tag.
        TagChanged: the tag does not name the package that the command expects.
        TagProtected: the tag is protected.
    """
    current = state.tags.get(command.tag)
    if current is None:
        raise TagNotFound(command.tag)
    if command.expected is not None and command.expected != current.package_id:
        raise TagChanged(command.tag)
    if current.protected:
        raise TagProtected(command.tag, current.package_id)
    return TagDeleted(command.tag)


def _check(payload: TagDeleted, _event: "Event") -> None:
    DeleteTag(payload.tag)


def _judge(payload: TagDeleted, _stored: "StoredEvent", state: LogState) -> None:
    delete_tag(DeleteTag(payload.tag), state)


def _evolve(payload: TagDeleted, _stored: "StoredEvent", state: LogState) -> None:
    state.set_tag(payload.tag, None)


def _rows(payload: TagDeleted, _stored: "StoredEvent") -> Iterable[RowOperation]:
    return (Delete(TAGS, ((payload.tag,),)),)


_NAME: Final = "v1.tag.deleted"
TAG_DELETED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, TagDeleted),
    subject=lambda payload: tag_subject(payload.tag),
    needs=lambda payload: Needs(tags=frozenset({payload.tag})),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"deleted tag {payload.tag!r}",
)
