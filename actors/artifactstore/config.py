"""The settings of a store, read once into one typed value.

`ENVIRONMENT` lists every variable with its default. Tests compare `.env.example` and the operator's manual with it.
Each setting comes from the first source that has it: `--store`, the environment, a project file, the defaults.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, override

from msgspec import Struct
from msgspec.structs import force_setattr

from artifactstore.misspelled_settings import PREFIX, suggested_settings, unknown_variables
from artifactstore.places import check_text, directory, is_sqlite_url, sqlite_file, sqlite_url
from artifactstore.project_file import ProjectFile, find_project_file, read_project_file
from artifactstore_protocols.errors import InvalidValue

__all__ = ["ENVIRONMENT", "FoundSettings", "Settings", "find_settings"]

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "ARTIFACTSTORE_DATABASE_URL": "sqlite:///var/artifactstore.db",
        "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": "var/objects",
        "ARTIFACTSTORE_LOG_LEVEL": "WARNING",
        "ARTIFACTSTORE_PACKAGE_FILES_MAX": "100000",
        "ARTIFACTSTORE_STORAGE_SMALL_MAX": "65536",
        "ARTIFACTSTORE_EXPIRE_HOURS": "0",
        "ARTIFACTSTORE_GC_HOURS": "0",
        "ARTIFACTSTORE_VERIFY_HOURS": "0",
        "ARTIFACTSTORE_UPLOAD_MAX_MIB": "102400",
        "ARTIFACTSTORE_UPLOAD_RESERVE_MIB": "256",
        "ARTIFACTSTORE_ANONYMOUS_READ": "no",
        "ARTIFACTSTORE_TRUSTED_PROXIES": "",
        "ARTIFACTSTORE_PUBLIC_URL": "",
    }
)

_STORE_DATABASE = "artifactstore.db"
_STORE_OBJECTS = "objects"
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_FILES_MAX: Final = 999_999_999
"""More files than a package can hold, since its manifest must fit into memory. A larger number is a mistake."""

_SMALL_MAX: Final = 1 << 20
"""The size in bytes of the largest object that the backend for small objects accepts."""

_MIB_MAX: Final = 999_999_999
"""A larger number is a mistake: no object is as large as 954 TiB."""

_HOURS_MAX: Final = 8760
"""The longest period of a service's jobs: a year."""

_logger = logging.getLogger("artifactstore.settings")


