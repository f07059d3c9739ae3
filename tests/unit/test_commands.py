"""Commands that break a rule cannot be made, and two commands have one digest exactly if they ask for the same."""

from collections.abc import Callable

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import reference_cbor
from artifactstore_protocols import canonical, manifest
from artifactstore_protocols.commands import (
    AnnotatePackage,
    Command,
    CommandRequest,
    DeleteKeepPolicy,
    DeleteTag,
    FinalizePackage,
    IngestFiles,
    ObjectFinding,
    OnExisting,
    RegisterMetadataSchema,
    RequireSchema,
    SetKeepPolicy,
    SetTag,
    UnrequireSchema,
    command_digest,
    entries_bytes,
)
from artifactstore_protocols.entries import (
    Entry,
    Place,
    StoredObject,
    directory_entry,
    encode_entry,
    file_entry,
    link_entry,
)
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.keep_rules import KeepRules
from artifactstore_protocols.life_cycle import AddRetentionClass
from artifactstore_protocols.manifest import MANIFEST_BYTES_MAX
from artifactstore_protocols.messages import Commit
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.storage import KeyRefused
from artifactstore_protocols.token_records import CreateToken, RevokeToken
from command_strategies import (
    Ingested,
    Step,
    created,
    found,
    ingest,
    ingested,
    package_id_of,
    place_of,
    steps,
    stored_object,
)
from manifest_samples import sample_manifest
from memory_log import MemoryLog
from strategies import paths

ID, OTHER_ID = package_id_of(1), package_id_of(2)
FILE = ingested("a/b", b"x")
CREATE = created(metadata={"branch": "main"})
INGEST = ingest(FILE, ingested("c", b"yy", executable=True))
FINALIZE = FinalizePackage(ID, 3, b"manifest")
REGISTER = RegisterMetadataSchema("build", '{"type":"object"}')
FINDINGS = found((b"x", "damaged"), (b"yy", "missing"), as_of=7)
X, YY = stored_object(b"x"), stored_object(b"yy")
REQUEST = CommandRequest(ID, CREATE, "ci", None)
TOKEN = CreateToken("ci", ("read", "write"), ("a-*", "b"), 9, b"1" * 32, ID)

type Make = Callable[[str], object]

BAD_NAMES = ["", "x" * 201, " a", "a ", "a\nb", "a\x00", "\u200b", "\u202egpj", "a\u00a0b", "\udcff", "\t"]
NAMED: dict[str, Make] = {
    "package name": lambda text: replace(CREATE, name=text),
    "metadata key": lambda text: replace(CREATE, metadata={"branch": "main", text: ""}),
    "tag": lambda text: SetTag(text, ID),
    "group": lambda text: SetKeepPolicy(text, KeepRules(last=1)),
    "package name glob": lambda text: (UnrequireSchema(text), RequireSchema(text, "build")),
    "annotation key": lambda text: AnnotatePackage(ID, {"a": 1}, (text,)) if text != "a" else None,
    "metadata schema name": lambda text: replace(REGISTER, name=text),
    "principal": lambda text: replace(REQUEST, principal=text),
    "idempotency key": lambda text: replace(REQUEST, idempotency_key=text),
}
IDENTIFIED: dict[str, tuple[str, Make]] = {
    "token": ("store id", lambda text: replace(TOKEN, store_id=text)),
    "create": ("package id", lambda text: replace(CREATE, package_id=text)),
    "ingest": ("package id", lambda text: replace(INGEST, package_id=text)),
    "tag": ("package id", lambda text: SetTag("release", text)),
    "annotate": ("package id", lambda text: AnnotatePackage(text, {"a": 1})),
    "finalize": ("package id", lambda text: replace(FINALIZE, package_id=text)),
    "request": ("command id", lambda text: replace(REQUEST, command_id=text)),
}


