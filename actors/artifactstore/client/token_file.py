"""The file with the tokens of a user, by the URLs of services: written by `artifactstore login`, and of mode 600.

A file that others can read or write is refused, as ssh refuses its keys.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import msgspec

from artifactstore.client.errors import TokenFileRefused
from artifactstore_protocols.tokens import Secret

__all__ = ["save_token", "saved_token", "token_file"]

_FILE_BYTES_MAX: Final = 1 << 20
_PRIVATE: Final = 0o600
_OF_OTHERS: Final = 0o077


def token_file() -> Path:
    """Return the path of the file: `artifactstore/tokens.json` in the directory for settings of the user."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(given) if given.startswith("/") else Path("~/.config").expanduser()
    return base / "artifactstore" / "tokens.json"


def saved_token(path: Path, url: str) -> Secret | None:
    """Return the token for a service; None without one.

    Raises:
        TokenFileRefused: others can use the file, or it is damaged.
    """
    token = _read(path).get(url)
    return None if token is None else Secret(token)


def save_token(path: Path, url: str, token: Secret | None) -> bool:
    """Keep the token for a service, or forget it with None. Return whether that changed the file.

    Raises:
        TokenFileRefused: as `saved_token`, or the file cannot be written.
    """
    before = _read(path)
    others = {key: text for key, text in before.items() if key != url}
    after = others if token is None else {**others, url: str(token)}
    if after == before:
        return False
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(after)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise TokenFileRefused(str(path), error.strerror or str(error)) from error
    return True


def _read(path: Path) -> Mapping[str, str]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & _OF_OTHERS:
                raise TokenFileRefused(str(path), "others can use it; `chmod 600` it, and revoke the tokens in it")
            content = file.read(_FILE_BYTES_MAX)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TokenFileRefused(str(path), error.strerror or str(error)) from error
    try:
        return cast("Mapping[str, str]", msgspec.json.decode(content, type=dict[str, str]))
    except ValueError as error:
        raise TokenFileRefused(str(path), "it holds no tokens; delete it, and log in again") from error
