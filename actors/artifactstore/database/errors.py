"""What can go wrong between a command and its commit, told in the words of somebody who has to act on it."""

from dataclasses import dataclass

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


@dataclass(eq=False)
class DatabaseUnavailable(ArtifactStoreError):
    """The database did not do what it was asked; nothing was written."""

    database: str
    reason: str
    template = "database {self.database} is not available: {self.reason}"


class DatabaseBusy(DatabaseUnavailable):
    """Somebody else held what is needed for longer than we wait; nothing was written."""

    template = "database {self.database} is busy: {self.reason}; try again shortly"


class DatabaseDamaged(DatabaseUnavailable):
    """The database holds what cannot be read, or what nothing of ours has written; nothing was written now."""

    template = (
        "database {self.database} is damaged: {self.reason}; restore it from a backup, or run `artifactstore "
        "replay` if only tables beside the log are damaged"
    )


@dataclass(eq=False)
class DatabaseReplaced(DatabaseUnavailable):
    """A file of the database at its path is no longer the one that is open; a commit into it would be lost.

    Attributes:
        database: path of that file: the database itself, its write-ahead log or the index of that.
        remedy: what to do.
    """

    remedy: str = "Put the file back, or restart on the new one"
    template = "database {self.database} was {self.reason} while it was open; nothing more is written. {self.remedy}"


@dataclass(eq=False)
class StoreNotFound(ArtifactStoreError):
    """There is no store where the settings say, and what was asked for does not create one; nothing was written.

    Attributes:
        database: the file, or host and database, that was looked for.
        reason: what is there instead.
    """

    database: str
    reason: str
    template = (
        "there is no store at {self.database}: {self.reason}. Name a store with --store DIR, "
        "ARTIFACTSTORE_DATABASE_URL or artifactstore.toml, or create one with `artifactstore ingest` or "
        "`artifactstore migrate`"
    )


class StoreReadOnly(DatabaseUnavailable):
    """The database can be read and not written; nothing was written."""

    template = "the store is read-only because {self.reason}; reading works, and nothing was written"


class NoTemporaryDirectory(ArtifactStoreError):
    """SQLite found no place for temporary tables, or a full one."""

    template = (
        "there is no room for temporary files: no directory can be written, or it is full; "
        "set TMPDIR to a directory that has as much room as the database file"
    )


class DirectConnectionNeeded(ArtifactStoreError):
    """What was asked for needs a session of its own, and a pooler lends one for each transaction."""

    template = (
        "the database is reached through a pooler, and `artifactstore replay` needs a session of its own; "
        "run it with a URL that leads to the server itself"
    )


@dataclass(eq=False)
class OutcomeUnknown(ArtifactStoreError):
    """The commit was sent and its outcome could not be found out. The same command, sent again, finds out."""

    database: str
    reason: str
    template = (
        "database {self.database} did not say whether it committed ({self.reason}); "
        "repeat the command with the same idempotency key to find out"
    )


@dataclass(eq=False)
class Refused(ArtifactStoreError):
    """The database took back a statement because of its content: a constraint, or a value that it cannot hold.

    Nothing of the transaction was written, or of the one command where commands are committed one by one.
    """

    reason: str
    template = "the database refused a value ({self.reason}); change that value"


@dataclass(eq=False)
class LogDamaged(ArtifactStoreError):
    """The log is not 1, 2, 3 … up to its head: somebody changed the database by hand.

    Attributes:
        sequence: the first one that is missing, or that should not be there.
        reason: what is wrong there.
    """

    sequence: int
    reason: str
    template = "the log is damaged at sequence {self.sequence}: {self.reason}; restore the database from a backup"


@dataclass(eq=False)
class SchemaTooOld(ArtifactStoreError):
    """The tables are those of an earlier release."""

    database: str
    found: str
    needed: str
    template = (
        "database {self.database} has schema {self.found} and this release needs {self.needed}; "
        "back it up, then run `artifactstore migrate`"
    )


@dataclass(eq=False)
class SchemaTooNew(ArtifactStoreError):
    """The tables are those of a release that this one does not know."""

    database: str
    found: str
    needed: str
    template = (
        "database {self.database} has schema {self.found}, which this release (schema {self.needed}) does not "
        "know; use the artifactstore release that wrote it, or a later one"
    )


@dataclass(eq=False)
class LogNotEmpty(ArtifactStoreError):
    """Starting afresh would destroy a log that holds events."""

    database: str
    events: int
    template = (
        "database {self.database} holds {self.events} events, and `migrate --fresh` would destroy them; "
        "if that is what you want, add --destroy-log {self.database}"
    )
