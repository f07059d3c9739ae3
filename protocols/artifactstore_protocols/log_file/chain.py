"""A log in several files: their names, and the check that they make one log without a gap or an overlap."""

import re
from collections.abc import Iterable
from typing import Final

from artifactstore_protocols.log_file.codec import LogFileHeader, LogFileSummary
from artifactstore_protocols.log_file.errors import LogFileInvalid

__all__ = ["chain_of", "check_link", "check_name", "log_file_name"]

_NAME: Final = re.compile(r"(\d{12,16})-(\d{12,16})\.cborseq")


def log_file_name(header: LogFileHeader) -> str:
    """Return the name of a file in a chain, `<first>-<last>.cborseq`, with twelve digits or more in each number.

    The names sort in the order of the log. The file of an empty log is named from 1 to 0, and may stay when the log has
    grown.
    """
    return f"{header.after + 1:012}-{header.last:012}.cborseq"


def chain_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a chain's files, in order. Names of any other form are skipped.

    Raises:
        LogFileInvalid: a file is missing before one of them, or two files hold the same event.
    """
    ranges = sorted((int(match[1]), int(match[2]), match[0]) for name in names if (match := _NAME.fullmatch(name)))
    after = 0
    for first, last, name in ranges:
        if first != after + 1 or (last < first and last != 0):
            raise LogFileInvalid(name, 0, f"the files before it end at {after}, so it should begin with {after + 1}")
        after = last
    return tuple(name for _first, _last, name in ranges)


def check_name(name: str, header: LogFileHeader) -> None:
    """Check the range of a file against its name.

    Raises:
        LogFileInvalid: the file holds other events than its name says.
    """
    if log_file_name(header) != name:
        raise LogFileInvalid(name, 0, f"it holds the events after {header.after} up to {header.last}")


def check_link(name: str, header: LogFileHeader, previous: LogFileSummary | None) -> None:
    """Check a file against its name, and against the file before it in the chain (None for the first one).

    Raises:
        LogFileInvalid: see `check_name`; or the file continues another file than the one before it.
    """
    check_name(name, header)
    if header.previous != (None if previous is None or header.after == 0 else previous.digest):
        raise LogFileInvalid(name, 0, "it does not continue the file before it")
