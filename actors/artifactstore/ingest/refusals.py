"""Errors that say why a directory, or an entry of it, cannot be ingested, and what to do."""

import shlex
from typing import Final, Literal, NamedTuple, override

from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.selection import rule_for

__all__ = [
    "REFUSED_MAX",
    "EntriesRefused",
    "IgnoreFileRefused",
    "PathUnusable",
    "RefusedEntry",
    "SourceInsideStore",
    "TreeTooLarge",
]

REFUSED_MAX: Final = 1000
"""Maximum number of refused entries that an error lists."""

_EXCLUDED_MAX: Final = 10
"""Maximum number of refused entries for which an error shows the options that leave them out."""


class PathUnusable(ArtifactStoreError):
    """The path to ingest is neither a file nor a directory, or cannot be read."""

    path: str
    reason: str
    template = "{self.path!r} cannot be ingested: {self.reason}"


class IgnoreFileRefused(ArtifactStoreError):
    """An ignore file in the tree cannot be used."""

    path: str
    reason: str
    template = "the ignore file {self.path!r} cannot be used: {self.reason}; repair it, or use --no-ignore-files"


class SourceInsideStore(ArtifactStoreError):
    """The source belongs to the store itself. A store that ingests its own files grows with every ingest."""

    path: str
    template = "{self.path!r} belongs to this store itself; name a directory or a file outside the store"


class RefusedEntry(NamedTuple):
    """An entry of a source that a package cannot hold.

    Attributes:
        path: its path in the package.
        kind: what is wrong: a symbolic link, a special file, a name, or an entry that cannot be read.
        reason: the rest of a sentence that begins with the path, such as `is a socket`.
    """

    path: str
    kind: Literal["link", "special", "name", "unreadable"]
    reason: str


class EntriesRefused(ArtifactStoreError):
    """Some entries of a source cannot be stored. The message says which options let the others through.

    A single entry is in the message. Several are in the notes of the exception, one a line.

    Attributes:
        source: the path of the source.
        entries: all these entries, in the order of their paths; the first `REFUSED_MAX` if there are more.
        rules_start: where in their paths the part begins that rules compare; None if no rule leaves an entry out.
    """

    source: str
    entries: tuple[RefusedEntry, ...]
    rules_start: int | None = None

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)
        if len(self.entries) > 1:
            for entry in self.entries:
                self.add_note(f"{entry.path!r} {entry.reason}")
            if self._excluding:
                self.add_note(f"to leave all of them out: {self._excluding}")

    @property
    def _excluding(self) -> str:
        """The options that leave the entries out, as a shell takes them; empty if there are none, or too many."""
        if self.rules_start is None or len(self.entries) > _EXCLUDED_MAX:
            return ""
        rules = (rule_for(entry.path[self.rules_start :]) for entry in self.entries)
        return " ".join(f"--exclude {shlex.quote(rule)}" for rule in rules)

    @override
    def __str__(self) -> str:
        [first, *others] = self.entries
        kinds = {entry.kind for entry in self.entries}
        advice = ", or ".join(option for kind, option in _OPTIONS.items() if kind in kinds)
        if "name" in kinds and self.rules_start is not None:
            advice += ", or leave it out with --exclude"
        if others:
            count = f"{REFUSED_MAX} or more" if len(self.entries) == REFUSED_MAX else len(self.entries)
            return f"{count} entries of {self.source!r} cannot be stored; {advice}"
        paste = f": {self._excluding}" if self._excluding and first.kind != "unreadable" else ""
        return f"{self.source!r} cannot be stored: {first.path!r} {first.reason}; {advice}{paste}"


_OPTIONS: Final = {
    "link": "leave links out with --links skip or --exclude",
    "unreadable": "leave out what cannot be read with --skip-unreadable",
    "special": "leave files out with --exclude",
    "name": "rename what a package cannot name",
}
"""What a user can do about each kind of refused entry."""


class TreeTooLarge(ArtifactStoreError):
    """A tree has more entries, more names, or more directories behind links than an ingest allows.

    Attributes:
        path: the directory at the root of the tree.
        limit: the maximum number.
        what: what the limit counts, as a plural noun.
        advice: how to make the tree smaller.
    """

    path: str
    limit: int
    what: str
    advice: str
    template = (
        "{self.path!r} holds more than {self.limit} {self.what}; "
        "{self.advice}, or raise ARTIFACTSTORE_PACKAGE_FILES_MAX"
    )
