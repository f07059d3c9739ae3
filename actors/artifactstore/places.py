"""Places in settings: functions that read a text as a directory, or as the file of a `sqlite:///` URL.

An ambiguous text is rejected, not interpreted. This module loads no database driver, so that shell completion can use
it.
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
"""Maximum length of a text in characters, which is the limit of a path on Linux in bytes."""

_HIDDEN: Final = "…"
"""Replaces a URL in messages, since a URL may hold a password."""


def check_text(what: str, text: str, *, secret: bool = False) -> None:
    """Reject a text with characters that a reader cannot see or a path cannot have.

    Args:
        what: the setting's name, for the message.
        text: its value.
        secret: whether the message must not repeat it.

    Raises:
        InvalidValue: the text holds a control character, such as the carriage return of a file from Windows. Or it
            begins or ends with white space, is not UTF-8, or is longer than any path.
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
    """Return the directory that a text names; `~` is the home directory. A relative path stays relative.

    Raises:
        InvalidValue: the text is not a path, or begins with something that only a shell would expand.
    """
    check_text(what, text)
    if not text:
        raise InvalidValue(what, text, "name a directory")
    if "://" in text:
        raise InvalidValue(what, _HIDDEN, "this is a URL; name a directory")
    path = _expanded(what, text)
    # `Path` removes the ./ before a ~ or $, so that a later reader of the path would expand it.
    return absolute(what, path) if str(path).startswith(("~", "$")) else path


def absolute(what: str, path: Path) -> Path:
    """Return a path as an absolute path, resolved from the current directory.

    Raises:
        InvalidValue: the path is relative, and the current directory was deleted.
    """
    try:
        return path.absolute()
    except FileNotFoundError:
        reason = "it is relative, and the current directory was deleted; change to another one, or name the full path"
        raise InvalidValue(what, str(path), reason) from None


def is_sqlite_url(url: str) -> bool:
    """Return whether a database URL is a SQLite URL."""
    return _SQLITE.match(url) is not None


def sqlite_file(what: str, url: str) -> Path:
    """Return the file that a `sqlite:///` URL names: `~` is the home directory, and `%XX` is a byte of the name.

    Raises:
        InvalidValue: the URL names no file, or has more parts, such as options. The message does not repeat the URL.
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
    # Expand ~ before decoding, so that a directory with the name ~ can be written as %7E.
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
    """Return the `sqlite:///` URL of a file."""
    return f"sqlite:///{quote(os.fsencode(file))}"


def _decoded(what: str, text: str) -> str:
    """Decode the percent escapes of a URL's path."""
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidValue(what, "sqlite", "the file's name is not valid UTF-8") from None


def _expanded(what: str, text: str) -> Path:
    """Return a path with ~ replaced by the home directory; reject shell variables."""
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
