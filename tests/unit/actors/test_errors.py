"""Errors hold their facts and say what to do."""

import pytest

from artifactstore.errors import (
    AmbiguousPackage,
    BlocksEventLoop,
    FileNotInPackage,
    NotBuiltYet,
    NotFinalized,
    StoreClosed,
    TargetRefused,
    WaitsForItself,
    WrongEventLoop,
    WrongProcess,
)
from artifactstore.ingest.actor import PackageBusy
from artifactstore_protocols.errors import ArtifactStoreError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AmbiguousPackage("n", ("1", "2")), "2 packages are named 'n'; use the id of one: 1, 2 (newest first)"),
        (AmbiguousPackage("n", ("1", "2", "3", "4", "5")), "1, 2, 3 and 2 more"),
        (FileNotInPackage("p", "f"), "package p has no file 'f'"),
        (NotFinalized("p"), "finalise it first"),
        (NotBuiltYet("selling"), "selling is not part of this release"),
        (TargetRefused("/t", "it is full"), "cannot write to '/t': it is full"),
        (PackageBusy("p", 2), "2 ingest(s) under way"),
        (StoreClosed(), "open_registry"),
        (WaitsForItself(), "another thread"),
        (WrongEventLoop("trio", "asyncio"), "use open_registry of artifactstore.aio there"),
        (WrongEventLoop("trio", "no event loop"), "a worker thread of the store's own program comes by"),
        (WrongEventLoop("trio", "trio"), "another run of trio"),
        (WrongEventLoop("asyncio", "no event loop"), "use open_registry of artifactstore.blocking there"),
        (BlocksEventLoop("trio"), "use open_registry of artifactstore there"),
        (BlocksEventLoop("asyncio"), "use open_registry of artifactstore.aio there"),
        (WrongProcess(42), "process 42"),
    ],
)
def test_an_error_says_what_to_do(error: ArtifactStoreError, words: str) -> None:
    assert words in str(error)
