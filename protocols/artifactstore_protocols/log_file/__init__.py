"""Logs as files: the format in which a log travels between stores and databases, and in which a backup keeps it.

`codec` makes and reads one file, `chain` holds several to one another, `items` splits what is read, `errors` says what
is wrong with it. Nothing here opens a file.
"""

from artifactstore_protocols.log_file.chain import chain_of, check_link, check_name, log_file_name
from artifactstore_protocols.log_file.codec import LogFileEncoder, LogFileHeader, LogFileReader, LogFileSummary
from artifactstore_protocols.log_file.errors import LogDiffers, LogFileInvalid

__all__ = [
    "LogDiffers",
    "LogFileEncoder",
    "LogFileHeader",
    "LogFileInvalid",
    "LogFileReader",
    "LogFileSummary",
    "chain_of",
    "check_link",
    "check_name",
    "log_file_name",
]
