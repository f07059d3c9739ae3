"""Errors hold their facts and say what to do."""

import pytest

from artifactstore.errors import AmbiguousPackage, FileNotInPackage, NotBuiltYet, NotFinalized, TargetRefused
from artifactstore.ingest.actor import PackageBusy
from artifactstore.portal import WaitsForItself
from artifactstore.registry import StoreClosed
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
    ],
)
def test_an_error_says_what_to_do(error: ArtifactStoreError, words: str) -> None:
    assert words in str(error)
