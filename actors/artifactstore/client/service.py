"""Requests to a service: sent again if the connection breaks, and bounded in time and in bytes.

The service is not trusted: redirects are refused, so the token goes to one origin alone, and answers that no service of
this version sends are not used. Only requests that change nothing are sent, so each may be sent again.
"""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import httpx
import msgspec
import trio

from artifactstore.client.errors import AnswerRefused, ApiVersionRefused, ServiceNotReached
from artifactstore.client.problems import error_of
from artifactstore_protocols.api_version import API_VERSION, API_VERSION_HEADER, misfit_text
from artifactstore_protocols.retrying import pause_s
from artifactstore_protocols.supervision import Refusal
from artifactstore_protocols.tokens import Secret

__all__ = ["ANSWER_BYTES_MAX", "Attempts", "Busy", "Pairs", "Service", "http_client", "received"]

ANSWER_BYTES_MAX: Final = 256 << 20
"""The most bytes of an answer that is kept in memory. A manifest of 100,000 files has about 20 MB."""

_PROBLEM_BYTES_MAX: Final = 64 << 10
_CONNECT_S: Final = 10.0
_SILENCE_S: Final = 60.0
"""The longest time without a byte, in seconds. A service answers within 10 s, and its streams have heartbeats."""

_CONNECTIONS_MAX: Final = 16
_BUSY: Final = (429, 503)

type Pairs = Sequence[tuple[str, str]]


class Busy(Exception):
    """The service asks to come again later.

    Attributes:
        error: what to raise if it stays so.
        after_s: how long it asks to wait, in seconds; None if it does not say.
    """

    def __init__(self, error: Refusal, after_s: float | None) -> None:
        super().__init__(str(error))
        self.error, self.after_s = error, after_s


