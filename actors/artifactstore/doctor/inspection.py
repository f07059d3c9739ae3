"""The result of inspecting a store. The checks evaluate it and read nothing themselves."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field

from artifactstore.database.inspection import DatabaseInspection
from artifactstore.dataplane import RootInspection

__all__ = ["Inspection", "Setting"]


class Setting(Struct, frozen=True):
    """The value of a setting without a password, and its source."""

    value: str | int
    origin: str


class Inspection(Struct, frozen=True):
    """One inspection of a store.

    Attributes:
        now_us: time of the inspection by this machine's clock.
        suggested_settings: unknown variables that are similar to a setting, each with that setting.
        unknown_variables: other unknown variables that begin like settings.
        settings: settings by name; empty if they cannot be used.
        user: effective user and group ids of this process, in the form that `chown` accepts.
        settings_refusal: why the settings cannot be used; nothing else was inspected then.
        database: path of the database file, or host and name of the database.
        database_file: whether the SQLite file exists; None for PostgreSQL.
        database_elsewhere: file with the same relative path in a parent directory, if `database` does not exist.
        database_failure: why the database could not be inspected.
        database_found: content of the database; None if there is none or it could not be inspected.
        database_free_bytes: free bytes on the device of the database file; None if unknown.
        setup_lock: processes that hold the set-up lock for too long; empty if they are unknown. None if it is free.
        root: the directory of the objects.
        root_found: content of that directory; None if it was not inspected.
    """

    now_us: int
    suggested_settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    unknown_variables: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))
    user: str = ""
    settings_refusal: str | None = None
    database: str = ""
    database_file: bool | None = None
    database_elsewhere: str | None = None
    database_failure: str | None = None
    database_found: DatabaseInspection | None = None
    database_free_bytes: int | None = None
    setup_lock: tuple[str, ...] | None = None
    root: str = ""
    root_found: RootInspection | None = None
