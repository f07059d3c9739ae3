"""The texts that name a package, wherever a command or a method takes PACKAGE.

    text                       package
    ID                         the package with this id
    NAME                       the newest finalized package of this name; if none is finalized, the open one
    NAME@latest, NAME@{n}      the newest finalized package of this name; the one that is n finalizations older
    NAME@2026-11-28            the newest one that was finalized on that day or before, in UTC
    NAME@2026-11-28T14:30      the newest one that was finalized at that time or before, in UTC without an offset
    tag:TAG                    the package that this tag names
    manifest:DIGEST            the package with this manifest digest
    tree:DIGEST                the newest finalized package with this tree digest
    PART                       the package whose id begins or ends with PART, which has at least 6 characters
    any of these and ~ or ~n   the one that was finalized before that one, under the same name; n finalizations before

They are tried in this order. `X~~` is `X~2`. Before an open package comes the newest finalized one. No name and no tag
ends with `~` or `~n`. "Newest" is the one that was finalized last by the order of the log. A command that
changes an open package prefers the open packages of a NAME. A text that several packages match is ambiguous.

Names find only packages that are neither deleted nor expired. The other forms find those too, and a digest finds such a
package only if no other one has it.

`search_package` holds the rules. It is a generator that yields queries and receives the records that match them.
"""

import re
from collections.abc import Generator, Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.ids import is_id
from artifactstore_protocols.moments import span_of
from artifactstore_protocols.packages import AmbiguousPackage, PackageNotFound

__all__ = [
    "CANDIDATES_MAX",
    "PART_LENGTH_MIN",
    "ByDigest",
    "ById",
    "ByName",
    "ByPartOfId",
    "ByTag",
    "Candidate",
    "OpenByName",
    "PackageQuery",
    "search_package",
]

CANDIDATES_MAX: Final = 10
"""The maximum number of packages that an error lists."""

PART_LENGTH_MIN: Final = 6
"""The minimum length of a part of an id. Ids that were made within a minute have the same first 8 characters."""

_PART = re.compile(rf"[0-9a-f-]{{{PART_LENGTH_MIN},35}}")
_BACK = re.compile(r"\{([0-9]+)\}")
_STEPS: Final = "~0123456789"
_BACK_DIGITS_MAX, _BACK_MAX = 9, 10**9
_SHOWN_CHARACTERS = 60
_DIGEST_ALGORITHMS = {"manifest": "blake3", "tree": "sha256"}


class ById(Struct, frozen=True):
    """A query for the package with an id."""

    package_id: str


class ByPartOfId(Struct, frozen=True):
    """A query for packages whose id begins or ends with a text, newest first; at most `CANDIDATES_MAX` + 1."""

    text: str


class ByName(Struct, frozen=True):
    """A query for the newest finalized package of a name.

    Attributes:
        name: the name.
        back: how many of the newest ones are skipped.
        until_us: if given, only packages count that were finalized before this time, in microseconds since 1970 UTC.
        before: if given, only packages count that were finalized before the event with this sequence.
    """

    name: str
    back: int = 0
    until_us: int | None = None
    before: int | None = None


class OpenByName(Struct, frozen=True):
    """A query for the open packages of a name, newest first; at most `CANDIDATES_MAX` + 1."""

    name: str


class ByTag(Struct, frozen=True):
    """A query for the package that a tag names."""

    tag: str


class ByDigest(Struct, frozen=True):
    """A query for the newest finalized package with a manifest digest or a tree digest, such as `blake3:<hex>`.

    Attributes:
        of: which digest.
        digest: the digest.
        gone: whether to look for packages that are gone instead of those that are not.
    """

    of: Literal["manifest", "tree"]
    digest: str
    gone: bool = False


type PackageQuery = ById | ByPartOfId | ByName | OpenByName | ByTag | ByDigest