class Service:
    """A service, and the connections to it.

    Args:
        url: its URL, as `service_url.service_url` returns it.
        token: the secret of a token.
        client: the HTTP client, which `http_client` makes.
    """

    def __init__(self, url: str, token: Secret, client: httpx.AsyncClient) -> None:
        self.url = url
        self._client = client
        self._headers = {
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {token}",
            API_VERSION_HEADER: str(API_VERSION),
        }

    async def json(self, path: str, query: Pairs = ()) -> object:
        """Return a JSON answer.

        Raises:
            Refusal: the service refuses the request, or its answer cannot be used.
        """
        body = await self.body(path, query, "application/json")
        try:
            return msgspec.json.decode(body)
        except (ValueError, RecursionError) as error:
            raise AnswerRefused(self.url, "it is not JSON") from error

    async def body(self, path: str, query: Pairs, accept: str) -> bytes:
        """Return the body of an answer, of up to `ANSWER_BYTES_MAX`.

        Raises:
            Refusal: the service refuses the request, or its answer cannot be used.
        """

        async def attempt() -> bytes:
            async with self.answer(path, query, {"Accept": accept}) as answer:
                return await _read(answer, ANSWER_BYTES_MAX, self.url)

        return await self.retried(attempt)

    async def retried[T](self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the first attempt that ends with an answer.

        Raises:
            ServiceNotReached: none did.
            Refusal: the service refuses the request.
        """
        attempts = Attempts(self.url)
        while True:
            try:
                return await attempt()
            except (httpx.TransportError, Busy) as error:
                await attempts.wait(error)

    @asynccontextmanager
    async def answer(
        self, path: str, query: Pairs = (), headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[httpx.Response]:
        """Send one request, and open the body of its answer.

        Args:
            path: the path and what is quoted in it, from `/v1` on.
            query: the parameters.
            headers: further headers.

        Raises:
            httpx.TransportError: the connection broke.
            Busy: the service asks to come again.
            Refusal: the service refuses the request, or its answer cannot be used.
        """
        url = httpx.URL(f"{self.url}{path}", params=query) if query else httpx.URL(f"{self.url}{path}")
        async with self._client.stream("GET", url, headers={**self._headers, **(headers or {})}) as answer:
            await self._check(answer)
            yield answer

    async def _check(self, answer: httpx.Response) -> None:
        version = answer.headers.get(API_VERSION_HEADER)
        if version is not None and (misfit := misfit_text(version, side="service")) is not None:
            raise ApiVersionRefused(self.url, misfit)
        if answer.is_redirect:
            raise AnswerRefused(
                self.url, "it is a redirect, and the token goes nowhere else; use the URL of the service"
            )
        if not answer.is_success:
            error = error_of(answer.status_code, await _read(answer, _PROBLEM_BYTES_MAX, self.url))
            if answer.status_code in _BUSY:
                raise Busy(error, _seconds(answer.headers.get("retry-after")))
            raise error
        if version is None:
            raise AnswerRefused(
                self.url, "it has no version of the API; this is no artifactstore service, or an old one"
            )
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise AnswerRefused(self.url, "it is compressed, which nobody asked for")


class Attempts:
    """The attempts to get one answer. It waits between them, longer each time, and gives up in the end.

    Args:
        url: the URL of the service.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._failed = 0

    def succeeded(self) -> None:
        """Begin to count again: the last attempt brought something."""
        self._failed = 0

    async def wait(self, error: httpx.TransportError | Busy) -> None:
        """Wait before the next attempt.

        Raises:
            ServiceNotReached: there is none left.
            Refusal: there is none left, and the service said why.
        """
        self._failed += 1
        pause = pause_s(self._failed, error.after_s if isinstance(error, Busy) else None)
        if pause is None and isinstance(error, Busy):
            raise error.error from None
        if pause is None or _is_of_certificate(error):
            raise ServiceNotReached(self._url, _reason(error)) from error
        await trio.sleep(pause)


def http_client(transport: httpx.AsyncBaseTransport | None = None, *, on_this_machine: bool) -> httpx.AsyncClient:
    """Return an HTTP client for one service.

    Args:
        transport: what sends the requests; by default connections that check certificates as the system does.
        on_this_machine: whether the service is on this machine. To a proxy, 127.0.0.1 would be its own machine.
    """
    return httpx.AsyncClient(
        transport=transport,
        verify=ssl.create_default_context(),
        timeout=httpx.Timeout(_SILENCE_S, connect=_CONNECT_S),
        limits=httpx.Limits(max_connections=_CONNECTIONS_MAX, max_keepalive_connections=_CONNECTIONS_MAX),
        trust_env=not on_this_machine,
        follow_redirects=False,
    )


@asynccontextmanager
async def received(answer: httpx.Response) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Open the body of an answer, in pieces as they arrive.

    httpx nests generators, and leaves the inner ones to the garbage collector if the outer one is closed early. So an
    answer that is left early is closed first, and the error of a later read then ends all of them.
    """
    pieces = answer.aiter_raw()
    try:
        yield pieces
    finally:
        with trio.CancelScope(shield=True):
            await answer.aclose()
            with suppress(httpx.HTTPError, httpx.StreamError):
                async for _ in pieces:  # what had arrived before
                    pass


async def _read(answer: httpx.Response, most_bytes: int, url: str) -> bytes:
    """Return the body of an answer.

    Raises:
        AnswerRefused: it is too long.
    """
    body = bytearray()
    async with received(answer) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > most_bytes:
                raise AnswerRefused(url, f"it has more than {most_bytes} bytes")
    return bytes(body)


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004 - digits of any time


def _causes(error: BaseException) -> Generator[BaseException]:
    """Yield an error and what caused it: httpx and trio each wrap errors of the layer below."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_of_certificate(error: Exception) -> bool:
    """Return whether a certificate is refused, which another attempt does not change."""
    return any(isinstance(each, ssl.SSLCertVerificationError) for each in _causes(error))


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it took too long"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return "its answer broke off"
    return next((str(each) for each in _causes(error) if str(each)), type(error).__name__)
