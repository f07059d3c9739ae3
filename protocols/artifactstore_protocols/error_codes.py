"""Stable codes of errors: names that programs compare, in any language, where a message is for people.

The code of an error is the name of its class in lower case with underscores: `PackageNotFound` is `package_not_found`.
So every error of the library has one, and renaming a class is a change for clients.
"""

import re

__all__ = ["code_of"]

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def code_of(name: str) -> str:
    """Return the stable code of the class of errors with this name."""
    return _WORD.sub("_", name).lower()
