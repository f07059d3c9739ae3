"""A story that touches every view and every kind of refusal, told to a store and to a log in memory alike."""

from collections.abc import Sequence

from artifactstore_protocols.commands import OnExisting
from artifactstore_protocols.events import Committed
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.records import ReplayReport
from command_strategies import Create, FileStep, Finalize, Find, Ingest, Register, Step
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
            FileStep("ä/ö.txt", b"x", False, "stored"),
            FileStep("Z", b"x", True, "deduplicated"),
            FileStep("a", b"yy", False, "stored"),
        ),
        OnExisting.REFUSE,
    ),
    Find(((b"x", "damaged"),)),
    Ingest(2, (FileStep("e\u0301", b"x", False, "rewritten"),), OnExisting.REFUSE),
    Ingest(1, (FileStep("a", b"", False, "stored"),), OnExisting.REPLACE),
    Ingest(
        3,
        (
            FileStep("empty/e\u0301", b"", False, "stored", "directory"),
            FileStep("link", b"", False, "stored", "link"),
            FileStep("other", b"", False, "stored", "link"),
        ),
        OnExisting.REFUSE,
    ),
    Ingest(
        3,
        (
            FileStep("empty/é/no longer", b"new", False, "stored"),
            FileStep("link", b"yy", True, "deduplicated"),
            FileStep("other", b"", False, "stored", "directory"),
            FileStep("empty", b"", False, "stored", "directory"),
        ),
        OnExisting.REPLACE,
    ),
    Ingest(3, (FileStep("other", b"", False, "stored", "link"),), OnExisting.RESUME),
    Ingest(3, (FileStep("empty/é", b"x", False, "deduplicated"),), OnExisting.REPLACE),
    Ingest(3, (FileStep("one more", b"x", False, "deduplicated"),), OnExisting.REPLACE),
    Ingest(1, (FileStep("a", b"nope", False, "stored"),), OnExisting.REFUSE),
    Find(((b"yy", "missing"),)),
    Register("build"),
    Register("build"),
    Finalize(1, late=True),
    Finalize(1, late=False),
    Ingest(1, (FileStep("late", b"", False, "stored"),), OnExisting.REFUSE),
    Create(4, "long", {}),
    Ingest(
        4,
        (
            FileStep("a.b", b"", False, "stored", "link"),
            FileStep("a/e\u0301", b"", False, "stored", "directory"),
            FileStep("a/f", b"x", True, "deduplicated"),
        ),
        OnExisting.REFUSE,
    ),
    Finalize(4, late=False),
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