class Candidate(Protocol):
    """What a search needs to know of a package."""

    @property
    def package_id(self) -> str:
        """The id of the package."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def status(self) -> str:
        """Whether it is open, finalized, deleted or expired."""
        ...

    @property
    def finalized_sequence(self) -> int | None:
        """The sequence of the event that finalized it; None if it is open."""
        ...


def search_package[C: Candidate](text: str, *, prefer_open: bool = False) -> Generator[PackageQuery, Sequence[C], C]:
    """Find the package that a text names. The module docstring has the rules.

    Args:
        text: the text.
        prefer_open: whether an open package of a name comes before the finalized ones.

    Raises:
        PackageNotFound: no package matches.
        AmbiguousPackage: several packages match.
        InvalidValue: the text has a form that names no package.
    """
    # UTF-8 holds no lone surrogate and PostgreSQL text no NUL. No name has either; a query with one can fail.
    if "\0" in text or text.encode(errors="ignore").decode() != text:
        raise PackageNotFound(text)
    found: Sequence[C]
    base, steps = _steps_of(text)
    if steps:
        start: Generator[PackageQuery, Sequence[C], C] = search_package(base, prefer_open=prefer_open)
        before: Generator[PackageQuery, Sequence[C], C] = _before((yield from start), text, steps)
        return (yield from before)
    if is_id(text):
        found = yield ById(text)
    elif ":" in text.partition("@")[0]:
        wanted = _by_scheme(text)
        found = yield wanted
        if not found and isinstance(wanted, ByDigest):
            found = yield ByDigest(wanted.of, wanted.digest, gone=True)
    elif "@" in text:
        at: Generator[PackageQuery, Sequence[C], Sequence[C]] = _at(text)
        found = yield from at
    else:
        by_name: Generator[PackageQuery, Sequence[C], Sequence[C]] = _by_name(text, prefer_open=prefer_open)
        found = yield from by_name
        if not found and _PART.fullmatch(text):
            found = yield ByPartOfId(text)
        if not found and (yield ByTag(text)):
            raise PackageNotFound(text, is_tag=True)
    if not found:
        raise PackageNotFound(text)
    if len(found) > 1:
        shown = found[:CANDIDATES_MAX]
        labels = tuple(f"{record.name}, {record.status}" for record in shown)
        ids = tuple(record.package_id for record in shown)
        raise AmbiguousPackage(text, ids, labels, more=len(found) > len(shown))
    return found[0]


def _steps_of(text: str) -> tuple[str, str]:
    """Return a text without the `~` and `~n` at its end, and these. Each character is looked at a few times at most."""
    head = text.rstrip(_STEPS)
    digits, tilde, steps = text[len(head) :].partition("~")
    return head + digits, tilde + steps


def _by_name[C: Candidate](name: str, *, prefer_open: bool) -> Generator[PackageQuery, Sequence[C], Sequence[C]]:
    finalized, opened = ByName(name), OpenByName(name)
    first, second = (opened, finalized) if prefer_open else (finalized, opened)
    return (yield first) or (yield second)


def _at[C: Candidate](text: str) -> Generator[PackageQuery, Sequence[C], Sequence[C]]:
    """Find the package that a name and a selector after `@` mean."""
    selected = _selected(text)
    found = yield selected
    if not found and selected.back:
        raise PackageNotFound(text, choices=(yield from _count(selected)))
    if not found and selected.until_us is not None and (yield ByName(selected.name)):
        raise PackageNotFound(text, choices=0, among="of this name by then")
    return found


def _before[C: Candidate](package: C, text: str, steps: str) -> Generator[PackageQuery, Sequence[C], C]:
    """Find the package that was finalized a number of steps before another one of its name."""
    back = sum(_number(digits) if digits else 1 for digits in steps.split("~")[1:])
    if not back:
        return package
    wanted = ByName(package.name, back=back - 1, before=package.finalized_sequence)
    found = yield wanted
    if not found:
        among = "of this name before that one"
        raise PackageNotFound(text, choices=(yield from _count(wanted)), among=among)
    return found[0]


def _count(wanted: ByName) -> Generator[PackageQuery, Sequence[Candidate], int]:
    """Return how many packages a query can select from. None of them is `wanted.back` steps back."""
    fewest, most = 0, wanted.back
    step = 1
    while fewest < most:
        middle = min(fewest + step, most) - 1
        if (yield replace(wanted, back=middle)):
            fewest, step = middle + 1, 2 * step
        else:
            most, step = middle, max(1, (middle - fewest) // 2)
    return fewest


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _BACK_DIGITS_MAX else _BACK_MAX


def _by_scheme(text: str) -> ByTag | ByDigest:
    of, _, digest = text.partition(":")
    if of == "tag":
        return ByTag(digest)
    if of not in _DIGEST_ALGORITHMS:
        raise InvalidValue("package", text[:_SHOWN_CHARACTERS], "write tag:TAG, manifest:DIGEST or tree:DIGEST")
    if ":" not in digest:
        digest = f"{_DIGEST_ALGORITHMS[of]}:{digest}"
    return ByDigest("manifest" if of == "manifest" else "tree", str(ContentAddress.parse(digest)))


def _selected(text: str) -> ByName:
    name, _, selector = text.partition("@")
    if selector == "latest":
        return ByName(name)
    if (back := _BACK.fullmatch(selector)) is not None:
        return ByName(name, back=_number(back[1]))
    if (span := span_of(selector)) is not None:
        return ByName(name, until_us=span[1])
    reason = "after @ write latest, {n}, a day such as 2026-11-28, or a time such as 2026-11-28T14:30"
    raise InvalidValue("package", text[:_SHOWN_CHARACTERS], reason)
