"""The retention classes are what they are for ever, since packages were promised them."""

from collections.abc import MutableMapping
from datetime import timedelta
from typing import cast

import pytest

from artifactstore_protocols.retention import (
    DEFAULT_RETENTION,
    RETENTION_CLASSES,
    UnknownRetentionClass,
    retention_class,
)

KEPT = {
    "ephemeral": timedelta(days=1),
    "short": timedelta(days=30),
    "standard": timedelta(days=365),
    "long": timedelta(days=7 * 365),
    "permanent": None,
}


@pytest.mark.parametrize(("name", "kept"), KEPT.items())
def test_a_class_keeps_for_its_time(name: str, kept: timedelta | None) -> None:
    found = retention_class(name)
    assert found.name == name
    assert found.duration_us == (None if kept is None else kept / timedelta(microseconds=1))
    assert found.description


def test_there_are_five_classes_and_a_default_of_a_year() -> None:
    assert list(RETENTION_CLASSES) == list(KEPT)
    assert DEFAULT_RETENTION == "standard"


def test_the_table_cannot_be_changed() -> None:
    table = cast("MutableMapping[str, object]", RETENTION_CLASSES)
    with pytest.raises(TypeError):
        table["short"] = retention_class("long")


@pytest.mark.parametrize("name", ["", "Standard", "forever", "permanent "])
def test_an_unknown_class_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(UnknownRetentionClass, match="ephemeral, short, standard, long, permanent") as refused:
        retention_class(name)
    assert refused.value.name == name
