"""Operating system errors reach people as words, with what to do, and keep their names for programs."""

import errno
import os
import re
from pathlib import Path

import pytest

import artifactstore
import artifactstore_protocols
from artifactstore.json_output import to_json
from artifactstore_protocols.dataplane import SourceUnreadable
from artifactstore_protocols.storage import BackendHealth, StorageDenied, StorageFailed, StorageFault, StorageFull
from artifactstore_protocols.system_errors import in_words, remedy_of, system_error_words

NAMES = sorted(set(errno.errorcode.values()))
KNOWN = [name for name in NAMES if system_error_words(name) is not None]
SOURCES = [*Path(*artifactstore.__path__).rglob("*.py"), *Path(*artifactstore_protocols.__path__).rglob("*.py")]


@pytest.mark.parametrize("name", KNOWN)
def test_no_message_for_people_has_the_name_of_an_error(name: str) -> None:
    faults: list[StorageFault] = [kind("b", "o", name) for kind in (StorageFull, StorageDenied, StorageFailed)]
    told: list[SourceUnreadable | StorageFault] = [SourceUnreadable("p", name), *faults]
    for error in told:
        assert name not in str(error)
        assert error.cause == name
        assert in_words(name) in str(error)
        problem, separator, remedy = str(error).rpartition("; ")
        assert problem
        assert separator
        assert remedy


def test_every_error_that_the_code_names_has_words() -> None:
    named = {name for source in SOURCES for name in re.findall(r"\berrno\.(E[A-Z]+)\b", source.read_text())}
    assert {name for name in named if system_error_words(name) is None} <= _HANDLED_BY_SOCKETS
    assert {"EACCES", "ENOENT", "ENOSPC"} <= named


_HANDLED_BY_SOCKETS = {"EAFNOSUPPORT", "EADDRNOTAVAIL", "ENOTTY"}
"""The service listens on another address then, or does without; nobody is told."""


def test_an_explanation_stands_for_itself() -> None:
    assert in_words("EISDIR: a directory is in the place of /x/ENOENT: y") == (
        "a directory is in the place of /x/ENOENT: y"
    )
    assert in_words("the canary differs: EIO") == "the canary differs: EIO"
    assert in_words(os.strerror(errno.ENOENT)) == os.strerror(errno.ENOENT)
    assert (in_words("EXYZ"), remedy_of("EXYZ", "ask")) == ("EXYZ", "ask")


def test_json_keeps_the_names() -> None:
    health = BackendHealth("local", None, None, None, None, "the root cannot be used: …", "EACCES")
    shown = to_json(health)
    assert isinstance(shown, dict)
    assert shown["failure_code"] == "EACCES"
