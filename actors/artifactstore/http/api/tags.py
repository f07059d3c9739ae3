"""Handlers that read tags. A token sees the tags of packages that it may read."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from artifactstore.http.api.model import Answer, Call, FreshQuery
from artifactstore.registry import event_store
from artifactstore_protocols.packages import PackageNotFound, TagNotFound
from artifactstore_protocols.records import Tag

__all__ = ["TagsPage", "TagsQuery", "get_tag", "list_tags"]


class TagsQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """Which part of the tags to list."""

    after: Annotated[str, Meta(description="Continue after this tag: `next` of the page before.")] = ""
    limit: Annotated[int, Meta(ge=1, le=1000, description="The most items of the answer.")] = 100


class TagsPage(Struct, frozen=True):
    """A page of tags.

    Attributes:
        items: the tags, in the bytewise order of their names.
        next: the value of `after` for the next page; null on the last page.
    """

    items: Sequence[Tag]
    next: str | None


async def list_tags(call: Call, query: TagsQuery) -> Answer:
    """Answer with a page of tags."""
    found = await event_store(call.registry).tags(after=query.after, limit=query.limit + 1, within=call.within)
    items = found[: query.limit]
    return Answer(TagsPage(items, items[-1].tag if len(found) > query.limit else None))


async def get_tag(call: Call, _query: FreshQuery) -> Answer:
    """Answer with one tag."""
    name, store = call.path["tag"], event_store(call.registry)
    try:
        package = await store.find_package(f"tag:{name}", within=call.within)
    except PackageNotFound as error:
        raise TagNotFound(name) from error
    tag = await store.tag(name)
    if tag is None or tag.package_id != package.package_id:  # it was moved in between, maybe out of sight
        raise TagNotFound(name)
    return Answer(tag)
