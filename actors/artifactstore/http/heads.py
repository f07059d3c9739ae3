"""A strict reader of HTTP request heads (RFC 9112).

h11 accepts forms that other servers read differently, such as bare line feeds and folded lines. If a proxy and a
service disagree about the end of a request, an attacker can smuggle requests. So this module refuses these forms.
"""

import re
from http import HTTPStatus

__all__ = ["HEAD_BYTES_MAX", "BadHead", "HeadBuffer"]

HEAD_BYTES_MAX = 16 << 10
"""The limit of a request line and its header lines in bytes, including the empty line that ends them."""

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
    """The client sent bytes that are not a valid request head.

    Attributes:
        status: the HTTP status to answer with.
        detail: the reason.
    """

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class HeadBuffer:
    """The received bytes of a connection, from which `cut` takes complete heads and `take` parts of bodies."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._searched = 0

    def __bool__(self) -> bool:
        return bool(self._bytes)

    def clear(self) -> None:
        """Discard all bytes."""
        self._bytes.clear()
        self._searched = 0

    def add(self, received: bytes) -> None:
        """Append received bytes."""
        self._bytes += received

    def take(self, most: int | None) -> bytes:
        """Remove and return the first bytes, which belong to a body; all of them if `most` is None."""
        taken = bytes(self._bytes[:most])
        del self._bytes[:most]
        self._searched = 0
        return taken

    def cut(self) -> bytes | None:
        """Remove and return the first head; None while it is incomplete.

        Raises:
            BadHead: the head is too long or malformed.
        """
        while self._bytes.startswith(b"\r\n"):  # RFC 9112 section 2.2: some clients send extra line ends
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
