"""The mark that stands in place of a redacted text, and the replacement of a text in names, paths and metadata.

Every occurrence of a text becomes the same mark, which no other text of the log contains. So different names and paths
stay different, and what was equal stays equal.
"""

import re
from collections.abc import Mapping
from typing import Final, cast
from unicodedata import normalize

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.metadata import Metadata, MetadataValue

__all__ = ["MARK_DIGITS", "TextReplacement", "fits", "has_mark"]

MARK_DIGITS: Final = 12
"""The number of random hexadecimal digits in a mark."""

_PREFIX: Final = "redacted-"
_MARK: Final = re.compile(rf"{_PREFIX}[0-9a-f]{{{MARK_DIGITS}}}")
_TEXT_CHARACTERS_MAX: Final = 4096


class TextReplacement:
    """The replacement of one text by a mark.

    Args:
        text: the text: at least two characters, one of them a letter or a digit, and no slash. It is no part of
            `redacted-`.
        digits: `MARK_DIGITS` random hexadecimal digits.

    Raises:
        InvalidValue: the text or the digits are not like this. The error does not repeat the text.
    """

    def __init__(self, text: str, digits: str) -> None:
        if not 1 < len(text) <= _TEXT_CHARACTERS_MAX or not any(map(str.isalnum, text)) or "/" in text:
            reason = "use 2 or more characters of one name, with a letter or a digit and without a slash"
            raise InvalidValue("text to redact", f"{len(text)} characters", reason)
        if text in _PREFIX:
            raise InvalidValue("text to redact", f"{len(text)} characters", f"every mark has it: it is in {_PREFIX!r}")
        self.mark = f"{_PREFIX}{digits}"
        if not _MARK.fullmatch(self.mark):
            raise InvalidValue("mark", digits[:60], f"use {MARK_DIGITS} hexadecimal digits")
        self._composed = normalize("NFC", text)
        forms = {text, *(normalize(form, text) for form in ("NFC", "NFD"))}
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._encoded = [form.encode() for form in self._forms]

    def is_in(self, payload: bytes) -> bool:
        """Return whether a payload contains the text; canonical CBOR holds texts as their UTF-8."""
        return any(form in payload for form in self._encoded)

    def is_in_text(self, text: str | None) -> bool:
        """Return whether a text contains the text."""
        return text is not None and any(form in text for form in self._forms)

    def text(self, text: str) -> str:
        """Return a text with the mark in place of each occurrence."""
        for form in self._forms:
            text = text.replace(form, self.mark)
        return text

    def original(self, key: str) -> str:
        """Return the path key that became a path key with the mark."""
        return key.replace(self.mark, self._composed)

    def metadata(self, metadata: Metadata) -> dict[str, MetadataValue]:
        """Return metadata with the mark in all keys and texts. Numbers stay as they are."""
        return {self.text(key): self._value(value) for key, value in metadata.items()}

    def _value(self, value: MetadataValue) -> MetadataValue:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self.metadata(value)
        return [self._value(each) for each in value] if isinstance(value, list) else value


def fits(text: str, original: str) -> bool:
    """Return whether a text is an original in which marks stand for any texts without a slash."""
    first, *parts = _MARK.split(text)
    if not parts:
        return text == original
    last, at = parts.pop(), len(first)
    end = len(original) - len(last)
    if at > end or not (original.startswith(first) and original.endswith(last)):
        return False
    for part in parts:  # the first place of each is the best one
        if (found := original.find(part, at, end)) < 0:
            return False
        at = found + len(part)
    return text.count("/") == original.count("/")


def has_mark(value: object) -> bool:
    """Return whether metadata, or a part of it, has a mark in a key or a text."""
    if isinstance(value, str):
        return _MARK.search(value) is not None
    if isinstance(value, Mapping):
        held = cast("Mapping[str, object]", value)
        return any(has_mark(key) or has_mark(each) for key, each in held.items())
    return isinstance(value, list) and any(map(has_mark, cast("list[object]", value)))
