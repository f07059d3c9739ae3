"""Whether bytes are text that people can read, and as which text a page shows them."""

from typing import Final

__all__ = ["beginning_of_text"]

_BYTES_OF_CHARACTER_MAX: Final = 4
_PLAIN: Final = frozenset("\t\n\r\f")
# Control characters have pictures in Unicode; a log has escape sequences, and is text all the same.
_PICTURES: Final = {each: 0x2400 + each for each in range(32) if chr(each) not in _PLAIN} | {0x7F: 0x2421}
# Characters that change the direction of what follows: with them, a text could look like another one.
_DIRECTIONS: Final = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_REPLACED: Final = {**_PICTURES, **dict.fromkeys((*range(0x80, 0xA0), *_DIRECTIONS), 0xFFFD)}


def beginning_of_text(content: bytes, *, is_cut: bool) -> str | None:
    """Return bytes as text; None if they are no UTF-8, or have a NUL.

    Control characters become their pictures. Those of C1, and those that change the direction of text, become U+FFFD.

    Args:
        content: the bytes.
        is_cut: whether more follow, so that the last character may be incomplete.
    """
    if b"\0" in content:
        return None
    for cut in range(_BYTES_OF_CHARACTER_MAX if is_cut else 1):
        try:
            text = content[: len(content) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return text.translate(_REPLACED)
    return None
