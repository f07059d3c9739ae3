"""What the doctor found in a store, as one value. The checks judge it, and read nothing themselves."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field

from artifactstore.database.inspection import DatabaseInspection
from artifactstore.dataplane import RootInspection

__all__ = ["Inspection", "Setting"]


class Setting(Struct, frozen=True):
    """What a setting is, as it may be shown, and where that is from."""

    value: str | int
    origin: str


class Inspection(Struct, frozen=True):
    """One look.

    Attributes:
        now_us: when, by this machine's clock.
        meant_settings: variables that are nearly settings, each with the one that was probably meant.
        unknown_variables: others that begin as settings do and are none.
        settings: by name; empty if they cannot be used.
        user: who looks, as `chown` takes it.
        settings_refusal: why the settings cannot be used; then nothing else was looked at.
        database: what it is called; a file's path, or host and name.
        database_file: whether it is a file, and there; None for a server's database.
        database_elsewhere: where a relative path would lead to a file, in a directory above this one; None if nowhere.
        database_failure: why it could not be looked at.
        database_found: what is in it; None if there is none or it could not be looked at.
        database_free_bytes: room on its file's device; None if nobody can tell.
        setup_lock: who holds the set-up lock longer than a set-up takes; empty if that is not known. None: nobody.
        root: where the objects are.
        root_found: what is there.
    """

    now_us: int
    meant_settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
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
