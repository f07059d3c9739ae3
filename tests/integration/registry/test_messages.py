"""Whatever a message holds, its handler answers: no actor crashes of a value that somebody else made.

Every request of the catalogue is sent to the actors of a running store, with each of its fields replaced by values of
other types, and by values of the right type that nothing can be done with.
"""

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from types import get_original_bases
from typing import Any, cast, get_args, get_origin, get_type_hints

import pytest
from msgspec.structs import replace

from artifactstore import Settings
from artifactstore.errors import ActorCrashed, InvalidValue, Refusal
from artifactstore.ids import new_id
from artifactstore.open import open_store
from artifactstore.streams import ChannelStream
from artifactstore.supervision import ActorRef, ActorSpec
from artifactstore.tree import Actors
from artifactstore_protocols import messages
from artifactstore_protocols.commands import CommandRequest, CreatePackage, OnExisting
from artifactstore_protocols.dataplane import FileSource
from artifactstore_protocols.events import CommandStamp, Event, StoredEvent
from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.messages import (
    AddDirectory,
    AddFile,
    Commit,
    CompactStorage,
    DeleteObjects,
    FinalizePackage,
    GetHealth,
    HeadMoved,
    ImportEvents,
    IngestTree,
    ListObjects,
    OpenObjectFile,
    OpenPackage,
    OpenTail,
    PreviewIngest,
    ReadObjects,
    Replay,
    ServeObject,
    StatObjects,
    StoreFiles,
    StoreStream,
    VerifyObjects,
)
from artifactstore_protocols.sources import Source, SourceTree
from artifactstore_protocols.storage import KnownObject, Place
from artifactstore_protocols.supervision import Message, Request
from event_stores import run_of
from integration.registry.samples import actors as actors_of
from integration.registry.samples import check_sound, quiet, stream_of

NOWHERE = KnownObject(ContentAddress(Digest("blake3", "0" * 64)), 1, Place("local", "nowhere"))
VALUES: tuple[object, ...] = (
    *(None, 5, -1, 2**63 - 1, 2**63, 10**5000, True, 1.5, math.nan, b"bytes", [5], (5,), {"k": 5}, frozenset({5})),
    *("", " ", "text", "\ud800", "a\0b", "x" * 100_000),
    *(object(), print),
)
"""Nearly all of them are of the wrong type for a field; of what is left, most is of no use."""

WRONG_AT_LEAST = 8
"""How many of them are of the wrong type, whatever the field."""


def samples(tree: Path) -> list[Message[Any]]:
    """One message of each type that has fields, which could be done."""
    of_tree = SourceTree((Source(str(tree)),))
    stamp = CommandStamp(new_id(), f"blake3:{'0' * 64}", None)
    event = Event(new_id(), "v1.nothing.known", new_id(), "ci", 1, b"\xa0", stamp)
    create = CommandRequest(new_id(), CreatePackage(new_id(), "p", "standard", {}), "ci", None)
    return [
        StoreFiles((FileSource(str(tree / "f")),), {}),
        StoreStream(stream_of(b"x"), None, {}),
        ServeObject(NOWHERE),
        StatObjects((NOWHERE,)),
        VerifyObjects((NOWHERE,)),
        ReadObjects((NOWHERE,)),
        OpenObjectFile(NOWHERE),
        DeleteObjects((NOWHERE.place,)),
        ListObjects("local", "", 10),
        CompactStorage("local"),
        Commit(create),
        ImportEvents((StoredEvent(1, event),), run_of([StoredEvent(1, event)])),
        HeadMoved(0),
        OpenTail(0),
        Replay(rebuild=False),
        OpenPackage("p", "standard", {}, "ci", None),
        AddFile(new_id(), "f", FileSource(str(tree / "f")), None, None, None, OnExisting.REFUSE, "ci", None),
        AddDirectory(new_id(), of_tree, OnExisting.REFUSE, "ci", None),
        FinalizePackage(new_id(), "ci"),
        IngestTree(of_tree, None, "standard", {}, "ci", None, None),
        PreviewIngest(of_tree),
        GetHealth(0.0),
    ]


