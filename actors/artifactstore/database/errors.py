"""The errors of the database, with messages that say what an operator can do."""

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = [
    "DatabaseBusy",
    "DatabaseDamaged",
    "DatabaseReplaced",
    "DatabaseUnavailable",
    "DirectConnectionNeeded",
    "LogDamaged",
    "LogNotEmpty",
    "NoTemporaryDirectory",
    "OutcomeUnknown",
    "Refused",
    "SchemaTooNew",
    "SchemaTooOld",
    "StoreNotFound",
    "StoreReadOnly",
]


class DatabaseUnavailable(ArtifactStoreError):
    """The database could not be used. Nothing was written."""

    database: str
    reason: str
    template = "database {self.database} is not available: {self.reason}"


class DatabaseBusy(DatabaseUnavailable):
    """A lock or a connection was not free within the time limit. Nothing was written."""

    template = "database {self.database} is busy: {self.reason}; try again shortly"


class DatabaseDamaged(DatabaseUnavailable):
    """The database is unreadable, or it holds a value that artifactstore cannot have written. Nothing was written."""

    template = (
        "database {self.database} is damaged: {self.reason}; restore it from a backup, or run `artifactstore "
        "replay` if only tables beside the log are damaged"
    )


class DatabaseReplaced(DatabaseUnavailable):
    """A database file was deleted, replaced, truncated or changed while it was open. A commit would be lost.

    Attributes:
        database: the path of the file: the database itself, its write-ahead log or the index of that log.
        reason: what happened to the file.
        remedy: what the operator must do.
    """

    remedy: str = "Put the file back, or restart on the new one"
    template = "database {self.database} was {self.reason} while it was open; nothing more is written. {self.remedy}"


class StoreNotFound(ArtifactStoreError):
    """The settings name no existing store, and the command does not create one. Nothing was written.

    Attributes:
        database: the path of the file, or the host and name of the database.
        reason: what was found instead.
    """

    database: str
    reason: str
    template = (
        "there is no store at {self.database}: {self.reason}. Name a store with --store DIR, "
        "ARTIFACTSTORE_DATABASE_URL or artifactstore.toml, or create one with `artifactstore ingest` or "
        "`artifactstore migrate`"
    )


class StoreReadOnly(DatabaseUnavailable):
    """The database can be read but not written. Nothing was written."""

    template = "the store is read-only because {self.reason}; reading works, and nothing was written"


class NoTemporaryDirectory(ArtifactStoreError):
    """SQLite found no directory for temporary tables, or the directory was full."""

    template = (
        "there is no room for temporary files: no directory can be written, or it is full; "
        "set TMPDIR to a directory that has as much room as the database file"
    )


class DirectConnectionNeeded(ArtifactStoreError):
    """A replay needs one session for several transactions, but a pooler provides a session for one transaction only."""

    template = (
        "the database is reached through a pooler, and `artifactstore replay` needs a session of its own; "
        "run it with a URL that leads to the server itself"
    )


class OutcomeUnknown(ArtifactStoreError):
    """The commit was sent, but its outcome is unknown. Send the same command again to find out."""

    database: str
    reason: str
    template = (
        "database {self.database} did not say whether it committed ({self.reason}); "
        "repeat the command with the same idempotency key to find out"
    )


class Refused(ArtifactStoreError):
    """The database rejected a value: it violates a constraint, or the database cannot store it.

    Nothing of the transaction was written. In a batch of commands, only the command with this value fails.
    """

    reason: str
    template = "the database refused a value ({self.reason}); change that value"


class LogDamaged(ArtifactStoreError):
    """The sequences of the log are not 1, 2, 3 … up to its head, or an event is invalid.

    The database was probably edited by hand, or a log file is incomplete.

    Attributes:
        sequence: the first sequence that is missing, unexpected or invalid.
        reason: what is wrong at that sequence.
    """

    sequence: int
    reason: str
    template = "the log is damaged at sequence {self.sequence}: {self.reason}; restore the database from a backup"


class SchemaTooOld(ArtifactStoreError):
    """The schema of the database is that of an earlier release."""

    database: str
    found: str
    needed: str
    template = (
        "database {self.database} has schema {self.found} and this release needs {self.needed}; "
        "back it up, then run `artifactstore migrate`"
    )


class SchemaTooNew(ArtifactStoreError):
    """The schema of the database is that of a release that this release does not know."""

    database: str
    found: str
    needed: str
    template = (
        "database {self.database} has schema {self.found}, which this release (schema {self.needed}) does not "
        "know; use the artifactstore release that wrote it, or a later one"
    )


class LogNotEmpty(ArtifactStoreError):
    """`migrate --fresh` would destroy a log that holds events."""

    database: str
    events: int
    template = (
        "database {self.database} holds {self.events} events, and `migrate --fresh` would destroy them; "
        "if that is what you want, add --destroy-log {self.database}"
    )
