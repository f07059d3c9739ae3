"""A line of a history says in words what an event did, for every type of event there is."""

import pytest
from msgspec.structs import replace

from artifactstore.history import history_entry
from artifactstore_protocols.commands import (
    AnnotatePackage,
    Command,
    DeleteKeepPolicy,
    DeleteTag,
    IngestFiles,
    OnExisting,
    RegisterMetadataSchema,
    RequireSchema,
    SetKeepPolicy,
    SetTag,
    UnrequireSchema,
)
from artifactstore_protocols.entries import Entry, directory_entry, link_entry
from artifactstore_protocols.event_types import PackageFinalized, UnknownEventType, type_of
from artifactstore_protocols.judging import decide
from artifactstore_protocols.keep_rules import KeepRules
from artifactstore_protocols.life_cycle import AddRetentionClass
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.state import LogState
from artifactstore_protocols.token_records import CreateToken, RevokeToken
from command_strategies import (
    address_of,
    created,
    evolved,
    finalized,
    found,
    ingest,
    ingested,
    opened,
    package_id_of,
    stored_events,
)

FIRST = package_id_of(1)
X = address_of(b"x")
CONDEMNED = f"condemned {first_key(address_of(b''))} in local, by rule 'replaced'"


def lines(command: Command, state: LogState) -> list[str]:
    return [history_entry(each).detail for each in stored_events(decide(command, state, entries_max=9))]


def entries(*given: Entry) -> IngestFiles:
    return IngestFiles(FIRST, given, (), OnExisting.REPLACE)


@pytest.mark.parametrize(
    ("command", "state", "details"),
    [
        (created(), LogState(), ["created 'nightly', retention standard"]),
        (
            ingest(ingested("a/b", b"x")),
            opened(),
            ["stored 1 objects, 1 bytes", f"added 'a/b', 1 bytes, {X}"],
        ),
        (
            ingest(ingested("a", b"x"), on_existing=OnExisting.REPLACE),
            opened(("a", b""), ("b", b"x")),
            [f"replaced 'a', 1 bytes, {X}", CONDEMNED],
        ),
        (entries(link_entry("l", "a/b")), opened(), ["added link 'l' to 'a/b'"]),
        (entries(directory_entry("d")), opened(), ["added empty directory 'd'"]),
        (
            ingest(ingested("a", b"x"), ingested("b", b"yy"), on_existing=OnExisting.REPLACE),
            opened(("a", b""), ("c", b"x"), ("d", b"yy")),
            ["put 2 entries, 3 bytes, 1 of them replaced: 'a' …", CONDEMNED],
        ),
        (RegisterMetadataSchema("build", "{}"), LogState(), ["registered metadata schema 'build' version 1"]),
        (
            RequireSchema("nightly*", "build"),
            evolved(LogState(), RegisterMetadataSchema("build", "{}")),
            ["required metadata schema build@1 for packages named 'nightly*'"],
        ),
        (
            UnrequireSchema("nightly*"),
            LogState(requirements={"nightly*": "build@1"}),
            ["no longer required a metadata schema for packages named 'nightly*'"],
        ),
        (SetTag("best", package_id_of(1)), finalized(), [f"set tag 'best' to {package_id_of(1)}"]),
        (SetTag("best", package_id_of(1), True), finalized(), [f"set tag 'best' to {package_id_of(1)}, protected"]),
        (
            AnnotatePackage(package_id_of(1), {"score": 4, "by": "é", "hosts": ["a", {"b": True}]}),
            finalized(),
            ['annotated by=é, hosts:=["a", {"b": true}], score:=4'],
        ),
        (
            AnnotatePackage(package_id_of(1), {"a": "x" * 300}, ("score",)),
            evolved(finalized(), AnnotatePackage(package_id_of(1), {"score": 4})),
            [f"annotated a={'x' * 198}…; removed annotation 'score'"],
        ),
        (
            SetKeepPolicy("nightly-*", KeepRules(last=3, within_us=86_400_000_000, tagged=("release-*",))),
            LogState(),
            ["set keep policy of 'nightly-*': last 3, within 1d, tagged release-*"],
        ),
        (AddRetentionClass("release", 9), LogState(), ["added retention class 'release'"]),
        (
            DeleteKeepPolicy("nightly"),
            evolved(LogState(), SetKeepPolicy("nightly", KeepRules(last=1))),
            ["deleted keep policy of 'nightly'"],
        ),
        (
            CreateToken("ci", ("read", "write"), ("a-*", "b"), 9, b"1" * 32, package_id_of(1)),
            LogState(),
            ["created token 'ci': read, write for a-*, b"],
        ),
        (
            CreateToken("ci", ("read",), ("a" * 150, "b" * 150), 9, b"1" * 32, package_id_of(1)),
            LogState(),
            [f"created token 'ci': read for {'a' * 150}, {'b' * 48}…"],
        ),
        (
            RevokeToken("ci", "leaked"),
            evolved(LogState(), CreateToken("ci", ("read",), ("*",), 9, b"1" * 32, package_id_of(1))),
            ["revoked token 'ci': leaked"],
        ),
        (DeleteTag("best"), evolved(finalized(), SetTag("best", package_id_of(1))), ["deleted tag 'best'"]),
        (
            found((b"x", "missing"), (b"", "damaged")),
            opened(("a", b"x"), ("b", b"")),
            [f"found {address_of(b'x')} missing in local, and 1 more objects"],
        ),
        (
            found((b"x", "intact")),
            evolved(opened(("a", b"x")), found((b"x", "missing"))),
            [f"found {address_of(b'x')} intact in local"],
        ),
    ],
    ids=[
        "created",
        "added",
        "replaced",
        "link",
        "directory",
        "many",
        "registered",
        "required",
        "no longer required",
        "tag",
        "protected",
        "annotate",
        "annotate and remove",
        "keep policy",
        "retention class",
        "no keep policy",
        "token",
        "token for long globs",
        "token revoked",
        "untag",
        "flagged",
        "restored",
    ],
)
def test_every_type_of_event_has_its_words(command: Command, state: LogState, details: list[str]) -> None:
    assert lines(command, state) == details


def test_a_line_says_who_did_it_when_and_to_what() -> None:
    [stored] = stored_events(decide(created(), LogState(), entries_max=9), after=6)
    entry = history_entry(stored)
    assert (entry.sequence, entry.recorded_at_us, entry.principal) == (7, 1_000_007, "ci")
    assert (entry.type, entry.subject) == ("v1.package.created", FIRST)


def test_a_finalized_package_is_named_by_its_manifest_digest() -> None:
    payload = PackageFinalized(b"canonical bytes")
    [stored] = stored_events([payload])
    assert history_entry(stored).type == type_of(payload).name
    assert history_entry(stored).detail.startswith("finalized, manifest blake3:")


def test_an_event_of_a_newer_release_is_not_guessed_at() -> None:
    [stored] = stored_events(decide(created(), LogState(), entries_max=9))
    with pytest.raises(UnknownEventType):
        history_entry(replace(stored, event=replace(stored.event, type="v9.package.sold")))
