"""The token that a command shows to a service: from a file, or from the environment, and never an argument.

Arguments are seen by every user of the machine, in its list of processes.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.tokens import Secret, is_secret

__all__ = ["TOKEN_VARIABLE", "TokenFile", "find_token"]

TOKEN_VARIABLE: Final = "ARTIFACTSTORE_TOKEN"  # noqa: S105 - the name of a variable

_BYTES_MAX: Final = 4096

TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help=f"Show the token in this file to the service; else the one in {TOKEN_VARIABLE}, if it is set.",
    ),
]


def find_token(file: Path | None, environment: Mapping[str, str] = os.environ) -> Secret | None:
    """Return the secret of the token for a service; None if there is neither a file nor a variable.

    Args:
        file: a file with the secret alone, which only its owner can read.
        environment: the environment variables. An empty one counts as not set.

    Raises:
        InvalidValue: the file cannot be read, others can read it, or what it or the variable has is no token.
    """
    if file is None:
        text = environment.get(TOKEN_VARIABLE, "")
        return _secret(TOKEN_VARIABLE, text) if text else None
    try:
        with file.open("rb") as opened:
            if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise InvalidValue("token file", str(file), f"others may read it; run chmod 600 {file}")
            text = opened.read(_BYTES_MAX).decode("latin-1")
    except OSError as error:
        raise InvalidValue("token file", str(file), f"it cannot be read: {error.strerror or error}") from error
    return _secret("token file", text, shown=str(file))


def _secret(what: str, text: str, *, shown: str = "ast_...") -> Secret:
    if not is_secret(text.strip()):
        raise InvalidValue(what, shown, "it has no token; `artifactstore token create` prints one")
    return Secret(text.strip())
