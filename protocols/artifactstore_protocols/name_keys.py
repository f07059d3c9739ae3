"""Keys of file names with the ending first, so that one index finds names and endings.

`crash.log` has the key `.log/crash.`, `a.tar.gz` has `.gz/a.tar.`, and `Makefile`, which has no ending, has
`/Makefile/`. No name contains a slash, so the keys of different names differ. All names of an ending are neighbours.
"""

from artifactstore_protocols.globs import beginning_of_name, end_of_pattern, end_of_texts

__all__ = ["beginning_of_key", "ending_in_pattern", "is_searchable", "key_range", "name_key"]


def name_key(name: str) -> str:
    """Return the key of a file name."""
    stem, dot, ending = name.rpartition(".")
    return f".{ending}/{stem}{dot}" if dot else f"/{name}/"


def key_range(beginning: str) -> tuple[str, str]:
    """Return the first key with a beginning, and the first text after all of them."""
    return beginning, end_of_texts(beginning) or "0"  # every key begins with a dot or a slash, and 0 is after both


def ending_in_pattern(pattern: str) -> str | None:
    """Return the ending, with its dot, of every file name that a pattern for paths matches; None if it is not known."""
    _above, _slash, name = end_of_pattern(pattern).rpartition("/")
    return f".{name.rpartition('.')[2]}" if "." in name else None


def beginning_of_key(pattern: str) -> str:
    """Return how the key of each name that a pattern for paths matches continues after its ending and the slash.

    It is empty if that is not known.
    """
    _above, slash, whole = end_of_pattern(f"/{pattern}").rpartition("/")
    beginning = whole if slash else beginning_of_name(pattern)
    _stem, dot, after = beginning.rpartition(".")
    # What follows the last dot is the ending, or can be it, unless a wildcard is between it and the known ending.
    return beginning.removesuffix(after) if dot and (slash or ending_in_pattern(pattern) is None) else beginning


def is_searchable(pattern: str) -> bool:
    """Return whether a pattern for paths limits the keys of the names that it matches."""
    return ending_in_pattern(pattern) is not None or beginning_of_name(pattern) != ""
