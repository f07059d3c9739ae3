"""Commands that keep the token of a service for later commands, and forget it: login, logout."""

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.options import Json, Quiet
from artifactstore.cli.output import say, say_json
from artifactstore.cli.runner import logged, on_trio
from artifactstore_protocols.errors import InvalidValue

if TYPE_CHECKING:
    from artifactstore_protocols.tokens import Secret

__all__ = ["register"]

_TOKEN_BYTES_MAX = 4096

_Url = Annotated[
    str, typer.Argument(metavar="URL", help="The service: https://HOST[:PORT], or http:// on this machine.")
]


def login(url: _Url, *, json: Json = False, _quiet: Quiet = False) -> None:
    """Run `artifactstore login`."""
    from artifactstore.client import connect  # noqa: PLC0415 - only these commands load httpx
    from artifactstore.client.service_url import service_url  # noqa: PLC0415
    from artifactstore.client.token_file import save_token, token_file  # noqa: PLC0415

    plain = service_url(url)
    secret = _asked_for()

    async def check() -> None:
        async with connect(plain, secret) as registry:
            await registry.check_connection()

    with logged(needs_store=False):
        on_trio(check)
    file = token_file()
    save_token(file, plain, secret)
    if json:
        say_json({"url": plain, "file": str(file)})
    else:
        say(f"{plain} accepts the token, which is kept in {file}")


def _asked_for() -> "Secret":
    """Return the token on stdin, without showing what somebody types."""
    from artifactstore.client.service_url import check_token  # noqa: PLC0415 - as above
    from artifactstore_protocols.tokens import Secret  # noqa: PLC0415

    if sys.stdin.isatty():
        return Secret(check_token(getpass.getpass("Token: ")))
    return Secret(check_token(sys.stdin.read(_TOKEN_BYTES_MAX)))


def logout(url: _Url, *, json: Json = False, _quiet: Quiet = False) -> None:
    """Run `artifactstore logout`."""
    from artifactstore.client.service_url import service_url  # noqa: PLC0415 - as above
    from artifactstore.client.token_file import save_token, token_file  # noqa: PLC0415

    plain = service_url(url)
    file = token_file()
    if not save_token(file, plain, None):
        raise InvalidValue("service URL", plain, "no token of it is kept; `artifactstore login` keeps one")
    if json:
        say_json({"url": plain, "file": str(file)})
    else:
        say(f"forgot the token of {plain}; `artifactstore token revoke` ends it")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (login, logout):
        app.command()(command)