def fields_of(message: type) -> list[str]:
    return list(getattr(message, "__struct_fields__", ()))


def test_every_message_with_fields_has_a_sample(tmp_path: Path) -> None:
    known = {
        value
        for value in vars(messages).values()
        if isinstance(value, type) and Message in value.__mro__ and value not in {Message, Request} and fields_of(value)
    }
    assert {type(message) for message in samples(tmp_path)} == known


@pytest.mark.slow
async def test_whatever_a_message_holds_is_answered(
    settings: Settings, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree.parent)
    (tree / "f").write_bytes(b"content")
    running: list[Actors] = []

    def services(actors: Actors) -> Sequence[ActorSpec[Any]]:
        running.append(actors)
        return ()

    async with open_store(settings, services) as registry:
        refs = by_role(running[0])
        for message in samples(tree):
            handled = next(base for base in get_original_bases(type(message)) if get_origin(base) in {Message, Request})
            ref = refs[get_args(handled)[-1]]
            for name in fields_of(type(message)):
                refused = 0
                for value in VALUES:
                    try:
                        made = replace(cast("Any", message), **{name: value})
                    except InvalidValue:
                        refused += 1
                    else:
                        await answered(ref, made)
                assert refused >= WRONG_AT_LEAST, (type(message).__name__, name)
        await quiet(registry)
        assert [(actor.name, actor.starts) for actor in actors_of(registry) if actor.starts != 1] == []
        assert registry.snapshot().find("root/core").starts == 1
        await check_sound(registry)


def test_an_import_checks_what_its_events_hold() -> None:
    stamp = CommandStamp(new_id(), None, None)
    event = Event(new_id(), "v1.nothing.known", new_id(), "ci", 1, b"\xa0", stamp)
    for wrong in (
        StoredEvent(cast("int", "1"), event),
        StoredEvent(1, cast("Event", None)),
        *(StoredEvent(1, replace(event, **{name: 1.5})) for name in ("type", "subject", "principal", "recorded_at_us")),
        StoredEvent(1, replace(event, command=replace(stamp, digest=cast("str", 5)))),
        StoredEvent(1, replace(event, command=replace(stamp, idempotency_key=cast("str", b"key")))),
    ):
        with pytest.raises(InvalidValue):
            ImportEvents((wrong,), run_of([StoredEvent(1, event)]))


async def test_a_stream_of_text_is_answered(settings: Settings) -> None:
    async def text() -> AsyncGenerator[bytes]:
        yield b"bytes"
        yield cast("bytes", "text")

    running: list[Actors] = []

    def services(actors: Actors) -> Sequence[ActorSpec[Any]]:
        running.append(actors)
        return ()

    async with open_store(settings, services) as registry, aclosing(text()) as stream:
        with pytest.raises(InvalidValue, match="chunk of the stream 'str': give bytes"):
            await running[0].storage.ask(StoreStream(stream, None, {}))
        assert [(actor.name, actor.starts) for actor in actors_of(registry) if actor.starts != 1] == []


async def answered(ref: ActorRef[Any], message: Message[Any]) -> None:
    """Send a message, and wait for a reply or a refusal."""
    try:
        if isinstance(message, Request):
            reply = await ref.ask(cast("Request[object, Any]", message))
            if isinstance(reply, ChannelStream):
                reply.close()
        else:
            await ref.tell(message)
    except ActorCrashed:
        raise
    except Refusal:
        pass


def by_role(actors: Actors) -> dict[type, ActorRef[Any]]:
    """The addresses, by what their messages name."""
    hints = get_type_hints(Actors)
    return {get_args(hints[name])[0]: getattr(actors, name) for name in Actors.__struct_fields__}
