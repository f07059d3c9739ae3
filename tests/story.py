"""A story that touches every view and every kind of refusal, told to a store and to a log in memory alike."""

from collections.abc import Sequence

from artifactstore_protocols.commands import OnExisting
from artifactstore_protocols.events import Committed
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.records import ReplayReport
from command_strategies import (
    Annotate,
    Condemn,
    Create,
    Delete,
    DeleteATag,
    Expire,
    FileStep,
    Finalize,
    Find,
    Ingest,
    Register,
    Remove,
    Retire,
    SetATag,
    Step,
)
from database_tools import Scribe
from memory_log import MemoryLog

__all__ = ["STORY", "assert_identical", "tell_story"]

STORY: list[Step] = [
    Create(1, "standard", {"branch": "main"}),
    Create(2, "permanent", {}),
    Create(3, "short", {}),
    Ingest(
        1,
        (
            FileStep("ä/ö.txt", b"x", False),
            FileStep("Z", b"x", True),
            FileStep("a", b"yy", False),
        ),
        OnExisting.REFUSE,
    ),
    Find(((b"x", "damaged"),)),
    Ingest(2, (FileStep("e\u0301", b"x", False, 2),), OnExisting.REFUSE),
    Ingest(1, (FileStep("a", b"", False),), OnExisting.REPLACE),
    Ingest(
        3,
        (
            FileStep("empty/e\u0301", b"", False, 1, "directory"),
            FileStep("link", b"", False, 1, "link"),
            FileStep("other", b"", False, 1, "link"),
        ),
        OnExisting.REFUSE,
    ),
    Ingest(
        3,
        (
            FileStep("empty/é/no longer", b"new", False),
            FileStep("link", b"yy", True),
            FileStep("other", b"", False, 1, "directory"),
            FileStep("empty", b"", False, 1, "directory"),
        ),
        OnExisting.REPLACE,
    ),
    Ingest(3, (FileStep("other", b"", False, 1, "link"),), OnExisting.RESUME),
    Ingest(3, (FileStep("empty/é", b"x", False),), OnExisting.REPLACE),
    Ingest(3, (FileStep("one more", b"x", False),), OnExisting.REPLACE),
    Ingest(1, (FileStep("a", b"nope", False),), OnExisting.REFUSE),
    Create(99, "standard", {}),
    Ingest(99, (FileStep("gone", b"gone", False),), OnExisting.REFUSE),
    Ingest(99, (FileStep("gone", b"x", False),), OnExisting.REPLACE),
    Condemn((b"gone", b"new")),
    Ingest(99, (FileStep("back", b"gone", False),), OnExisting.REFUSE),
    Ingest(99, (FileStep("back", b"new", False),), OnExisting.REPLACE),
    Condemn((b"gone",)),
    Retire(((b"gone", 1), (b"x", 2)), "condemned"),
    Retire(((b"stray", 1), (b"x", 2)), "orphan"),
    Remove(((b"gone", 1),)),
    Remove(((b"x", 2),)),
    Ingest(99, (FileStep("back", b"gone", False),), OnExisting.REPLACE),
    Find(((b"yy", "missing"),)),
    Find(((b"yy", "intact"),)),
    Find(((b"yy", "missing"),)),
    Register("build"),
    Register("build"),
    Finalize(1, late=True),
    SetATag("release", 1, None),
    Finalize(1, late=False),
    SetATag("release", 1, True),
    Annotate(1, {"reviewed": "é\n", "score": 4, "hosts": ["a", {"b": True}]}),
    Annotate(1, {"score": 4, "branch": "other"}),
    Annotate(1, {"score": True}),
    Annotate(1, {"score": True}),
    Annotate(1, {}, ("reviewed",)),
    Annotate(1, {}, ("reviewed",)),
    Annotate(4, {"early": ""}),
    SetATag("release", 1, None),
    DeleteATag("release"),
    SetATag("best", 1, None),
    DeleteATag("best"),
    DeleteATag("best"),
    Ingest(1, (FileStep("late", b"", False),), OnExisting.REFUSE),
    Create(4, "long", {"branch": 1}, "build"),
    Create(4, "long", {"branch": "main"}, "build@3"),
    Create(4, "long", {"branch": "main"}, "build", (3,)),
    Create(4, "long", {"branch": "main"}, "build@1", (1,)),
    Ingest(
        4,
        (
            FileStep("a.b", b"", False, 1, "link"),
            FileStep("a/e\u0301", b"", False, 1, "directory"),
            FileStep("a/f", b"x", True),
        ),
        OnExisting.REFUSE,
    ),
    Annotate(4, {"score": "x"}),
    Finalize(4, late=False),
    Annotate(4, {"score": 1}),
    Finalize(4, late=False),
    SetATag("release", 4, False),
    SetATag("latest", 4, None),
    SetATag("latest", 1, None),
    Create(5, "short", {}),
    Ingest(5, (FileStep("a", b"yy", False),), OnExisting.REFUSE),
    Expire(5, "retention", 2**52),
    Finalize(5, late=False),
    SetATag("keep", 5, True),
    Delete(5, True),
    Expire(5, "policy:nightly", 0),
    SetATag("keep", 5, False),
    Delete(5, False),
    Expire(5, "retention", 0),
    Expire(5, "retention", 2**52, late=True),
    Expire(5, "retention", 2**52),
    Expire(5, "retention", 2**52),
    SetATag("keep", 5, None),
    Finalize(5, late=False),
    Create(6, "short", {}),
    Ingest(6, (FileStep("a", b"yy", False),), OnExisting.REFUSE),
    Delete(6, False),
    Delete(6, False),
    Delete(77, False),
    Ingest(6, (FileStep("b", b"yy", False),), OnExisting.REFUSE),
    Create(7, "short", {}),
    Expire(7, "abandoned", 0),
    Condemn((b"yy",)),
]


async def tell_story(scribe: Scribe, story: Sequence[Step] = STORY) -> MemoryLog:
    """Send the steps one by one, and to a log in memory too; both must judge alike."""
    memory = MemoryLog()
    for step in story:
        command = memory.command(step)
        refusal = memory.commit(command)
        [outcome] = await scribe.send(scribe.ask(command))
        assert type(outcome) is (Committed if refusal is None else type(refusal)), step
    return memory


def assert_identical(report: ReplayReport, memory: MemoryLog) -> None:
    """The store and the log in memory have come to the same views, and live ones are what the log implies."""
    assert report.identical
    assert report.events == report.sequence == len(memory.events)
    assert report.projection_digest == str(ContentAddress(memory.views.digest()))
