"""Handlers that delete packages, change how long they are kept, place and release holds, and annotate them."""

from collections.abc import Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from artifactstore.http.api.model import Answer, Call, NoQuery
from artifactstore.http.api.writing import changed, idempotency_key
from artifactstore_protocols.packages import HoldNotFound

__all__ = [
    "Annotations",
    "DeleteQuery",
    "Extension",
    "NewHold",
    "NewRetention",
    "annotate_package",
    "delete_package",
    "extend_retention",
    "place_hold",
    "release_hold",
    "set_retention",
]


class DeleteQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a package is deleted."""

    reason: Annotated[str, Meta(description="Why, in 1 to 200 printable characters. It stays in the log.")]
    before_expiry: Annotated[bool, Meta(description="Delete it even if its retention has not ended.")] = False


async def delete_package(call: Call, query: DeleteQuery) -> Answer:
    """Delete a package. Its record stays."""
    package = await call.registry.delete_package(
        call.package.package_id, reason=query.reason, before_expiry=query.before_expiry, principal=call.principal
    )
    return Answer(await changed(call, package))


class NewRetention(Struct, frozen=True, forbid_unknown_fields=True):
    """How long a package is kept after it was finalized.

    Attributes:
        retention: a retention class, or a duration such as `30d`.
    """

    retention: str


async def set_retention(call: Call, _query: NoQuery) -> Answer:
    """Set how long a finalized package is kept."""
    asked = call.sent_as(NewRetention)
    package = await call.registry.set_retention(call.package.package_id, asked.retention, principal=call.principal)
    return Answer(await changed(call, package))


class Extension(Struct, frozen=True, forbid_unknown_fields=True):
    """How much longer a package is kept.

    Attributes:
        duration: a duration such as `30d`. It is added to the end of the retention, or to now if that is over.
    """

    duration: str


async def extend_retention(call: Call, _query: NoQuery) -> Answer:
    """Keep a finalized package longer."""
    asked = call.sent_as(Extension)
    with idempotency_key(call) as key:
        package = await call.registry.extend_retention(
            call.package.package_id, asked.duration, principal=call.principal, idempotency_key=key
        )
    return Answer(await changed(call, package))


class NewHold(Struct, frozen=True, forbid_unknown_fields=True):
    """A hold that is to be placed.

    Attributes:
        reason: why, in 1 to 200 printable characters.
    """

    reason: str


async def place_hold(call: Call, _query: NoQuery) -> Answer:
    """Place a hold on a package, which keeps it until the hold is released."""
    asked, package_id = call.sent_as(NewHold), call.package.package_id
    with idempotency_key(call) as key:
        hold = await call.registry.place_hold(
            package_id, reason=asked.reason, principal=call.principal, idempotency_key=key
        )
    location = {"Location": f"/v1/packages/{package_id}/holds/{hold.hold_id}"}
    return Answer(hold, HTTPStatus.CREATED, location)


async def release_hold(call: Call, _query: NoQuery) -> Answer:
    """Release a hold of the package, and no other one."""
    hold_id = call.path["hold"]
    async with aclosing(call.registry.list_holds(call.package.package_id)) as holds:
        if not any([each.hold_id == hold_id async for each in holds]):
            raise HoldNotFound(hold_id)
    await call.registry.release_hold(hold_id, principal=call.principal)
    return Answer(None, HTTPStatus.NO_CONTENT)


class Annotations(Struct, frozen=True, forbid_unknown_fields=True):
    """What is said about a package beside its metadata.

    Attributes:
        annotations: values to set, by key, as metadata has them.
        remove: the keys of annotations to remove.
    """

    annotations: Mapping[str, Any] = field(default_factory=dict[str, Any])
    remove: tuple[str, ...] = ()


async def annotate_package(call: Call, _query: NoQuery) -> Answer:
    """Set and remove annotations of a package."""
    asked = call.sent_as(Annotations)
    package = await call.registry.annotate_package(
        call.package.package_id, asked.annotations, remove=asked.remove, principal=call.principal
    )
    return Answer(await changed(call, package))
