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
from artifactstore_protocols.globs import GLOB_LENGTH_MAX, check_glob, glob_matcher, is_literal
from artifactstore_protocols.typed import check_fields

__all__ = ["EVERYTHING", "IGNORE_FILE", "RULES_MAX", "Rules", "Selection", "rule_for", "rules_in"]

RULES_MAX: Final = 2000
"""The maximum number of rules that may hold in one directory, apart from those of the caller."""

IGNORE_FILE: Final = ".artifactignore"
"""The name of a file with rules for the directory that holds it and for all below."""

_SPECIAL = re.compile(r"[\\*?\[]")
_STARS = re.compile(r"(\\.)|\*{2,}")
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
            InvalidValue: a rule is too long, has an unclosed set or one such as `[[:digit:]]`, or there are too many.
        """
        self._rules: list[_Rule] = []
        for line in lines:
            if (rule := _rule(line)) is not None:
                self._rules.append(rule)
            if len(self._rules) > RULES_MAX:
                raise InvalidValue("rule", line[:_SHOWN_CHARACTERS], f"there may be at most {RULES_MAX} of them")
        self._rules.reverse()

    def __len__(self) -> int:
        """Return the number of rules."""
        return len(self._rules)

    def excludes(self, path: str, *, directory: bool) -> bool | None:
        """Return whether the rules exclude a path, given relative to their directory; None if no rule matches."""
        name = path[path.rfind("/") + 1 :]
        for excludes, directories, of_name, matches in self._rules:
            if (directory or not directories) and matches(name if of_name else path):
                return excludes
        return None


def _rule(line: str) -> _Rule | None:
    text = line.removesuffix("\n").removesuffix("\r")
    if text.startswith("#"):
        return None
    if len(text) > GLOB_LENGTH_MAX:
        raise InvalidValue("rule", line[:_SHOWN_CHARACTERS], f"it has more than {GLOB_LENGTH_MAX} characters")
    stripped = text.rstrip(" ")
    if (len(stripped) - len(stripped.rstrip("\\"))) % 2 and len(stripped) < len(text):
        stripped += " "  # the first of these spaces is escaped
    excludes = not stripped.startswith("!")
    text = stripped if excludes else stripped[1:]
    directories = text.endswith("/")
    text = text.removesuffix("/")
    if not text:
        return None
    of_name = "/" not in text
    parts = text.removeprefix("/").split("/")
    glob = "/".join(part if part == "**" else _STARS.sub(lambda stars: stars[1] or "*", part) for part in parts)
    try:
        check_glob(glob, undecodable=True)
    except InvalidValue as error:
        raise InvalidValue("rule", line[:_SHOWN_CHARACTERS], error.reason) from None
    if "[[:" in glob:
        raise InvalidValue("rule", line[:_SHOWN_CHARACTERS], "write out the characters of a set such as [[:digit:]]")
    return _Rule(excludes, directories, of_name, glob.__eq__ if is_literal(glob) else glob_matcher(glob, of_paths=True))


def rule_for(path: str) -> str:
    r"""Return a rule that matches a path, relative to the directory of the rules.

    What is special in a rule has a backslash before it, so `a b*` gives `/a b\*`. A character that cannot be printed
    becomes `?`, so that the rule can be copied; it then matches similar paths too.
    """
    plain = "".join(character if character.isprintable() else "?" for character in path)
    rule = "".join("?" if was != now else _SPECIAL.sub(r"\\\g<0>", now) for was, now in zip(path, plain, strict=True))
    kept = rule.rstrip(" ")
    return f"/{kept}" + "\\ " * (len(rule) - len(kept))


def rules_in(text: str) -> tuple[str, ...]:
    """Return the rules of a text such as that of a `.gitignore`, for `Selection.exclude`, without comments."""
    lines = (line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n"))
    return tuple(line for line in lines if line.strip() and not line.startswith("#"))


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
        for rule in (*self.exclude, *self.include):
            if not rule.strip():
                raise InvalidValue("rule", rule, "it is empty")
            if "\n" in rule.removesuffix("\n"):
                reason = "it has several lines; give each as a rule, or their file with --exclude-from"
                raise InvalidValue("rule", rule[:_SHOWN_CHARACTERS], reason)
        exclude = [f"\\{rule}" if rule.startswith("#") else rule for rule in self.exclude]
        return Rules([*exclude, *(f"!{rule}" for rule in self.include)])


EVERYTHING: Final = Selection()
"""The selection that leaves out only what ignore files exclude."""