@pytest.mark.parametrize("text", BAD_NAMES)
@pytest.mark.parametrize(("what", "make"), NAMED.items(), ids=NAMED)
def test_a_name_is_1_to_200_printable_characters(what: str, make: Make, text: str) -> None:
    with pytest.raises(InvalidValue, match=f"^invalid {what} ") as refused:
        make(text)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("text", ["a", "x" * 200, "é" * 200, "nightly build #7", "日本語", "😀"])
@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED)
def test_other_text_is_a_name(make: Make, text: str) -> None:
    make(text)


@pytest.mark.parametrize("text", ["", "1", ID.replace("-", ""), f"{ID}\n", "\udcff"])
@pytest.mark.parametrize(("what", "make"), IDENTIFIED.values(), ids=IDENTIFIED)
def test_an_id_is_a_canonical_uuid(what: str, make: Make, text: str) -> None:
    with pytest.raises(InvalidValue, match=f"^invalid {what} "):
        make(text)


@pytest.mark.parametrize("character", "@:{}")
@pytest.mark.parametrize("make", [NAMED["package name"], NAMED["tag"], DeleteTag, NAMED["group"], DeleteKeepPolicy])
def test_a_name_that_is_looked_for_has_no_character_that_selects(make: Make, character: str) -> None:
    with pytest.raises(InvalidValue, match=r"leave out @ : \{ \}"):
        make(f"nightly{character}1")


@pytest.mark.parametrize("end", ["~", "~1", "~~", "~1~012"])
@pytest.mark.parametrize("make", [NAMED["package name"], NAMED["tag"], DeleteTag])
def test_a_name_does_not_end_like_a_reference_to_the_package_before(make: Make, end: str) -> None:
    with pytest.raises(InvalidValue, match="a final ~ or ~n"):
        make(f"nightly{end}")
    make(f"nightly{end}x")


def test_metadata_is_bounded() -> None:
    full = {f"key {number}": "x" * 200 for number in range(256)}
    assert replace(CREATE, metadata=full).metadata == full
    with pytest.raises(InvalidValue, match="257 entries"):
        replace(CREATE, metadata={**full, "one more": ""})
    with pytest.raises(InvalidValue, match=r"metadata value .* at most 4096"):
        replace(CREATE, metadata={"key": "x" * 4097})


def test_metadata_values_are_any_text_that_utf_8_can_hold() -> None:
    assert replace(CREATE, metadata={"log": "two\nlines\x00"}).metadata == {"log": "two\nlines\x00"}
    with pytest.raises(InvalidValue, match="metadata value") as refused:
        replace(CREATE, metadata={"log": "a\udcff"})
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "stored",
    [
        X._replace(digest=X.digest[1:]),
        X._replace(sha256=b""),
        X._replace(sha256=X.sha256.hex()),  # type: ignore[arg-type] # what a caller may do wrong
        X._replace(size_bytes=-1),
        X._replace(size_bytes=True),
        X._replace(place=Place("", "k")),
        X._replace(place=Place("x" * 201, "k")),
        X._replace(place=Place("local\n", "k")),
        X._replace(place=Place("local", "../k")),
        X._replace(retrieval_tier="cold"),  # type: ignore[arg-type]
        X._replace(restore_status="never"),  # type: ignore[arg-type]
    ],
)
def test_a_proof_that_no_backend_gives_is_refused(stored: StoredObject) -> None:
    with pytest.raises((InvalidValue, KeyRefused)):
        replace(INGEST, stored=(stored,))


def test_entries_are_tuples_and_the_choice_is_one_of_three() -> None:
    for wrong in ({"entries": list(INGEST.entries)}, {"stored": list(INGEST.stored)}, {"on_existing": "replace"}):
        with pytest.raises(InvalidValue):
            replace(INGEST, **wrong)


def test_no_more_objects_come_with_a_command_than_an_event_may_name() -> None:
    assert len(replace(INGEST, stored=(X,) * 256).stored) == 256
    with pytest.raises(InvalidValue, match="257 objects"):
        replace(INGEST, stored=(X,) * 257)


