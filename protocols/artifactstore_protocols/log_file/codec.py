"""The log file format: a header, the events in order, and a footer with their count and a checksum.

A file is a CBOR sequence (RFC 8742) of canonical items. It holds the events of one range of a log and nothing that
depends on when or where it was written, so equal ranges of equal logs are equal files. A file that does not begin with
event 1 names the digest of the file before it. So the digest of the last file of a chain covers the whole log.

Each event is stored as its sequence, its record and its payload, and the sequence of the event that redacts it, if one
does. The digest covers sequences and records; each record
holds the digest of its payload.

The digest is a checksum: it finds damage, not forgery. Protect a file against deliberate changes by other means.
"""

from typing import Final, cast

from blake3 import blake3
from msgspec import Struct

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import NotCanonical, RecordValue
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.events import (
    PAYLOAD_BYTES_MAX,
    RECORD_BYTES_MAX,
    RecordInvalid,
    StoredEvent,
    decode_event,
    encode_record,
)
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress, Digest
from artifactstore_protocols.log_file.cbor_framing import ItemSplitter, NotAnItem
from artifactstore_protocols.log_file.errors import LogFileInvalid

__all__ = ["LogFileEncoder", "LogFileHeader", "LogFileReader", "LogFileSummary"]

_FORMAT: Final = "artifactstore-log"
_VERSION: Final = 1
_ITEM_BYTES_MAX: Final = RECORD_BYTES_MAX + PAYLOAD_BYTES_MAX + 32  # plus the CBOR heads of both
_ITEM_VALUES_MAX: Final = 64  # a header has 11; a footer and an event have fewer
_HEADER_KEYS: Final = frozenset({"format", "version", "after", "last", "previous"})
_FOOTER_KEYS: Final = frozenset({"count", "last", "digest"})


class LogFileHeader(Struct, frozen=True):
    """The range of a log that a file holds.

    Attributes:
        after: the sequence before its first event; 0 for a file that begins with event 1.
        last: the sequence of its last event; equal to `after` if it holds no events.
        previous: the digest of the file that ends at `after`; None if `after` is 0.
    """

    after: int
    last: int
    previous: ContentAddress | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.after <= self.last:
            raise InvalidValue("range of a log file", f"{self.after}-{self.last}", "it goes from 0 or more upwards")
        if (self.previous is None) != (self.after == 0):
            reason = "a file names the one before it exactly if it does not begin with the log"
            raise InvalidValue("range of a log file", f"{self.after}-{self.last}", reason)

    @property
    def count(self) -> int:
        """The number of events that the file holds."""
        return self.last - self.after


class LogFileSummary(Struct, frozen=True):
    """The range of a file that was written or read to its end, and the digest in its footer."""

    header: LogFileHeader
    digest: ContentAddress


class LogFileEncoder:
    """An encoder of one log file. Write the bytes of `begin`, of `add` for each event and of `end`, in that order."""

    __slots__ = ("_hasher", "_header", "_sequence")

    def __init__(self, header: LogFileHeader) -> None:
        self._header = header
        self._sequence = header.after
        self._hasher = blake3()

    def begin(self) -> bytes:
        """Return the bytes of the header."""
        header = self._header
        previous = None if header.previous is None else str(header.previous)
        item = canonical.encode(
            {
                "format": _FORMAT,
                "version": _VERSION,
                "after": header.after,
                "last": header.last,
                "previous": previous,
            }
        )
        self._hasher.update(item)
        return item

    def add(self, stored: StoredEvent) -> bytes:
        """Return the bytes of the next event.

        Raises:
            InvalidValue: the event is not the next one, or lies beyond the range of the file.
        """
        self._sequence += 1
        if stored.sequence != self._sequence or stored.sequence > self._header.last:
            raise InvalidValue("sequence", str(stored.sequence), f"the next one of this file is {self._sequence}")
        record = encode_record(stored.event)
        self._hasher.update(_position(stored.sequence, record))
        redacted_by = stored.event.redacted_by
        marked: list[RecordValue] = [] if redacted_by is None else [redacted_by]
        return canonical.encode_record([stored.sequence, record, stored.event.payload, *marked])

    @property
    def summary(self) -> LogFileSummary:
        """The range and the digest of the file, after its last event was added."""
        return LogFileSummary(self._header, _digest_of(self._hasher.hexdigest()))

    def end(self) -> bytes:
        """Return the bytes of the footer.

        Raises:
            InvalidValue: events are missing.
        """
        header = self._header
        if self._sequence != header.last:
            raise InvalidValue("log file", f"{header.after}-{header.last}", f"it ends at {self._sequence} already")
        return canonical.encode({"count": header.count, "last": header.last, "digest": str(self.summary.digest)})


