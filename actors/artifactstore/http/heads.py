"""The grammar of a request head (RFC 9112), read strictly.

h11 accepts several forms that other servers read differently, such as bare line feeds and folded lines. A proxy and a
service that disagree about where a request ends can be played against each other, so these forms are refused here.
"""

import re
from http import HTTPStatus

__all__ = ["HEAD_BYTES_MAX", "BadHead", "HeadBuffer"]

HEAD_BYTES_MAX = 16 << 10
"""How many bytes a request line and its header lines may have, with the empty line that ends them."""

_END = re.compile(rb"\n\r?\n")
_END_BYTES_MAX = 3
_FLAWS = (
    (re.compile(rb"(?<!\r)\n|\r(?!\n)"), "A line must end with CR LF."),
    (re.compile(rb"[^\t\r\n\x20-\x7e\x80-\xff]"), "Control characters are not allowed."),
    (re.compile(rb"\r\n[ \t]"), "A header must be one line: folded lines are not allowed."),
    (re.compile(rb"(?is)\r\ncontent-length[ \t]*:.*\r\ncontent-length[ \t]*:"), "Content-Length was given twice."),
)
_FIRST_BYTE_MIN = 0x21


class BadHead(Exception):
    """What a client sent is no head of a request that this service reads.

    Attributes:
        status: what to answer.
        detail: says why.
    """

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class HeadBuffer:
    """Bytes of a connection, from which whole heads are cut."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._searched = 0

    def __bool__(self) -> bool:
        return bool(self._bytes)

    def clear(self) -> None:
        """Forget all bytes."""
        self._bytes.clear()
        self._searched = 0

    def add(self, received: bytes) -> None:
        """Append what was received."""
        self._bytes += received

    def cut(self) -> bytes | None:
        """Return the first head, without it in the buffer any more; None while it is incomplete.

        Raises:
            BadHead: it is too long, or not one.
        """
        while self._bytes.startswith(b"\r\n"):  # RFC 9112 section 2.2: some clients send one too many
            del self._bytes[:2]
        if self._bytes and self._bytes[0] < _FIRST_BYTE_MIN and bytes(self._bytes) != b"\r":
            raise BadHead(HTTPStatus.BAD_REQUEST, "This is no HTTP request.")
        end = _END.search(self._bytes, self._searched)
        self._searched = max(0, len(self._bytes) - _END_BYTES_MAX + 1)
        length = len(self._bytes) if end is None else end.end()
        if length > HEAD_BYTES_MAX:
            raise self._too_long()
        if end is None:
            return None
        head = bytes(self._bytes[:length])
        del self._bytes[:length]
        self._searched = 0
        for flaw, detail in _FLAWS:
            if flaw.search(head):
                raise BadHead(HTTPStatus.BAD_REQUEST, detail)
        return head

    def _too_long(self) -> BadHead:
        if self._bytes.find(b"\n", 0, HEAD_BYTES_MAX) < 0:
            return BadHead(HTTPStatus.REQUEST_URI_TOO_LONG, f"A request line has at most {HEAD_BYTES_MAX} bytes.")
        detail = f"The request line and all headers have at most {HEAD_BYTES_MAX} bytes together."
        return BadHead(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
