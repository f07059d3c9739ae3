"""Commands on a service: `ARTIFACTSTORE_URL` names it. The token comes from a variable or from `artifactstore login`.

`--store` comes first, so that one command can use a store of this machine. A command that has no meaning on a service
says so, and never works on a store that its user did not mean.
"""

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from artifactstore.cli.store_option import named_store
from artifactstore_protocols.errors import InvalidValue

if TYPE_CHECKING:
    from artifactstore.client import RemoteRegistry
    from artifactstore.registry import Registry

__all__ = ["TOKEN", "URL", "AnyRegistry", "check_local", "on_service", "service_named"]

URL: Final = "ARTIFACTSTORE_URL"
TOKEN: Final = "ARTIFACTSTORE_TOKEN"  # noqa: S105 - the name of a variable

type AnyRegistry = Registry | RemoteRegistry
"""A store of this machine, or one behind a service."""


def service_named() -> str | None:
    """Return the URL of the service that commands use; None if they use a store."""
    return None if named_store() is not None else os.environ.get("ARTIFACTSTORE_URL") or None


def check_local() -> None:
    """Check that a command that needs a store has one.

    Raises:
        NotRemote: commands use a service.
    """
    if service_named() is not None:
        from artifactstore.client import NotRemote  # noqa: PLC0415 - only commands on a service load httpx

        raise NotRemote("this command", f"unset {URL}, or name a store with --store DIR")


async def on_service[T](url: str, work: "Callable[[RemoteRegistry], Awaitable[T]]") -> T:
    """Connect to a service, call `work`, and return its result.

    Raises:
        InvalidValue: the URL or the token is none, or there is no token.
    """
    import outcome  # noqa: PLC0415 - as above

    from artifactstore.client import connect  # noqa: PLC0415

    async with connect(url, _token_for(url)) as registry:
        # An error of the work leaves the block as a value, so that it is not part of a group.
        done = await outcome.acapture(work, registry)
    return done.unwrap()


def _token_for(url: str) -> str:
    if given := os.environ.get("ARTIFACTSTORE_TOKEN"):
        return given
    from artifactstore.client.service_url import service_url  # noqa: PLC0415 - as above
    from artifactstore.client.token_file import saved_token, token_file  # noqa: PLC0415

    plain = service_url(url, URL)
    token = saved_token(token_file(), plain)
    if token is None:
        raise InvalidValue(TOKEN, "", f"there is no token for {plain}; set it, or run `artifactstore login {plain}`")
    return token
