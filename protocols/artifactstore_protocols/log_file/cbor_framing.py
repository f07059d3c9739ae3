"""A splitter of CBOR sequences (RFC 8742): bytes in pieces of any size go in, whole items come out.

It accepts only what a log file can contain: definite lengths, no tags, and limited bytes and values. It finds where
each item ends. Callers check that an item is canonical, and decode it.
"""

from typing import Final

__all__ = ["ItemSplitter", "NotAnItem"]

_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6
_ONE_BYTE: Final = 24
"""Additional information below this is the argument. This value and the next three say how many bytes it takes."""
_RESERVED: Final = 28


class NotAnItem(Exception):
    """The bytes cannot begin or continue an item. The message says why."""


class ItemSplitter:
    """A splitter that finds the ends of CBOR items. It buffers an incomplete item until the rest arrives.

    Args:
        item_bytes_max: the maximum bytes of an item, which also bounds the buffer.
        item_values_max: the maximum number of values in an item, itself included.
    """

    __slots__ = ("_buffer", "_item_bytes_max", "_item_values_max", "_pending", "_position", "_values")

    def __init__(self, item_bytes_max: int, item_values_max: int) -> None:
        self._item_values_max = item_values_max
        self._values = 1  # values of the current item found so far
        self._item_bytes_max = item_bytes_max
        self._buffer = bytearray()
        self._position = 0  # bytes of the current item parsed so far
        self._pending = 1  # values of the current item not yet parsed

    @property
    def kept_bytes(self) -> int:
        """The number of buffered bytes of an incomplete item; 0 between items."""
        return len(self._buffer)

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the items that `piece` completes, in order.

        Raises:
            NotAnItem: an item has a tag or an indefinite length, or exceeds a limit. The splitter cannot be used again.
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
        """Continue to parse the item that begins at `start`; return whether it is complete."""
        while self._pending:
            head = self._head(start + self._position)
            if head is None:
                return False
            major, argument, head_bytes = head
            body_bytes = argument if major in {_BYTES, _TEXT} else 0
            inner = {_ARRAY: argument, _MAP: 2 * argument}.get(major, 0)
            # Each value that is not yet parsed takes at least one byte.
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
        """Return the major type, argument and length of the head at `offset`; None if the head is incomplete."""
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
