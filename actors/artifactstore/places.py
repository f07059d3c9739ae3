"""Places in settings: what a text means as a directory, or as the file of a `sqlite:///` URL.

A text means what it says or is refused. Nothing here loads a database driver, so that a shell's completion can use it.
"""

import os
import re
import unicodedata
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from artifactstore_protocols.errors import InvalidValue

__all__ = ["absolute", "check_text", "directory", "is_sqlite_url", "sqlite_file", "sqlite_url"]

_SQLITE: Final = re.compile(r"sqlite(?:\+aiosqlite)?:")
_LENGTH_MAX: Final = 4096
"""As long as a path can be on Linux."""

_HIDDEN: Final = "…"
"""Stands for a URL in messages, which may hold a password."""


def check_text(what: str, text: str, *, secret: bool = False) -> None:
    """Refuse a text that looks like another one than it is.

    Args:
        what: the setting's name, for the message.
        text: its value.
        secret: whether the message must not repeat it.

    Raises:
        InvalidValue: it holds a control character, such as the carriage return of a file from Windows; white space
            around it; or bytes that are not UTF-8; or it is longer than any path.
    """
    shown = _HIDDEN if secret else text[:80]
    if len(text) > _LENGTH_MAX:
        raise InvalidValue(what, shown, f"it is longer than {_LENGTH_MAX} characters")
    control = next((each for each in text if unicodedata.category(each) == "Cc"), None)
    if control is not None:
        raise InvalidValue(what, shown, f"it holds the control character U+{ord(control):04X}; remove it")
    if text != text.strip():
        raise InvalidValue(what, shown, "there is white space before or after it; remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidValue(what, _HIDDEN if secret else ascii(text[:80]), "it is not valid UTF-8") from None


def directory(what: str, text: str) -> Path:
    """The directory that a text names, relative to the current one if it is; `~` is the home directory.

    Raises:
        InvalidValue: it is no path, or begins with what only a shell would expand.
    """
    check_text(what, text)
    if not text:
        raise InvalidValue(what, text, "name a directory")
    if "://" in text:
        raise InvalidValue(what, _HIDDEN, "this is a URL; name a directory")
    path = _expanded(what, text)
    # Without its ./ it would be expanded by whoever reads it again.
    return absolute(what, path) if str(path).startswith(("~", "$")) else path


def absolute(what: str, path: Path) -> Path:
    """A path as it is seen from the current directory.

    Raises:
        InvalidValue: it is relative, and the current directory was deleted.
    """
    try:
        return path.absolute()
    except FileNotFoundError:
        reason = "it is relative, and the current directory was deleted; change to another one, or name the full path"
        raise InvalidValue(what, str(path), reason) from None


def is_sqlite_url(url: str) -> bool:
    """Whether a database URL is meant for SQLite."""
    return _SQLITE.match(url) is not None


def sqlite_file(what: str, url: str) -> Path:
    """The file that a `sqlite:///` URL names: `~` is the home directory, and `%XX` is a byte of the name.

    Raises:
        InvalidValue: it names no file, or something beside it. The message does not repeat the URL.
    """
    check_text(what, url, secret=True)
    authority = _SQLITE.sub("", url, count=1)
    raw = authority.removeprefix("///")
    if authority in {"", "/", "//", "///", "////"} or raw == ":memory:" or raw.startswith("file:"):
        raise InvalidValue(what, "sqlite in memory", "name a file, such as sqlite:///var/artifactstore.db")
    if raw == authority:
        raise InvalidValue(what, "sqlite", "it takes a file and nothing else; write three slashes before its path")
    if "?" in raw:
        raise InvalidValue(what, "sqlite", "it takes a file and no options; write a ? in its name as %3F")
    if re.search(r"%(?![0-9A-Fa-f]{2})", raw):
        raise InvalidValue(what, "sqlite", "write a % in a file's name as %25")
    if raw.rpartition("/")[2] in {"", ".", ".."}:
        raise InvalidValue(what, "sqlite", "it names a directory; name a file in it")
    # Before it is decoded: a directory that is really called ~ can be written %7E.
    begin, _, rest = raw.partition("/")
    if begin.startswith(("~", "$")):
        path = _expanded(what, begin) / _decoded(what, rest.lstrip("/"))
    else:
        path = Path(_decoded(what, raw))
    if any(unicodedata.category(each) == "Cc" for each in str(path)):
        raise InvalidValue(what, "sqlite", "there is a control character in the file's name; remove it")
    if path.parts[:2] == ("/", "~"):
        raise InvalidValue(what, "sqlite", "write three slashes, not four, before a ~ that is the home directory")
    return path


def sqlite_url(file: Path) -> str:
    """The URL of a file."""
    return f"sqlite:///{quote(os.fsencode(file))}"


def _decoded(what: str, text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidValue(what, "sqlite", "the file's name is not valid UTF-8") from None


def _expanded(what: str, text: str) -> Path:
    if text.startswith("$"):
        raise InvalidValue(what, text, "variables are not expanded here; write the path, or ./$… if it is a name")
    if not text.startswith("~"):
        return Path(text)
    path = os.path.expanduser(text)  # noqa: PTH111 - pathlib does not say whose home is missing
    if path.startswith("~"):
        raise InvalidValue(what, text, "there is no such home directory; write the path, or ./~… if it is a name")
    if not Path(path).is_absolute():
        raise InvalidValue(what, text, "HOME is not an absolute path; set it right, or write the path")
    return Path(path)
