"""CBOR sequences (RFC 8742) as they arrive: bytes in pieces of any size go in, whole items come out.

Only what can be an item of ours is let through: definite lengths, no tags, no more bytes and values than a limit.
Whether an item is canonical, and what it means, is for those who decode it; here it is only found out where it ends.
"""

from typing import Final

__all__ = ["ItemSplitter", "NotAnItem"]

_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6
_ONE_BYTE: Final = 24
"""Additional information below this is the argument itself; this and the next three say how many bytes it takes."""
_RESERVED: Final = 28


class NotAnItem(Exception):
    """Bytes that cannot begin or continue an item; the message says why."""


class ItemSplitter:
    """Finds the ends of items; a piece of an item is kept until the rest of it comes.

    Args:
        item_bytes_max: how long an item may be, which bounds what is kept.
        item_values_max: how many values an item may have, itself included.
    """

    __slots__ = ("_buffer", "_item_bytes_max", "_item_values_max", "_pending", "_position", "_values")

    def __init__(self, item_bytes_max: int, item_values_max: int) -> None:
        self._item_values_max = item_values_max
        self._values = 1  # how many the item has, as far as it has been looked at
        self._item_bytes_max = item_bytes_max
        self._buffer = bytearray()
        self._position = 0  # up to where the item at the start of the buffer has been looked at
        self._pending = 1  # how many values are still to come until that item is whole

    @property
    def kept_bytes(self) -> int:
        """How many bytes of an unfinished item are kept; 0 between items."""
        return len(self._buffer)

    def feed(self, piece: bytes) -> list[bytes]:
        """The items that `piece` completes, in order.

        Raises:
            NotAnItem: an item has a tag or an indefinite length, or is larger than it may be. The splitter is of no
                more use then.
        """
        self._buffer += piece
        items: list[bytes] = []
        start = 0
        while self._advance(start):
            end = start + self._position
            items.append(bytes(self._buffer[start:end]))
            start, self._position, self._pending, self._values = end, 0, 1, 1
        del self._buffer[:start]
        return items

    def _advance(self, start: int) -> bool:
        """Look on in the item that begins at `start`; whether it is all there."""
        while self._pending:
            head = self._head(start + self._position)
            if head is None:
                return False
            major, argument, head_bytes = head
            body_bytes = argument if major in {_BYTES, _TEXT} else 0
            inner = {_ARRAY: argument, _MAP: 2 * argument}.get(major, 0)
            # Each value that is still to come has at least one byte.
            if self._position + head_bytes + body_bytes + inner + self._pending - 1 > self._item_bytes_max:
                raise NotAnItem(f"an item has more than {self._item_bytes_max} bytes")
            if start + self._position + head_bytes + body_bytes > len(self._buffer):
                return False
            self._position += head_bytes + body_bytes
            self._pending += inner - 1
            self._values += inner
            if self._values > self._item_values_max:
                raise NotAnItem(f"an item has more than {self._item_values_max} values")
        return True

    def _head(self, offset: int) -> tuple[int, int, int] | None:
        """Major type, argument and length of the head at `offset`; None if it is not all there."""
        if offset >= len(self._buffer):
            return None
        major, information = self._buffer[offset] >> 5, self._buffer[offset] & 0x1F
        if major == _TAG:
            raise NotAnItem("an item has a tag")
        if information < _ONE_BYTE:
            return major, information, 1
        if information >= _RESERVED:
            raise NotAnItem("an item has an indefinite length")
        length = 1 << (information - _ONE_BYTE)
        if offset + 1 + length > len(self._buffer):
            return None
        return major, int.from_bytes(self._buffer[offset + 1 : offset + 1 + length]), 1 + length
