"""What every group of the client's methods stands on: the service, names of packages, and lists in pages."""

from collections.abc import AsyncGenerator
from typing import Final, cast
from urllib.parse import quote

import trio

from artifactstore.client.decoding import decoded
from artifactstore.client.errors import AnswerRefused
from artifactstore.client.service import Pairs, Service
from artifactstore.host_loop import loop_here
from artifactstore.refusals import StoreClosed, WrongEventLoop
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.records import PackageRecord

__all__ = ["PAGE", "ServiceCalls", "package_path"]

PAGE: Final = 500
"""How many items a list asks for at once."""

_PACKAGES: Final = "/v1/packages"


def package_path(package: str) -> str:
    """Return the path of a package in the API.

    Raises:
        PackageNotFound: no package can have this name.
    """
    if package in {"", ".", ".."} or package.encode(errors="ignore").decode() != package:
        raise PackageNotFound(package)
    return f"{_PACKAGES}/{quote(package, safe='')}"


class ServiceCalls:
    """An open connection to a service, and what its methods share."""

    def __init__(self, service: Service, closed: trio.Event) -> None:
        self._service_while_open = service
        self._closed = closed
        self._run = trio.lowlevel.current_trio_token()

    @property
    def _service(self) -> Service:
        if self._closed.is_set():
            raise StoreClosed
        here = loop_here()
        if here != "trio" or trio.lowlevel.current_trio_token() is not self._run:
            raise WrongEventLoop("trio", here)
        return self._service_while_open

    async def check_connection(self) -> None:
        """Check that the service answers, speaks this version of the API, and knows the token.

        Raises:
            TokenInvalid: it does not know the token.
        """
        await self._service.json("/openapi.json")

    async def _package(self, package: str) -> PackageRecord:
        return await self._record(PackageRecord, package_path(package))

    async def _record[T](self, kind: type[T], path: str, query: Pairs = ()) -> T:
        return self._decoded(kind, await self._service.json(path, query))

    def _decoded[T](self, kind: type[T], value: object) -> T:
        try:
            return decoded(kind, value)
        except (ValueError, RecursionError) as error:
            raise AnswerRefused(self._service.url, str(error)) from error

    async def _pages(
        self, path: str, query: Pairs = (), *, after: str | None = None, limit: int | None = None
    ) -> AsyncGenerator[object]:
        """Yield the items of a list, asking for page after page."""
        left = limit
        while left is None or left > 0:
            wanted = PAGE if left is None else min(left, PAGE)
            cursor = () if after is None else (("after", after),)
            page = await self._service.json(path, (*query, ("limit", str(wanted)), *cursor))
            items, following = self._parts(page)
            if len(items) > wanted or (following is not None and not items):
                raise AnswerRefused(self._service.url, "a page of a list is not as long as it may be")
            for each in items:
                yield each
            left = None if left is None else left - len(items)
            if following is None:
                return
            if following == after:
                raise AnswerRefused(self._service.url, "a page of a list is followed by itself")
            after = following

    def _parts(self, page: object) -> tuple[list[object], str | None]:
        given = cast("dict[str, object]", page) if isinstance(page, dict) else {}
        items, following = given.get("items"), given.get("next")
        if not isinstance(items, list) or not isinstance(following, str | int | None):
            raise AnswerRefused(self._service.url, "it is no page of a list")
        return cast("list[object]", items), None if following is None else str(following)
