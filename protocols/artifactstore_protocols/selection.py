"""Which entries of a tree an ingest takes: rules of gitignore, a limit on sizes, and cache directories.

A rule is one line:

- `*.log` matches in every directory. A rule with a slash before its end, such as `/*.log` or `docs/*.log`, matches from
  the directory of the rules on.
- `build/` matches only directories. `!keep.log` takes back what an earlier rule excluded. The last rule that matches
  decides.
- `*`, `?` and sets stop at `/`. `**/` is any number of directories, `/**` everything below.
- A backslash makes the next character plain. Empty lines and lines that begin with `#` are no rules.

Nothing below an excluded directory is looked at, so no rule takes it back.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.globs import GLOB_LENGTH_MAX, glob_matcher, is_literal
from artifactstore_protocols.typed import check_fields

__all__ = ["EVERYTHING", "IGNORE_FILE", "Rules", "Selection"]

IGNORE_FILE: Final = ".artifactignore"
"""The name of a file with rules for the directory that holds it and for all below."""

_TRAILING_SPACE = re.compile(r"(?<!\\)((?:\\\\)*)[ \t]+$")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_STARS = re.compile(r"\*{2,}")
_RULES_MAX = 10_000
_SHOWN_CHARACTERS = 60


class _Rule(NamedTuple):
    """A rule: whether it excludes, whether only directories, and whether it compares the name or the path."""

    excludes: bool
    directories: bool
    of_name: bool
    matches: Callable[[str], bool]


class Rules:
    """Rules that are relative to one directory."""

    __slots__ = ("_rules",)

    def __init__(self, lines: Sequence[str]) -> None:
        """Read rules, one a line.

        Raises:
            InvalidValue: a rule is too long or has a set such as `[[:digit:]]`, or there are too many rules.
        """
        self._rules = [rule for line in lines if (rule := _rule(line)) is not None]
        if len(self._rules) > _RULES_MAX:
            raise InvalidValue("rule", str(len(self._rules)), f"there may be at most {_RULES_MAX} of them")
        self._rules.reverse()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._rules)

    def excludes(self, path: str, *, directory: bool) -> bool | None:
        """Return whether the rules exclude a path, given relative to their directory; None if no rule matches."""
        name = path[path.rfind("/") + 1 :]
        for excludes, directories, of_name, matches in self._rules:
            if (directory or not directories) and matches(name if of_name else path):
                return excludes
        return None


def _rule(line: str) -> _Rule | None:
    text = _TRAILING_SPACE.sub(r"\1", line.removesuffix("\n").removesuffix("\r"))
    if not text or text.startswith("#"):
        return None
    excludes = not text.startswith("!")
    text = text if excludes else text[1:]
    directories = text.endswith("/")
    text = text.removesuffix("/")
    if not text:
        return None
    if len(text) > GLOB_LENGTH_MAX or "\0" in text or "[:" in text:
        reason = f"at most {GLOB_LENGTH_MAX} characters, no NUL, and no set of the form [[:digit:]]"
        raise InvalidValue("rule", line[:_SHOWN_CHARACTERS], reason)
    of_name = "/" not in text
    glob = "/".join(part if part == "**" else _STARS.sub("*", part) for part in text.removeprefix("/").split("/"))
    glob = _ESCAPED.sub(lambda found: f"[{found[1]}]" if found[1] in "*?[" else found[1], glob).replace("[^", "[!")
    return _Rule(excludes, directories, of_name, glob.__eq__ if is_literal(glob) else glob_matcher(glob, of_paths=True))


class Selection(Struct, frozen=True):
    """Which entries of a directory to take; all by default, but for what its ignore files exclude.

    An invalid rule raises `InvalidValue`.

    Attributes:
        exclude: rules for what to leave out, relative to the directory.
        include: rules for what to take although `exclude` or an ignore file excludes it.
        ignore_files: whether files named `.artifactignore` hold rules. A rule of a directory comes before those above.
        exclude_caches: whether to leave out directories that a valid `CACHEDIR.TAG` marks as a cache.
        max_file_size: the size in bytes above which a file is left out; None for no limit.
    """

    exclude: Sequence[str] = ()
    include: Sequence[str] = ()
    ignore_files: bool = True
    exclude_caches: bool = False
    max_file_size: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        self.rules()

    def rules(self) -> Rules:
        """Return the rules of `exclude` and `include`, of which the latter decide."""
        return Rules([*self.exclude, *(f"!{rule}" for rule in self.include)])


EVERYTHING: Final = Selection()
"""The selection that leaves out only what ignore files exclude."""
