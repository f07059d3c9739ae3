"""Somebody who may see the pages of a service. No log knows the token, so tests can count events."""

from typing import Any, cast

from artifactstore.http.api.identity import identify_token
from artifactstore.http.authentication import Authenticator
from artifactstore.http.peers import Peers
from artifactstore.http.sessions import Sessions, login_grant
from artifactstore.registry import Registry
from artifactstore_protocols.tokens import Grant, make_secret

__all__ = ["VIEWER", "VIEWER_LINE", "identify", "viewers"]

VIEWER = ("Authorization", f"Bearer {make_secret(bytes(32))}")
"""The header of a request of the viewer."""

VIEWER_LINE = f"{VIEWER[0]}: {VIEWER[1]}\r\n".encode()


async def identify(registry: Registry, secret: str) -> Grant:
    """What a token allows: that of the viewer, or one of the store."""
    return login_grant("viewer") if VIEWER[1] == f"Bearer {secret}" else await identify_token(registry, secret)


def viewers() -> Authenticator:
    """For an application without a store: it lets the viewer in, and nobody else."""
    return Authenticator(lambda: cast("Any", object()), identify, Peers(), Sessions(), anonymous_read=False)
