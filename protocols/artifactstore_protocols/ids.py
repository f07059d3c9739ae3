"""Identifiers of packages, events and commands: UUIDs in one text form, so that equal ids are equal text."""

import hashlib
import re

from artifactstore_protocols.errors import InvalidValue

__all__ = ["check_id", "event_id_of", "is_id", "uuid7"]

_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def is_id(text: str) -> bool:
    """Return whether a text is a UUID in the canonical lower-case form of RFC 9562."""
    return _ID.fullmatch(text) is not None


def check_id(what: str, text: str) -> str:
    """Return a UUID's text unchanged if it is in the canonical lower-case form of RFC 9562.

    Raises:
        InvalidValue: the text has another form.
    """
    if not is_id(text):
        raise InvalidValue(what, text[:60], "write a UUID as 8-4-4-4-12 lower-case hex digits")
    return text


def uuid7(milliseconds: int, random_bits: int) -> str:
    """Return the UUIDv7 (RFC 9562 §5.7) of a Unix time and 74 random bits."""
    high, low = random_bits >> 62 & 0xFFF, random_bits & (1 << 62) - 1
    text = f"{milliseconds << 80 | 0x7 << 76 | high << 64 | 0x2 << 62 | low:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def event_id_of(command_id: str, index: int) -> str:
    """Return the id of a command's event at an index, counted from 0: a UUIDv7 with the command's time.

    The id is derived from the command's id, so the events of a repeated command have the same ids.
    """
    digest = hashlib.sha256(f"{command_id}/{index}".encode()).digest()
    return uuid7(int(command_id.replace("-", ""), 16) >> 80, int.from_bytes(digest[:10]))
