"""Environment variables that look like settings but are not: probable mistakes, and variables of other software.

Kubernetes gives every container the addresses of other services. The names of these variables begin with the name of a
service and end in `_SERVICE_HOST`, `_PORT` and the like. This module recognizes them by this form and ignores them.
"""

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["OF_COMMANDS", "PREFIX", "suggested_settings", "unknown_variables"]

PREFIX: Final = "ARTIFACTSTORE_"
"""The prefix of the names of all settings."""

OF_COMMANDS: Final = frozenset({"ARTIFACTSTORE_PROGRESS", "ARTIFACTSTORE_URL", "ARTIFACTSTORE_TOKEN"})
"""Variables that commands read. They are no settings of a store."""

_EDITS_MAX: Final = 2
_SERVICE_LINK: Final = re.compile(
    r"(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR))"
)
_SERVICE_LINK_URL: Final = re.compile(
    r"(?:[A-Z0-9_]+_)?PORT(?:_\d+_(?:TCP|UDP|SCTP))?=(?:tcp|udp|sctp)://.*", re.DOTALL
)
_WORDS_FOR: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "DB": frozenset({"DATABASE"}),
        "URI": frozenset({"URL"}),
        "FILE": frozenset({"URL"}),
        "PATH": frozenset({"URL", "ROOT"}),
        "DIR": frozenset({"ROOT"}),
        "DIRECTORY": frozenset({"ROOT"}),
    }
)
_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({"STORE": "the option --store DIR"})


def suggested_settings(environment: Mapping[str, str], settings: Collection[str]) -> dict[str, str]:
    """Return variables that are probably mistaken for settings, each with the setting or option that was meant.

    Args:
        environment: names and values of variables. An empty variable counts as not set.
        settings: the names of all settings.
    """
    found = {name: _meant(name, settings) for name in sorted(_others(environment, settings))}
    return {name: meant for name, meant in found.items() if meant is not None}


def unknown_variables(environment: Mapping[str, str], settings: Collection[str]) -> tuple[str, ...]:
    """Return the other variables that begin with `PREFIX`. The arguments are those of `suggested_settings`."""
    others = (name for name in _others(environment, settings) if name.startswith(PREFIX))
    return tuple(sorted(name for name in others if _meant(name, settings) is None))


def _others(environment: Mapping[str, str], settings: Collection[str]) -> list[str]:
    """Return the names of variables that are neither empty nor known nor addresses from Kubernetes."""
    return [
        name
        for name, value in environment.items()
        if value
        and name not in settings
        and name not in OF_COMMANDS
        and not _is_service_link(name.removeprefix(PREFIX), value)
    ]


def _is_service_link(name: str, value: str) -> bool:
    """Return whether a variable has the form of an address from Kubernetes."""
    return bool(_SERVICE_LINK.fullmatch(name) or _SERVICE_LINK_URL.fullmatch(f"{name}={value}"))


def _meant(name: str, settings: Collection[str]) -> str | None:
    """Return the setting or the option that a name probably means; None if it is similar to none."""
    squashed = _squashed(name)
    for setting in settings:
        if squashed == _squashed(setting):
            return setting
    name = name.upper()
    if not name.startswith(PREFIX):
        return None
    name = name.removeprefix(PREFIX)
    edits = {setting: _edits(_squashed(name), _squashed(setting.removeprefix(PREFIX))) for setting in settings}
    nearest = min(edits, key=lambda setting: edits[setting])
    if edits[nearest] <= _EDITS_MAX:
        return nearest
    shortened = (setting for setting in settings if _leaves_words_out(name, setting.removeprefix(PREFIX)))
    return next(shortened, None) or _OPTIONS.get(name)


def _squashed(name: str) -> str:
    return name.upper().replace("_", "")


def _leaves_words_out(name: str, wanted: str) -> bool:
    """Return whether a name consists of words of the wanted name, of at least half of them, in any order."""
    words, wanted_words = set(name.split("_")), wanted.split("_")
    found = [each for each in wanted_words if any(each in _WORDS_FOR.get(word, {word}) for word in words)]
    known = all(word in wanted_words or _WORDS_FOR.get(word, frozenset()) & set(wanted_words) for word in words)
    # One word is enough only if it is the first: LOG, but not LEVEL.
    return known and 2 * len(found) >= len(wanted_words) and (len(found) > 1 or found == wanted_words[:1])


def _edits(one: str, other: str) -> int:
    """Return how many letters must be inserted, deleted or replaced (the Levenshtein distance)."""
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one, start=1):
        before, row[0] = row[0], index
        for place, wanted in enumerate(other, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (letter != wanted))
    return row[-1]