@given(
    entry=st.one_of(
        st.builds(
            file_entry, paths(), st.booleans(), st.just("text/plain"), st.integers(0, 1 << 62), st.just(bytes(32))
        ),
        st.builds(link_entry, paths(), st.text(min_size=1, max_size=20)),
        paths().map(directory_entry),
    )
)
def test_an_entry_takes_no_more_room_than_it_counts_for(entry: Entry) -> None:
    encoded = canonical.encode_record([encode_entry(entry), [255, path_key(entry.path)], 255])
    assert len(encoded) <= entries_bytes([entry])


def test_a_manifest_is_no_larger_than_one_that_is_read() -> None:
    largest = replace(FINALIZE, manifest=bytes(MANIFEST_BYTES_MAX))
    with pytest.raises(InvalidValue, match="spread the files over several packages"):
        replace(FINALIZE, manifest=largest.manifest + b"\x00")


def test_a_summary_is_of_the_manifest_that_is_finalized() -> None:
    finalized = sample_manifest()
    payload = manifest.encode(finalized)
    summary = manifest.summarize(payload, finalized)
    command = FinalizePackage(summary.package_id, 3, payload, summary)
    assert command.summary == manifest.summarize(payload)
    with pytest.raises(InvalidValue, match="invalid manifest summary"):
        replace(command, package_id=OTHER_ID)
    with pytest.raises(InvalidValue, match="invalid manifest summary"):
        replace(command, manifest=payload + b"\x00")


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "{",
        '{"type": "object"}',
        '{"b":1,"a":1}',
        '{"multipleOf":0.5}',
        '"\udcff"',
        '"' + "x" * (1 << 20) + '"',
    ],
    ids=["empty", "cut short", "spaces", "order", "float", "surrogate", "too long"],
)
def test_a_metadata_schema_is_canonical_json_of_bounded_size(schema: str) -> None:
    with pytest.raises(InvalidValue, match="invalid metadata schema") as refused:
        replace(REGISTER, schema=schema)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("integrity", ["intact", "damaged", "missing"])
def test_an_object_is_found_intact_damaged_or_missing(integrity: str) -> None:
    [finding] = found((b"x", integrity)).findings
    assert finding == ObjectFinding(X.digest, X.place, integrity)


