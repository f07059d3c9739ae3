"""The page that lists packages, with a search, the filters of the API, and pages that follow each other."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Final, cast

from msgspec import Meta, Struct, ValidationError, convert, field
from msgspec.structs import asdict, fields

from artifactstore.http.api.model import Answer, Call, FreshQuery
from artifactstore.http.api.packages import ListQuery, PackagesPage, list_packages
from artifactstore.http.api.pages.html import page, with_query
from artifactstore.registry import event_store
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.packages import AmbiguousPackage, PackageNotFound

__all__ = ["PAGE", "PATH", "PackagesQuery", "show_packages"]

PATH: Final = "/packages"

_PATTERN: Final = frozenset("*?[")
PAGE: Final = 50
"""The most packages of a page."""
_NOT_FILTERS: Final = frozenset({"search", "sort", "reverse", "after", "min_sequence"})


class PackagesQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """What a form asks for: the query of `GET /v1/packages`, with empty text for what is not asked."""

    search: Annotated[str, Meta(description="A part of their names, or a glob for them.")] = ""
    state: Annotated[str, Meta(description="Their state.")] = ""
    since: Annotated[str, Meta(description="Created since a time, as for `/v1/packages`.")] = ""
    until: Annotated[str, Meta(description="Created until then.")] = ""
    by: Annotated[str, Meta(description="The principal who created them.")] = ""
    retention: Annotated[str, Meta(description="Their retention class.")] = ""
    tag: Annotated[str, Meta(description="A glob for tags, one of which they have.")] = ""
    meta: Annotated[tuple[str, ...], Meta(description="Metadata that they have: `K=TEXT` or `K:=JSON`.")] = ()
    has: Annotated[tuple[str, ...], Meta(description="A key of their metadata or annotations.")] = ()
    made_from: Annotated[str, Meta(description="A package that they are made from.")] = field(default="", name="from")
    sort: Annotated[str, Meta(description="`created`, `name` or `size`.")] = ""
    reverse: Annotated[str, Meta(description="`true` reverses the order.")] = ""
    after: Annotated[str, Meta(description="Continue after this package.")] = ""


class _Shown(Struct, frozen=True):
    """What the page shows beside its form."""

    items: PackagesPage
    error: str = ""


async def show_packages(call: Call, query: PackagesQuery) -> Answer:
    """Answer with a page of packages, or with the form and what is wrong in it."""
    since = await event_store(call.registry).wait_for_growth(0)  # first, so that no event is missed
    try:
        found = await list_packages(call, _asked(query))
        shown = _Shown(cast("PackagesPage", found.value))
    except (InvalidValue, PackageNotFound, AmbiguousPackage) as error:
        shown = _Shown(PackagesPage((), None), str(error))
    given = _given(query)
    return await page(
        "packages.html",
        HTTPStatus.BAD_REQUEST if shown.error else HTTPStatus.OK,
        query=query,
        packages=shown.items.items,
        error=shown.error,
        is_filtered=any(name not in _NOT_FILTERS for name in given),
        is_narrowed=any(name not in {"sort", "reverse", "after"} for name in given),
        first=with_query(PATH, {**given, "after": ""}),
        next=None if shown.items.next is None else with_query(PATH, {**given, "after": shown.items.next}),
        since=since,
    )


def _given(query: PackagesQuery) -> Mapping[str, str | Sequence[str]]:
    """Return what was asked for, by the names of the query, without what is empty."""
    values = cast("Mapping[str, str | tuple[str, ...] | int]", asdict(query))
    given: dict[str, str | Sequence[str]] = {}
    for each in fields(PackagesQuery):
        value = values[each.name]
        if isinstance(value, int):  # min_sequence is about one answer
            continue
        if kept := tuple(filter(None, value)) if isinstance(value, tuple) else value:
            given[each.encode_name] = kept
    return given


def _asked(query: PackagesQuery) -> ListQuery:
    """Return the query of the API for that of the form.

    Raises:
        InvalidValue: a value is not one of those that the API takes.
    """
    given = {name: value for name, value in _given(query).items() if name != "search"}
    if query.search:
        given["name"] = query.search if _PATTERN & set(query.search) else f"*{query.search}*"
    try:
        return convert({**given, "limit": PAGE}, ListQuery, strict=False)
    except ValidationError as error:
        raise InvalidValue("filter", "", str(error)) from error
