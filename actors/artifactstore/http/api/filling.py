"""Handlers that create packages and finalize them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from artifactstore.http.api.model import Answer, Call, NoQuery
from artifactstore.http.api.problems import Problem
from artifactstore.http.api.writing import changed, idempotency_key
from artifactstore.registry import event_store
from artifactstore_protocols.commands import PARENTS_MAX
from artifactstore_protocols.names import check_name
from artifactstore_protocols.retention import DEFAULT_RETENTION

__all__ = ["NewPackage", "create_package", "finalize_package"]


class NewPackage(Struct, frozen=True, forbid_unknown_fields=True):
    """A package that is to be created.

    Attributes:
        name: its name, which a glob of the token must match.
        retention: the name of its retention class.
        metadata: values by key: text, integers, booleans, lists and maps.
        schema: the schema that the metadata must fit, as `NAME` or `NAME@VERSION`.
        parents: what names the finalized packages that it is made from.
    """

    name: str
    retention: str = DEFAULT_RETENTION
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    schema: str | None = None
    parents: Annotated[tuple[str, ...], Meta(max_length=PARENTS_MAX)] = field(default=(), name="from")


async def create_package(call: Call, _query: NoQuery) -> Answer:
    """Create an open package."""
    asked = call.sent_as(NewPackage)
    check_name("package name", asked.name)
    if not call.grant.allows("write", asked.name):
        detail = f"This token may create packages of these names: {', '.join(call.within)}."
        raise Problem(HTTPStatus.FORBIDDEN, "name_not_allowed", detail)
    store = event_store(call.registry)
    parents = [(await store.find_package(text, within=call.within)).package_id for text in asked.parents]
    with idempotency_key(call) as key:
        package = await call.registry.create_package(
            asked.name,
            retention=asked.retention,
            metadata=asked.metadata,
            schema=asked.schema,
            parents=parents,
            principal=call.principal,
            idempotency_key=key,
        )
    location = {"Location": f"/v1/packages/{package.package_id}"}
    return Answer(await changed(call, package), HTTPStatus.CREATED, location)


async def finalize_package(call: Call, _query: NoQuery) -> Answer:
    """Finalize a package. One that is finalized already gets the same answer."""
    return Answer(await call.registry.finalize_package(call.package.package_id, principal=call.principal))
