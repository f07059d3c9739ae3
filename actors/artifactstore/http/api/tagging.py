"""Handlers that set and delete tags.

A tag is as visible as the package that it names. A token moves and deletes tags that it sees. It makes a new tag only
if one of its globs matches the name, as for packages. So a token for `pr-*` cannot make `production`, which others
trust. And it gets the same answer for every other name, whether a tag out of its sight has that name or none does.
"""

from http import HTTPStatus
from typing import Final

from msgspec import Struct

from artifactstore.http.api.model import Answer, Call, NoQuery
from artifactstore.http.api.problems import Problem
from artifactstore.registry import event_store, tag_writes
from artifactstore_protocols.commands import DeleteTag, SetTag
from artifactstore_protocols.packages import TagChanged, TagNotFound
from artifactstore_protocols.records import Tag

__all__ = ["TagTarget", "delete_tag", "put_tag"]

_TRIES: Final = 5
"""How often a change is tried whose tag others move meanwhile."""


class TagTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """What a tag is set to.

    Attributes:
        package: what names the finalized package.
        protect: whether the tag can be neither moved nor deleted; null leaves that as it is.
    """

    package: str
    protect: bool | None = None


async def put_tag(call: Call, _query: NoQuery) -> Answer:
    """Set a tag to a package."""
    name, asked = call.path["tag"], call.sent_as(TagTarget)
    DeleteTag(name)  # refuses what is no tag
    for left in reversed(range(_TRIES)):
        current = await event_store(call.registry).tag(name)
        if current is None or not await _is_seen(call, current):
            if not call.grant.allows("tag", name):
                detail = f"This token may make tags of these names: {', '.join(call.within)}."
                raise Problem(HTTPStatus.FORBIDDEN, "name_not_allowed", detail)
            if current is not None:
                detail = f"The tag {name!r} belongs to others; choose another name."
                raise Problem(HTTPStatus.CONFLICT, "tag_taken", detail)
        package = await event_store(call.registry).find_package(asked.package, within=call.within)
        expected = "" if current is None else current.package_id
        try:
            tag = await tag_writes(call.registry).set(
                SetTag(name, package.package_id, asked.protect, expected), call.principal
            )
        except TagChanged:
            if not left:
                raise
            continue
        return Answer(tag, HTTPStatus.CREATED if current is None else HTTPStatus.OK)
    raise AssertionError("the last try returns or raises")


async def delete_tag(call: Call, _query: NoQuery) -> Answer:
    """Delete a tag. Its package stays."""
    name = call.path["tag"]
    DeleteTag(name)  # refuses what is no tag
    for left in reversed(range(_TRIES)):
        current = await event_store(call.registry).tag(name)
        if current is None or not await _is_seen(call, current):
            raise TagNotFound(name)
        try:
            await tag_writes(call.registry).delete(DeleteTag(name, current.package_id), call.principal)
        except TagChanged:
            if not left:
                raise
            continue
        return Answer(None, HTTPStatus.NO_CONTENT)
    raise AssertionError("the last try returns or raises")


async def _is_seen(call: Call, tag: Tag) -> bool:
    """Return whether the token may use the package that a tag names."""
    return call.grant.allows("tag", (await event_store(call.registry).package(tag.package_id)).name)
