"""The rows of the table of routes that answer with a page."""

from typing import Any, Final

from artifactstore.http.api.model import HTML, Route
from artifactstore.http.api.pages import comparing, file, listing, log, package

__all__ = ["PAGE_ROUTES"]

_TAG: Final = "pages"

PAGE_ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        method="GET",
        template=listing.PATH,
        summary="Show a page with a list of packages and a search.",
        handler=listing.show_packages,
        query=listing.PackagesQuery,
        answers={HTML: None},
        tag=_TAG,
    ),
    Route(
        method="GET",
        template=package.TEMPLATE,
        summary="Show the page of a package.",
        handler=package.show_package,
        query=package.DirectoryQuery,
        answers={HTML: None},
        tag=_TAG,
    ),
    Route(
        method="GET",
        template=file.TEMPLATE,
        summary="Show the page of a directory, a link or a file of a package.",
        handler=file.show_path,
        query=package.DirectoryQuery,
        answers={HTML: None},
        tag=_TAG,
    ),
    Route(
        method="GET",
        template=comparing.TEMPLATE,
        summary="Show a page with the differences of two packages.",
        handler=comparing.compare_packages,
        query=comparing.CompareQuery,
        answers={HTML: None},
        tag=_TAG,
    ),
    Route(
        method="GET",
        template=log.HISTORY_TEMPLATE,
        summary="Show a page with the history of a package.",
        handler=log.show_history,
        query=log.HistoryQuery,
        answers={HTML: None},
        tag=_TAG,
    ),
    Route(
        method="GET",
        template=log.PATH,
        summary="Show a page with the log, which is kept up to date.",
        handler=log.show_log,
        query=log.LogQuery,
        answers={HTML: None},
        tag=_TAG,
    ),
)
