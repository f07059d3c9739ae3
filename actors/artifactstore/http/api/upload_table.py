"""The rows of the table of routes for resumable uploads."""

from http import HTTPStatus
from typing import Any, Final

from artifactstore.http.api import uploads
from artifactstore.http.api.model import JSON, NoQuery, Route

__all__ = ["UPLOAD_ROUTES"]

_TAG: Final = "uploads"

UPLOAD_ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        method="OPTIONS",
        template="/v1/uploads",
        summary="Show the version, the extensions and the limit of tus that there are.",
        handler=uploads.upload_options,
        query=NoQuery,
        scope=None,
        answers={},
        status=HTTPStatus.NO_CONTENT,
        tag=_TAG,
    ),
    Route(
        method="POST",
        template="/v1/uploads",
        summary="Begin an upload of one file. `Location` of the answer is its path.",
        handler=uploads.create_upload,
        query=NoQuery,
        scope="write",
        body={uploads.PART: None},
        needs_body=False,
        answers={JSON: uploads.UploadStatus},
        headers=uploads.CREATION_HEADERS,
        status=HTTPStatus.CREATED,
        errors=uploads.CREATION_STATUSES,
        tag=_TAG,
    ),
    Route(
        method="GET",
        template="/v1/uploads/{upload}",
        summary="Show an upload. `HEAD` also ends a request that is sending a part of it.",
        handler=uploads.get_upload,
        query=NoQuery,
        scope="write",
        answers={JSON: uploads.UploadStatus},
        headers=uploads.TUS_HEADERS,
        errors=uploads.CHANGE_STATUSES,
        tag=_TAG,
    ),
    Route(
        method="PATCH",
        template="/v1/uploads/{upload}",
        summary="Send a part of an upload. The last one puts the file into the package.",
        handler=uploads.append_upload,
        query=NoQuery,
        scope="write",
        body={uploads.PART: None},
        answers={},
        headers=uploads.PART_HEADERS,
        status=HTTPStatus.NO_CONTENT,
        errors=uploads.PART_STATUSES,
        tag=_TAG,
    ),
    Route(
        method="DELETE",
        template="/v1/uploads/{upload}",
        summary="Remove an upload. A file that it has put into a package stays.",
        handler=uploads.remove_upload,
        query=NoQuery,
        scope="write",
        answers={},
        headers=uploads.TUS_HEADERS,
        status=HTTPStatus.NO_CONTENT,
        errors=uploads.CHANGE_STATUSES,
        tag=_TAG,
    ),
)