FINDING = FINDINGS.findings[0]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ((), "1 to 256"),
        ([FINDING], "1 to 256"),
        (tuple(FINDING._replace(place=Place("local", f"k{number}")) for number in range(257)), "1 to 256"),
        ((FINDING._replace(integrity="lost"),), "use one of intact, damaged, missing"),
        ((FINDING._replace(digest=b"x"),), "32 bytes"),
        ((FINDING._replace(place=Place("", "k")),), "backend id"),
        ((FINDING, FINDING._replace(integrity="missing")), "stands there twice"),
    ],
    ids=["none", "list", "many", "integrity", "digest", "place", "twice"],
)
def test_findings_are_few_and_of_different_objects(wrong: tuple[ObjectFinding, ...], reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        replace(FINDINGS, findings=wrong)


@pytest.mark.parametrize("as_of", [-1, True, "1", None])
def test_findings_are_as_of_a_sequence(as_of: int) -> None:
    with pytest.raises(InvalidValue, match="as_of"):
        replace(FINDINGS, as_of=as_of)


# What digests cover, written out in full, since logs hold them.
FORMS: dict[str, tuple[Command, list[object]]] = {
    "create": (CREATE, ["create", "nightly", "standard", {"branch": "main"}, None, []]),
    "create from others": (
        replace(CREATE, schema="build@2", parents=(OTHER_ID, ID)),
        ["create", "nightly", "standard", {"branch": "main"}, "build@2", [ID, OTHER_ID]],
    ),
    "ingest": (
        INGEST,
        [
            "ingest",
            ID,
            "refuse",
            [
                ["file", "a/b", False, "text/plain", 1, X.digest],
                ["file", "c", True, "text/plain", 2, YY.digest],
            ],
        ],
    ),
    "links and directories": (
        replace(INGEST, entries=(link_entry("l", "a/b"), directory_entry("d")), on_existing=OnExisting.REPLACE),
        ["ingest", ID, "replace", [["link", "l", "a/b"], ["directory", "d"]]],
    ),
    "finalize": (FINALIZE, ["finalize", ID]),
    "register": (REGISTER, ["schema", "build", '{"type":"object"}']),
    "require a schema": (RequireSchema("nightly*", "build@1"), ["require schema", "nightly*", "build@1"]),
    "no longer require": (UnrequireSchema("nightly*"), ["unrequire schema", "nightly*"]),
    "set a tag": (SetTag("release", ID, protected=True), ["tag", "release", ID, True]),
    "delete a tag": (DeleteTag("release"), ["untag", "release"]),
    "set a keep policy": (
        SetKeepPolicy("nightly-*", KeepRules(last=3, tagged=("release-*",))),
        ["keep", "nightly-*", {"last": 3, "tagged": ["release-*"]}],
    ),
    "add a retention class": (AddRetentionClass("release", 9), ["retention class", "release", 9]),
    "create a token": (
        TOKEN,
        ["token", "ci", ["read", "write"], ["a-*", "b"], 9, b"1" * 32, ID],
    ),
    "revoke a token": (RevokeToken("ci", "leaked"), ["revoke token", "ci", "leaked"]),
    "delete a keep policy": (DeleteKeepPolicy("nightly-*"), ["unkeep", "nightly-*"]),
    "annotate": (AnnotatePackage(ID, {"a": [1]}, ("b",)), ["annotate", ID, {"a": [1]}, ["b"]]),
    "findings": (
        FINDINGS,
        ["findings", [[X.digest, *place_of(b"x"), "damaged"], [YY.digest, *place_of(b"yy"), "missing"]]],
    ),
}


@pytest.mark.parametrize(("command", "form"), FORMS.values(), ids=FORMS)
def test_the_digest_covers_what_is_asked_for_and_by_whom(command: Command, form: list[object]) -> None:
    expected = blake3(reference_cbor.encode(["ci", form])).hexdigest()
    assert command_digest(command, "ci") == f"blake3:{expected}"


def test_what_to_do_with_a_taken_path_is_digested_under_these_names() -> None:
    assert [choice.value for choice in OnExisting] == ["refuse", "resume", "replace"]


REPEATS: dict[str, tuple[Command, Command]] = {
    "create": (CREATE, replace(CREATE, package_id=OTHER_ID)),
    "another generation": (ingest(FILE), ingest(ingested("a/b", b"x", generation=2))),
    "known by then": (INGEST, replace(INGEST, stored=())),
    "stored elsewhere": (ingest(FILE), ingest(Ingested(FILE.entry, X._replace(place=Place("s3", "k"))))),
    "finalize": (FINALIZE, replace(FINALIZE, expected_version=4, manifest=b"later")),
    "findings": (FINDINGS, replace(FINDINGS, as_of=9)),
}


@pytest.mark.parametrize(("first", "again"), REPEATS.values(), ids=REPEATS)
def test_what_a_repeat_finds_changed_by_itself_is_not_digested(first: Command, again: Command) -> None:
    assert first != again
    assert command_digest(first, "ci") == command_digest(again, "ci")


def of(entry: Entry) -> IngestFiles:
    return replace(INGEST, entries=(entry,))


DIFFERENT: list[Command] = [
    *(command for command, _ in FORMS.values()),
    replace(CREATE, name="weekly"),
    replace(CREATE, retention_class="short"),
    replace(CREATE, metadata={}),
    replace(CREATE, schema="build"),
    replace(CREATE, parents=(OTHER_ID,)),
    replace(CREATE, metadata={"branch": "other"}),
    replace(CREATE, metadata={"branch": "main", "more": ""}),
    of(FILE.entry),
    replace(INGEST, entries=INGEST.entries[::-1]),
    replace(INGEST, package_id=OTHER_ID),
    replace(INGEST, on_existing=OnExisting.RESUME),
    replace(INGEST, on_existing=OnExisting.REPLACE),
    of(FILE.entry._replace(path="a/c")),
    of(FILE.entry._replace(executable=True)),
    of(FILE.entry._replace(media_type="text/html")),
    of(FILE.entry._replace(digest=YY.digest)),
    of(FILE.entry._replace(size_bytes=2)),
    of(link_entry("a/b", "c")),
    of(link_entry("a/b", "d")),
    of(directory_entry("a/b")),
    replace(FINALIZE, package_id=OTHER_ID),
    RequireSchema("nightly*", "build"),
    RequireSchema("*", "build"),
    UnrequireSchema("*"),
    SetTag("release", ID),
    SetTag("release", ID, protected=False),
    SetTag("release", OTHER_ID),
    SetTag("best", ID),
    DeleteTag("best"),
    SetKeepPolicy("best", KeepRules(last=1)),
    SetKeepPolicy("best", KeepRules(last=2)),
    SetKeepPolicy("best", KeepRules(daily=1)),
    DeleteKeepPolicy("best"),
    replace(TOKEN, scopes=("read",)),
    replace(TOKEN, packages=("a-*",)),
    replace(TOKEN, expires_at_us=None),
    replace(TOKEN, digest=b"2" * 32),
    replace(TOKEN, store_id=OTHER_ID),
    RevokeToken("ci", "old"),
    AnnotatePackage(ID, {"a": [True]}, ("b",)),
    AnnotatePackage(ID, {"a": [1]}),
    replace(REGISTER, name="model"),
    replace(REGISTER, schema="{}"),
    replace(FINDINGS, findings=(FINDING,)),
    replace(FINDINGS, findings=(FINDING._replace(integrity="missing"),)),
    replace(FINDINGS, findings=(FINDING._replace(integrity="intact"),)),
    replace(FINDINGS, findings=(FINDING._replace(place=Place("s3", FINDING.place.object_key)),)),
    replace(FINDINGS, findings=(FINDING._replace(place=Place("local", "k")),)),
    replace(FINDINGS, findings=(FINDING._replace(digest=YY.digest),)),
]


def test_commands_that_ask_for_different_things_have_different_digests() -> None:
    digests = {command_digest(command, actor) for command in DIFFERENT for actor in ("ci", "someone")}
    assert len(digests) == 2 * len(DIFFERENT)


@pytest.mark.slow
@given(tried=steps())
def test_a_command_s_digest_tells_what_the_step_asks(tried: list[Step]) -> None:
    first, again = MemoryLog(), MemoryLog()
    for step in tried:
        command, repeat = first.command(step), again.command(step)
        assert command_digest(command, "ci") == command_digest(repeat, "ci")
        first.commit(command)
        again.commit(repeat)


@pytest.mark.parametrize(
    ("small", "large", "grown"),
    [
        (INGEST, replace(INGEST, entries=INGEST.entries * 100), 100 * 99),
        (INGEST, replace(INGEST, stored=INGEST.stored * 100), 100 * 99),
        (of(FILE.entry), of(FILE.entry._replace(path="x/" * 100 + "y")), 198),
        (of(link_entry("a", "b")), of(link_entry("a", "b" * 1000)), 999),
        (FINALIZE, replace(FINALIZE, manifest=bytes(1000)), 992),
        (CREATE, replace(CREATE, metadata={"k": "x" * 1000}), 990),
        (REGISTER, replace(REGISTER, schema='{"title":"' + "x" * 1000 + '"}'), 983),
        (replace(FINDINGS, findings=(FINDING,)), FINDINGS, 64),
    ],
)
def test_a_larger_command_counts_for_more(small: Command, large: Command, grown: int) -> None:
    sizes = [Commit(replace(REQUEST, command=command)).size_bytes for command in (small, large)]
    assert 0 < sizes[0] <= sizes[1] - grown
