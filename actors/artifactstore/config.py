"""Settings: read once, from the environment, into one typed value.

`ENVIRONMENT` lists every variable with its default; `.env.example` and the operator's manual are held against it.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

from artifactstore_protocols.errors import InvalidValue

__all__ = ["ENVIRONMENT", "Settings"]

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "ARTIFACTSTORE_DATABASE_URL": "sqlite:///var/artifactstore.db",
        "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": "var/objects",
        "ARTIFACTSTORE_LOG_LEVEL": "WARNING",
        "ARTIFACTSTORE_PACKAGE_FILES_MAX": "100000",
    }
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a store needs to know to start.

    Attributes:
        database_url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`; kept out of `repr`, as it may hold a password.
        storage_local_root: directory of the local storage backend; made if there is none.
        log_level: of the `artifactstore` logger, for programs that ask for it.
        package_files_max: how many files one package may hold.
    """

    database_url: str = field(default=ENVIRONMENT["ARTIFACTSTORE_DATABASE_URL"], repr=False)
    storage_local_root: Path = Path(ENVIRONMENT["ARTIFACTSTORE_STORAGE_LOCAL_ROOT"])
    log_level: str = ENVIRONMENT["ARTIFACTSTORE_LOG_LEVEL"]
    package_files_max: int = int(ENVIRONMENT["ARTIFACTSTORE_PACKAGE_FILES_MAX"])

    def __post_init__(self) -> None:
        if self.log_level not in logging.getLevelNamesMapping():
            raise InvalidValue("ARTIFACTSTORE_LOG_LEVEL", self.log_level, "use DEBUG, INFO, WARNING or ERROR")
        if self.package_files_max < 1:
            raise InvalidValue("ARTIFACTSTORE_PACKAGE_FILES_MAX", str(self.package_files_max), "use 1 or more")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the variables of `ENVIRONMENT`; an empty one counts as not set.

        Raises:
            InvalidValue: a variable does not hold what it is for.
        """
        read = {name: environment.get(name) or default for name, default in ENVIRONMENT.items()}
        files_max = read["ARTIFACTSTORE_PACKAGE_FILES_MAX"]
        if not files_max.isdecimal():
            raise InvalidValue("ARTIFACTSTORE_PACKAGE_FILES_MAX", files_max, "write a whole number, 1 or more")
        return cls(
            database_url=read["ARTIFACTSTORE_DATABASE_URL"],
            storage_local_root=Path(read["ARTIFACTSTORE_STORAGE_LOCAL_ROOT"]),
            log_level=read["ARTIFACTSTORE_LOG_LEVEL"].upper(),
            package_files_max=int(files_max),
        )