class LogFileReader:
    """A reader that takes a file in pieces and returns its events, each checked; `finish` checks that it is complete.

    Until `finish` has returned, only the form of the returned events is certain, because the checksum is at the end.

    Args:
        name: the name of the file, for errors.
    """

    __slots__ = ("_footer", "_hasher", "_header", "_name", "_offset", "_sequence", "_splitter")

    def __init__(self, name: str) -> None:
        self._name = name
        self._splitter = ItemSplitter(_ITEM_BYTES_MAX, _ITEM_VALUES_MAX)
        self._hasher = blake3()
        self._offset = 0
        self._header: LogFileHeader | None = None
        self._sequence = 0
        self._footer = False

    @property
    def header(self) -> LogFileHeader | None:
        """The range that the file states; None until the header was read."""
        return self._header

    def feed(self, piece: bytes) -> list[StoredEvent]:
        """Return the events that `piece` completes, in order.

        Raises:
            LogFileInvalid: the file is not what an encoder wrote.
            PayloadDiffers: a payload is not the one that its record names.
        """
        try:
            items = self._splitter.feed(piece)
        except NotAnItem as error:
            raise self._invalid(str(error)) from None
        events: list[StoredEvent] = []
        for item in items:
            stored = self._take(item)
            if stored is not None:
                events.append(stored)
            self._offset += len(item)
        return events

    def finish(self) -> LogFileSummary:
        """Return the range and the digest of the file, after all of it was fed.

        Raises:
            LogFileInvalid: the file is not complete, or bytes follow its end.
        """
        if self._splitter.kept_bytes:
            raise self._invalid("bytes follow its end" if self._footer else "it is cut off within an item")
        if self._header is None or not self._footer:
            raise self._invalid("it is cut off before its footer")
        return LogFileSummary(self._header, _digest_of(self._hasher.hexdigest()))

    def _take(self, item: bytes) -> StoredEvent | None:
        if self._footer:
            raise self._invalid("bytes follow its end")
        try:
            value = canonical.decode_record(item, max_bytes=_ITEM_BYTES_MAX, items_max=_ITEM_VALUES_MAX)
        except NotCanonical as error:
            raise self._invalid(str(error)) from error
        if self._header is not None and isinstance(value, dict):
            self._check_footer(self._header, value)
            self._footer = True
            return None
        if self._header is None:
            self._hasher.update(item)
            self._header = self._header_of(value)
            self._sequence = self._header.after
            return None
        return self._event_of(self._header, value)

    def _header_of(self, value: RecordValue) -> LogFileHeader:
        if not isinstance(value, dict) or value.get("format") != _FORMAT:
            raise self._invalid("it does not begin as a log file does")
        if value.get("version") != _VERSION or value.keys() != _HEADER_KEYS:
            raise self._invalid(f"it is of version {value.get('version')!r}, and this release reads version {_VERSION}")
        after, last, previous = value["after"], value["last"], value["previous"]
        if type(after) is not int or type(last) is not int or not isinstance(previous, str | None):
            raise self._invalid("its range is not two numbers and a digest")
        try:
            return LogFileHeader(after, last, None if previous is None else ContentAddress.parse(previous))
        except InvalidValue as error:
            raise self._invalid(str(error)) from error

    def _event_of(self, header: LogFileHeader, value: RecordValue) -> StoredEvent:
        expected = self._sequence + 1
        match value:
            case [int(sequence), bytes(record), bytes(payload)] if type(sequence) is int:
                redacted_by = None
            case [int(sequence), bytes(record), bytes(payload), int(redacted_by)] if (
                type(sequence) is int and type(redacted_by) is int
            ):
                pass
            case _:
                raise self._invalid("an item is neither an event nor the footer")
        if sequence != expected or sequence > header.last:
            raise self._invalid(f"it has event {sequence} where {expected} or its end at {header.last} should be")
        self._sequence = expected
        self._hasher.update(_position(sequence, record))
        try:
            return decode_event(sequence, record, payload, redacted_by=redacted_by, source=f"log file {self._name}")
        except RecordInvalid as error:
            raise self._invalid(f"event {sequence} is {error}") from error

    def _check_footer(self, header: LogFileHeader, value: dict[str, RecordValue]) -> None:
        if value.keys() != _FOOTER_KEYS:
            raise self._invalid("its footer has other fields than it should")
        found = cast("tuple[object, ...]", (value["count"], value["last"], self._sequence))
        if found != (header.count, header.last, header.last):
            raise self._invalid(f"it ends at {self._sequence}, and should end at {header.last}")
        if value["digest"] != str(_digest_of(self._hasher.hexdigest())):
            raise self._invalid("its checksum does not match, so something before was changed")

    def _invalid(self, reason: str) -> LogFileInvalid:
        return LogFileInvalid(self._name, self._offset, reason)


def _position(sequence: int, record: bytes) -> bytes:
    """Return the bytes of an event that the file's digest covers."""
    return canonical.encode_record([sequence, record])


def _digest_of(hex_digits: str) -> ContentAddress:
    return ContentAddress(Digest(PRIMARY_ALGORITHM, hex_digits))
