"""What the handlers that change packages share: their idempotency keys, and what their answers show."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from msgspec import Struct

from artifactstore.http.api.model import Call
from artifactstore.http.api.parents import with_parents_seen
from artifactstore_protocols.events import IdempotencyConflict
from artifactstore_protocols.http_keys import log_key
from artifactstore_protocols.records import PackageRecord, PackageStatus
from artifactstore_protocols.supervision import Refusal

__all__ = ["KEY_HEADER", "ChangedPackage", "changed", "idempotency_key"]

KEY_HEADER: Final[Mapping[str, str]] = {
    "Idempotency-Key": "A name for this request. If it is repeated with the same key, it is carried out once."
}
"""The header of a request that a client may have to repeat."""


class ChangedPackage(Struct, frozen=True):
    """What a token without the scope `read` sees of a package that it changed.

    Attributes:
        package_id: the id of the package.
        name: its name.
        status: its state.
    """

    package_id: str
    name: str
    status: PackageStatus


async def changed(call: Call, package: PackageRecord) -> PackageRecord | ChangedPackage:
    """Return what the answer to a request shows of the package that it changed: what its token may read."""
    if call.grant.allows("read", package.name):
        with suppress(Refusal):  # the change is made, whatever the database says now
            (seen,) = await with_parents_seen(call, [package])
            return seen
    return ChangedPackage(package.package_id, package.name, package.status)


@contextmanager
def idempotency_key(call: Call) -> Generator[str | None]:
    """Return the key for the log; None if the request has none. A conflict in the block names the key of the client.

    Raises:
        InvalidValue: the key of the client is none.
        IdempotencyConflict: the token used the key for another request.
    """
    given = call.headers.get("idempotency-key")
    if given is None:
        yield None
        return
    key = log_key(call.principal, given)
    try:
        yield key
    except IdempotencyConflict as error:
        raise IdempotencyConflict(given, error.sequence) from error
