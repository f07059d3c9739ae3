"""The rule for short texts that people give: names, principals, keys and reasons."""

from typing import Final

from artifactstore_protocols.errors import InvalidValue

__all__ = ["check_name"]

_NAME_CHARACTERS_MAX: Final = 200


def check_name(what: str, text: str) -> None:
    """Refuse a text that is not 1 to 200 printable characters without spaces at its ends.

    Raises:
        InvalidValue: it is not.
    """
    if not text or len(text) > _NAME_CHARACTERS_MAX:
        raise InvalidValue(what, text[:60], f"use 1 to {_NAME_CHARACTERS_MAX} characters")
    if text != text.strip() or not text.isprintable():
        raise InvalidValue(what, text[:60], "use printable characters, with no space at either end")
