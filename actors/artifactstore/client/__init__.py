"""A store on another machine, by its service: the reading methods of `Registry`, over HTTP.

For example::

    from artifactstore.client import connect

    async with connect("https://store.example.org", token) as registry:
        print(await registry.get_package("nightly"))

The methods return the same records and raise the same errors as those of `Registry`, within what the token may read.
Every file is compared with its digest, every manifest with its own, and the entries of a finalized package with its
tree digest. The service is not trusted: paths are checked as those of an archive are, and redirects are refused.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio

from artifactstore.arguments import checked
from artifactstore.client.contents import ContentCalls
from artifactstore.client.errors import (
    AnswerRefused,
    ApiVersionRefused,
    NotRemote,
    ServiceNotReached,
    ServiceRefused,
)
from artifactstore.client.history import HistoryCalls
from artifactstore.client.service import Service, http_client
from artifactstore.client.service_url import check_token, is_loopback, service_url
from artifactstore_protocols.tokens import Secret

__all__ = [
    "AnswerRefused",
    "ApiVersionRefused",
    "NotRemote",
    "RemoteRegistry",
    "ServiceNotReached",
    "ServiceRefused",
    "connect",
]


class RemoteRegistry(ContentCalls, HistoryCalls):
    """A store behind a service. `connect` opens one. It is used by trio tasks of the run that opened it.

    In addition to the errors of the methods of `Registry`, every method raises:

    - `ServiceNotReached` if the service does not answer. A request is sent again a few times first;
    - `ServiceRefused` if the service refuses the request with an error that this release does not know;
    - `TokenInvalid` if the token is unknown, revoked or has expired;
    - `ApiVersionRefused` if the service speaks another version of the API. The error says which side to upgrade;
    - `AnswerRefused` if an answer cannot be right.
    """


@checked
@asynccontextmanager
async def connect(url: str, token: str) -> AsyncGenerator[RemoteRegistry]:
    """Open the store behind a service. Nothing is sent before the first call.

    Args:
        url: the URL of the service: `https://HOST[:PORT]`, or `http://` on this machine.
        token: the secret of a token, which `artifactstore token create` printed.

    Raises:
        InvalidValue: the URL or the token is none, or the token would travel to another machine in plain text.
    """
    plain, secret = service_url(url), Secret(check_token(token))
    closed = trio.Event()
    async with http_client(on_this_machine=is_loopback(urlsplit(plain).hostname or "")) as client:
        try:
            yield RemoteRegistry(Service(plain, secret, client), closed)
        finally:
            closed.set()