class Settings(Struct, frozen=True):
    """The settings that a store needs to start.

    A `~` at the start of a path means the home directory.

    Attributes:
        database_url: The URL of the database with the log and its tables. `sqlite:///FILE` has three slashes before a
            relative path and four before an absolute path. `postgresql://USER:PASSWORD@HOST:PORT/NAME` names a
            PostgreSQL database. artifactstore never prints the URL, since it may hold a password.
        storage_local_root: The directory of the objects. Commands that create a store create this directory.
        log_level: The lowest level that the `artifactstore` loggers write: `DEBUG`, `INFO`, `WARNING` or `ERROR`.
        package_files_max: The maximum number of entries in one package: files, symbolic links and empty directories.
            It is a number from 1 to 999999999.
        storage_small_max: The size in bytes, 0 to 1048576, up to which an object is stored as a row of
            `small/objects.db` below the root and not as a file. Use 0 on a network file system. A change does not move
            objects that are already stored.
        expire_hours: Every how many hours the service lets go the packages whose retention is over, and those that its
            keep policies no longer keep: 1 to 8760, or 0 for never.
        gc_hours: Every how many hours the service collects garbage: 1 to 8760, or 0 for never.
        verify_hours: Every how many hours the service verifies the objects that were not verified for 30 days: 1 to
            8760, or 0 for never.
        upload_max_mib: The size in MiB of the largest file that the service takes in one request: 1 to 999999999.
        upload_reserve_mib: The space in MiB that uploads to the service leave free on each device of the store: 0 to
            999999999.
        anonymous_read: Whether the service lets requests without a token read packages: `yes` or `no`.
        trusted_proxies: The addresses and networks of reverse proxies, separated by commas, and `unix` for one on a
            Unix socket. The service believes their `X-Forwarded-For` and `X-Forwarded-Proto`, and nobody else's.
        public_url: The URL at which browsers reach the service, if it is not the one that it listens on.

    Raises:
        InvalidValue: a setting is invalid.
    """

    database_url: str = ENVIRONMENT["ARTIFACTSTORE_DATABASE_URL"]
    storage_local_root: Path = Path(ENVIRONMENT["ARTIFACTSTORE_STORAGE_LOCAL_ROOT"])
    log_level: str = ENVIRONMENT["ARTIFACTSTORE_LOG_LEVEL"]
    package_files_max: int = int(ENVIRONMENT["ARTIFACTSTORE_PACKAGE_FILES_MAX"])
    storage_small_max: int = int(ENVIRONMENT["ARTIFACTSTORE_STORAGE_SMALL_MAX"])
    expire_hours: int = int(ENVIRONMENT["ARTIFACTSTORE_EXPIRE_HOURS"])
    gc_hours: int = int(ENVIRONMENT["ARTIFACTSTORE_GC_HOURS"])
    verify_hours: int = int(ENVIRONMENT["ARTIFACTSTORE_VERIFY_HOURS"])
    upload_max_mib: int = int(ENVIRONMENT["ARTIFACTSTORE_UPLOAD_MAX_MIB"])
    upload_reserve_mib: int = int(ENVIRONMENT["ARTIFACTSTORE_UPLOAD_RESERVE_MIB"])
    anonymous_read: bool = False
    trusted_proxies: str = ENVIRONMENT["ARTIFACTSTORE_TRUSTED_PROXIES"]
    public_url: str = ENVIRONMENT["ARTIFACTSTORE_PUBLIC_URL"]

    def __post_init__(self) -> None:
        for name, meaning in _MEANINGS.items():
            force_setattr(self, name, meaning(name, getattr(self, name)))

    @override
    def __repr__(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__[1:]]
        return f"Settings({', '.join(shown)})"

    @staticmethod
    def load(environment: Mapping[str, str] = os.environ, *, store: str | None = None) -> "Settings":
        """Return the settings as the command line finds them, and log a warning for each unknown variable.

        The sources are `store`, the environment, a project file and the defaults, in this order.

        Args:
            environment: the environment variables. An empty variable counts as not set.
            store: a directory, as `--store` names it.

        Raises:
            InvalidValue: a setting is invalid, a variable looks like a misspelled setting, or the project file is
                invalid or belongs to another user.
        """
        found = find_settings(environment, store=store)
        found.warn()
        return found.settings


class FoundSettings(Struct, frozen=True):
    """Settings and their origins.

    Attributes:
        settings: the settings.
        origins: by setting, its origin: `--store`, the name of a variable, the path of a project file, or `default`.
        unknown: names of variables that start with `ARTIFACTSTORE_` but resemble no setting.
    """

    settings: Settings
    origins: Mapping[str, str]
    unknown: tuple[str, ...] = ()

    def warn(self) -> None:
        """Log a warning for each unknown variable."""
        for name in self.unknown:
            _logger.warning("%s is set, and there is no such setting", name)


def find_settings(
    environment: Mapping[str, str] = os.environ, *, store: str | None = None, tolerant: bool = False
) -> FoundSettings:
    """Return the settings and their origins, each setting from the first source that has it.

    Args:
        environment: see `Settings.load`.
        store: see `Settings.load`.
        tolerant: whether to accept variables that look like misspelled settings. The doctor sets this, since it reports
            them itself.

    Raises:
        InvalidValue: see `Settings.load`.
    """
    for name, meant in () if tolerant else suggested_settings(environment, ENVIRONMENT).items():
        raise InvalidValue("environment variable", name, f"there is no such setting; did you mean {meant}?")
    file = find_project_file(environment)
    sources = (
        *(() if store is None else (_of_store(store),)),
        _of_environment(environment),
        *(() if file is None else (_of_project(read_project_file(file, _MEANINGS)),)),
    )
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name in _MEANINGS:
        origins[name] = "default"
        for source in reversed(sources):  # in reverse, so that the first source wins
            if name in source:
                values[name], origins[name] = source[name]
    return FoundSettings(Settings(**values), origins, unknown_variables(environment, ENVIRONMENT))


type _Source = Mapping[str, tuple[Any, str]]
"""Valid values by setting, each with its origin."""


