"""Commands: requests to change the log, each as a frozen struct.

A caller creates the id of a command before it sends the command. If the reply is lost, the caller sends the same
command again and gets the result of the first attempt. The ids of the command's events are derived from its id. Two
commands are the same if their `command_digest` is equal. It covers the request, but not the id of a new package, which
a caller that starts over creates anew, and not whether bytes were stored or deduplicated.
"""

from artifactstore_protocols.commands.checks import (
    ENTRIES_BYTES_MAX,
    ENTRIES_MAX,
    OBJECTS_MAX,
    PARENTS_MAX,
    check_caller,
)
from artifactstore_protocols.commands.names import DeleteKeepPolicy, DeleteTag, SetKeepPolicy, SetTag
from artifactstore_protocols.commands.objects import (
    ObjectFinding,
    RecordFindings,
    RecordVerification,
    RemoveObjects,
    ReplaceObjects,
    RetireObjects,
    StoreObjects,
)
from artifactstore_protocols.commands.packages import (
    AnnotatePackage,
    CreatePackage,
    FinalizePackage,
    IngestFiles,
    OnExisting,
    check_entries_bytes,
    entries_bytes,
    entry_bytes,
    file_entry_bytes,
)
from artifactstore_protocols.commands.requests import Command, CommandRequest, command_digest
from artifactstore_protocols.commands.schemas import (
    RegisterMetadataSchema,
    RequireSchema,
    SchemaCommand,
    UnrequireSchema,
)

__all__ = [
    "ENTRIES_BYTES_MAX",
    "ENTRIES_MAX",
    "OBJECTS_MAX",
    "PARENTS_MAX",
    "AnnotatePackage",
    "Command",
    "CommandRequest",
    "CreatePackage",
    "DeleteKeepPolicy",
    "DeleteTag",
    "FinalizePackage",
    "IngestFiles",
    "ObjectFinding",
    "OnExisting",
    "RecordFindings",
    "RecordVerification",
    "RegisterMetadataSchema",
    "RemoveObjects",
    "ReplaceObjects",
    "RequireSchema",
    "RetireObjects",
    "SchemaCommand",
    "SetKeepPolicy",
    "SetTag",
    "StoreObjects",
    "UnrequireSchema",
    "check_caller",
    "check_entries_bytes",
    "command_digest",
    "entries_bytes",
    "entry_bytes",
    "file_entry_bytes",
]
