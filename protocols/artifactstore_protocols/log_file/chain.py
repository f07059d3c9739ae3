"""A log in several files: how they are named, and when they make one log without a hole or an overlap."""

import re
from collections.abc import Iterable
from typing import Final

from artifactstore_protocols.log_file.codec import LogFileHeader, LogFileSummary
from artifactstore_protocols.log_file.errors import LogFileInvalid

__all__ = ["chain_of", "check_link", "check_name", "log_file_name"]

_NAME: Final = re.compile(r"(\d{12,16})-(\d{12,16})\.cborseq")


def log_file_name(header: LogFileHeader) -> str:
    """Name of a file in a chain, `<first>-<last>.cborseq` in twelve digits or more, so that names sort as logs do.

    That of an empty log is from 1 to 0, and may stay where it is when the log has grown.
    """
    return f"{header.after + 1:012}-{header.last:012}.cborseq"


def chain_of(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that are a chain's files, in order. Names of any other form are passed over.

    Raises:
        LogFileInvalid: a file is missing before one of them, or two hold the same event.
    """
    ranges = sorted((int(match[1]), int(match[2]), match[0]) for name in names if (match := _NAME.fullmatch(name)))
    after = 0
    for first, last, name in ranges:
        if first != after + 1 or (last < first and last != 0):
            raise LogFileInvalid(name, 0, f"the files before it end at {after}, so it should begin with {after + 1}")
        after = last
    return tuple(name for _first, _last, name in ranges)


def check_name(name: str, header: LogFileHeader) -> None:
    """Hold a file of a chain to its name.

    Raises:
        LogFileInvalid: it holds other events than its name says.
    """
    if log_file_name(header) != name:
        raise LogFileInvalid(name, 0, f"it holds the events after {header.after} up to {header.last}")


def check_link(name: str, header: LogFileHeader, previous: LogFileSummary | None) -> None:
    """Hold a file to its name, and to the file before it in the chain (None for the first one).

    Raises:
        LogFileInvalid: as `check_name`, or it continues another file than the one before it.
    """
    check_name(name, header)
    if header.previous != (None if previous is None or header.after == 0 else previous.digest):
        raise LogFileInvalid(name, 0, "it does not continue the file before it")