def _of_store(text: str) -> _Source:
    path = directory("--store", text)
    return {
        "database_url": (sqlite_url(path / _STORE_DATABASE), "--store"),
        "storage_local_root": (path / _STORE_OBJECTS, "--store"),
    }


def _of_environment(environment: Mapping[str, str]) -> _Source:
    found = {variable: environment[variable] for variable in ENVIRONMENT if environment.get(variable)}
    return {
        _setting(variable): (_MEANINGS[_setting(variable)](variable, value), variable)
        for variable, value in found.items()
    }


def _of_project(file: ProjectFile) -> _Source:
    """Return the values of a project file. Relative paths start at the file's directory."""
    found: dict[str, tuple[Any, str]] = {}
    for name, given in file.values.items():
        what = f"{name} in {file.path}"
        value = _MEANINGS[name](what, given)
        if name == "storage_local_root":
            value = file.path.parent / value
        elif name == "database_url" and is_sqlite_url(value):
            value = sqlite_url(file.path.parent / sqlite_file(what, value))
        found[name] = (value, str(file.path))
    return found


def _setting(variable: str) -> str:
    return variable.removeprefix(PREFIX).lower()


def _database_url(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValue(what, type(value).__name__, "write a URL, as text")
    check_text(what, value, secret=True)
    if is_sqlite_url(value):
        sqlite_file(what, value)
    return value


def _storage_local_root(what: str, value: object) -> Path:
    if not isinstance(value, str | Path):
        raise InvalidValue(what, type(value).__name__, "name a directory")
    return directory(what, str(value))


def _log_level(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValue(what, type(value).__name__, "use DEBUG, INFO, WARNING or ERROR")
    check_text(what, value)
    if not value.isascii() or value.upper() not in _LOG_LEVELS:
        raise InvalidValue(what, value[:20], "use DEBUG, INFO, WARNING or ERROR")
    return value.upper()


def _yes_or_no(what: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        check_text(what, value)
        if value in {"yes", "no"}:
            return value == "yes"
    shown = value[:20] if isinstance(value, str) else type(value).__name__
    raise InvalidValue(what, shown, "write yes or no")


def _read_by(read: Callable[[str, str], None]) -> Callable[[str, object], str]:
    """Return the parser of a text that the service reads again, so only the service keeps what it means."""

    def meaning(what: str, value: object) -> str:
        if not isinstance(value, str):
            raise InvalidValue(what, type(value).__name__, "write a text")
        check_text(what, value)
        if value:
            read(what, value)
        return value

    return meaning


def _read_proxies(what: str, text: str) -> None:
    from artifactstore.http.peers import parse_proxies  # noqa: PLC0415 - few stores have this setting

    parse_proxies(what, text)


def _read_public_url(what: str, text: str) -> None:
    from artifactstore.http.peers import parse_public_url  # noqa: PLC0415 - as above

    parse_public_url(what, text)


def _whole_number(least: int, most: int) -> Callable[[str, object], int]:
    def meaning(what: str, value: object) -> int:
        number = -1
        if isinstance(value, str):
            check_text(what, value)
            shown = value[:20]
            if _WHOLE_NUMBER.fullmatch(value):
                number = int(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
            shown = str(value) if abs(value) <= _FILES_MAX else "a number of many digits"
        else:
            shown = type(value).__name__
        if least <= number <= most:
            return number
        raise InvalidValue(what, shown, f"write a whole number from {least} to {most}, digits alone")

    return meaning


_MEANINGS: Mapping[str, Callable[[str, object], Any]] = MappingProxyType(
    {
        "database_url": _database_url,
        "storage_local_root": _storage_local_root,
        "log_level": _log_level,
        "package_files_max": _whole_number(1, _FILES_MAX),
        "storage_small_max": _whole_number(0, _SMALL_MAX),
        "expire_hours": _whole_number(0, _HOURS_MAX),
        "gc_hours": _whole_number(0, _HOURS_MAX),
        "verify_hours": _whole_number(0, _HOURS_MAX),
        "upload_max_mib": _whole_number(1, _MIB_MAX),
        "upload_reserve_mib": _whole_number(0, _MIB_MAX),
        "anonymous_read": _yes_or_no,
        "trusted_proxies": _read_by(_read_proxies),
        "public_url": _read_by(_read_public_url),
    }
)
"""A parser for each setting, which raises `InvalidValue` for an invalid value. It returns parsed values unchanged."""
