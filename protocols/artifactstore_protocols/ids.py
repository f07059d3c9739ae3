"""Identifiers of packages, events and commands: UUIDs in one text form, so that equal ids are equal text."""

import re

from artifactstore_protocols.errors import InvalidValue

__all__ = ["check_id"]

_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def check_id(what: str, text: str) -> str:
    """Return a UUID's text unchanged if it is in the canonical lower-case form of RFC 9562.

    Raises:
        InvalidValue: it is not.
    """
    if _ID.fullmatch(text) is None:
        raise InvalidValue(what, text[:60], "write a UUID as 8-4-4-4-12 lower-case hex digits")
    return text
