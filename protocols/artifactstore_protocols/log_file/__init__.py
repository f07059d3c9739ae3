"""Log files: the format in which a log is exported, imported and backed up.

`codec` encodes and decodes one file. `chain` checks that several files follow each other. `items` splits bytes into
CBOR items. `errors` has the errors of log files. Nothing here opens a file.
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
