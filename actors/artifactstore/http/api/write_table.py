"""The rows of the table of routes that change packages and tags."""

from http import HTTPStatus
from typing import Any, Final

from artifactstore.http.api import filling
from artifactstore.http.api.model import JSON, NoQuery, Route
from artifactstore.http.api.writing import KEY_HEADER, ChangedPackage
from artifactstore_protocols.records import FinalizedPackage, PackageRecord

__all__ = ["WRITE_ROUTES"]

_CHANGED: Final = PackageRecord | ChangedPackage
_UNFIT: Final = {HTTPStatus.UNPROCESSABLE_ENTITY: "The metadata does not fit its schema."}

WRITE_ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        method="POST",
        template="/v1/packages",
        summary="Create an open package. `Location` of the answer is its path.",
        handler=filling.create_package,
        query=NoQuery,
        scope="write",
        body={JSON: filling.NewPackage},
        answers={JSON: _CHANGED},
        headers=KEY_HEADER,
        status=HTTPStatus.CREATED,
        errors=_UNFIT,
    ),
    Route(
        method="POST",
        template="/v1/packages/{package}/finalize",
        summary="Finalize a package. A finalized package gets the same answer again.",
        handler=filling.finalize_package,
        query=NoQuery,
        scope="write",
        answers={JSON: FinalizedPackage},
        errors=_UNFIT,
        named="open",
    ),
)
