"""Settings: every variable with its default, and values that a store cannot run with are refused by name."""

from pathlib import Path

import pytest

from artifactstore.config import ENVIRONMENT, Settings
from artifactstore_protocols.errors import InvalidValue


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.load({}) == Settings()
    assert Settings.load(dict.fromkeys(ENVIRONMENT, "")) == Settings(), "an empty variable is not set"


def test_every_variable_is_read() -> None:
    read = Settings.load(
        {
            "ARTIFACTSTORE_DATABASE_URL": "postgresql://ci:secret@host/name",
            "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": "/somewhere",
            "ARTIFACTSTORE_LOG_LEVEL": "debug",
            "ARTIFACTSTORE_PACKAGE_FILES_MAX": "7",
        }
    )
    assert read.database_url == "postgresql://ci:secret@host/name"
    assert (read.storage_local_root, read.log_level, read.package_files_max) == (Path("/somewhere"), "DEBUG", 7)
    assert "secret" not in repr(read)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ARTIFACTSTORE_LOG_LEVEL", "LOUD"),
        ("ARTIFACTSTORE_PACKAGE_FILES_MAX", "0"),
        ("ARTIFACTSTORE_PACKAGE_FILES_MAX", "-1"),
        ("ARTIFACTSTORE_PACKAGE_FILES_MAX", "many"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(variable: str, value: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        Settings.load({variable: value})
    assert (refused.value.what, refused.value.value) == (variable, value)
