"""Commands that break a rule cannot be made, and two commands have one digest exactly if they ask for the same."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from blake3 import blake3
from hypothesis import given

import reference_cbor
from artifactstore_protocols import manifest
from artifactstore_protocols.commands import (
    Command,
    CommandRequest,
    FinalizePackage,
    FlagObjects,
    OnExisting,
    RegisterMetadataSchema,
    command_digest,
)
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.manifest import MANIFEST_BYTES_MAX
from artifactstore_protocols.messages import Commit
from artifactstore_protocols.paths import PathRefused
from command_strategies import Step, address_of, created, digests_of, flag, ingest, ingested, package_id_of, steps
from manifest_samples import sample_manifest
from memory_log import MemoryLog

ID, OTHER_ID = package_id_of(1), package_id_of(2)
FILE = ingested("a/b", b"x")
CREATE = created(metadata={"branch": "main"})
INGEST = ingest(FILE, ingested("c", b"yy", executable=True))
FINALIZE = FinalizePackage(ID, ID, 3, b"manifest")
REGISTER = RegisterMetadataSchema(ID, "build", '{"type":"object"}')
FLAG = flag(b"x")
FLAGS = FlagObjects((FLAG, flag(b"yy", "missing")))
REQUEST = CommandRequest(ID, CREATE, "ci", None)

type Make = Callable[[str], object]

BAD_NAMES = ["", "x" * 201, " a", "a ", "a\nb", "a\x00", "\u200b", "\u202egpj", "a\u00a0b", "\udcff", "\t"]
NAMED: dict[str, Make] = {
    "package name": lambda text: replace(CREATE, name=text),
    "metadata key": lambda text: replace(CREATE, metadata={"branch": "main", text: ""}),
    "metadata schema name": lambda text: replace(REGISTER, name=text),
    "actor": lambda text: replace(REQUEST, actor=text),
    "idempotency key": lambda text: replace(REQUEST, idempotency_key=text),
}
IDENTIFIED: dict[str, tuple[str, Make]] = {
    "create": ("event id", lambda text: replace(CREATE, event_id=text)),
    "create package": ("package id", lambda text: replace(CREATE, package_id=text)),
    "file": ("event id", lambda text: replace(FILE, event_id=text)),
    "healed": ("event id", lambda text: replace(FILE, healed_event_id=text)),
    "ingest": ("package id", lambda text: replace(INGEST, package_id=text)),
    "finalise": ("event id", lambda text: replace(FINALIZE, event_id=text)),
    "finalise package": ("package id", lambda text: replace(FINALIZE, package_id=text)),
    "register": ("event id", lambda text: replace(REGISTER, event_id=text)),
    "flag": ("event id", lambda text: replace(FLAG, event_id=text)),
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


def test_metadata_is_bounded() -> None:
    full = {f"key {number}": "x" * 4096 for number in range(256)}
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


def test_a_file_has_a_path_that_packages_may_hold_and_a_media_type() -> None:
    with pytest.raises(PathRefused):
        replace(FILE, path="../a")
    with pytest.raises(InvalidValue, match="media type"):
        replace(FILE, media_type="text")


@pytest.mark.parametrize(
    "make",
    [
        lambda: replace(FILE, size_bytes=2),
        lambda: replace(FILE, digests=digests_of(b"y")),
        lambda: replace(FILE, receipt=ingested("a/b", b"y").receipt),
    ],
    ids=["size", "digests", "receipt"],
)
def test_a_file_s_receipt_is_for_its_content(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidValue, match=r"storage receipt .* bytes of blake3:.*; store that first"):
        make()


def test_a_manifest_is_no_larger_than_one_that_is_read() -> None:
    largest = replace(FINALIZE, manifest=bytes(MANIFEST_BYTES_MAX))
    with pytest.raises(InvalidValue, match="spread the files over several packages"):
        replace(FINALIZE, manifest=largest.manifest + b"\x00")


def test_a_summary_is_of_the_manifest_that_is_sealed() -> None:
    sealed = sample_manifest()
    payload = manifest.encode(sealed)
    summary = manifest.summarize(payload, sealed)
    command = FinalizePackage(ID, summary.package_id, 3, payload, summary)
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


def test_an_object_is_flagged_as_damaged_or_missing() -> None:
    assert flag(b"x", "missing").integrity == "missing"
    with pytest.raises(InvalidValue, match="use one of damaged, missing"):
        flag(b"x", "intact")


# What digests cover, written out in full, since logs hold them.
FORMS: dict[str, tuple[Command, list[object]]] = {
    "create": (CREATE, ["create", "nightly", "standard", {"branch": "main"}]),
    "ingest": (
        INGEST,
        [
            "ingest",
            ID,
            "refuse",
            [
                ["a/b", 1, False, "text/plain", str(address_of(b"x"))],
                ["c", 2, True, "text/plain", str(address_of(b"yy"))],
            ],
        ],
    ),
    "finalise": (FINALIZE, ["finalize", ID]),
    "register": (REGISTER, ["schema", "build", '{"type":"object"}']),
    "flag": (
        FLAGS,
        ["flag", [[str(address_of(b"x")), "local", "damaged"], [str(address_of(b"yy")), "local", "missing"]]],
    ),
}


@pytest.mark.parametrize(("command", "form"), FORMS.values(), ids=FORMS)
def test_the_digest_covers_what_is_asked_for_and_by_whom(command: Command, form: list[object]) -> None:
    expected = blake3(reference_cbor.encode(["ci", form])).hexdigest()
    assert command_digest(command, "ci") == f"blake3:{expected}"


def test_what_to_do_with_a_taken_path_is_digested_under_these_names() -> None:
    assert [choice.value for choice in OnExisting] == ["refuse", "resume", "replace"]


REPEATS: dict[str, tuple[Command, Command]] = {
    "create": (CREATE, replace(CREATE, event_id=OTHER_ID, package_id=OTHER_ID)),
    "ingest": (INGEST, replace(INGEST, files=tuple(replace(file, event_id=OTHER_ID) for file in INGEST.files))),
    "stored or found": (ingest(FILE), ingest(ingested("a/b", b"x", outcome="deduplicated"))),
    "healed": (ingest(FILE), ingest(replace(FILE, healed_event_id=OTHER_ID))),
    "finalise": (FINALIZE, replace(FINALIZE, event_id=OTHER_ID, expected_version=4, manifest=b"later")),
    "register": (REGISTER, replace(REGISTER, event_id=OTHER_ID)),
    "flag": (FLAGS, FlagObjects(tuple(replace(found, event_id=OTHER_ID) for found in FLAGS.objects))),
}


@pytest.mark.parametrize(("first", "again"), REPEATS.values(), ids=REPEATS)
def test_a_repeat_with_new_ids_has_the_same_digest(first: Command, again: Command) -> None:
    assert first != again
    assert command_digest(first, "ci") == command_digest(again, "ci")


DIFFERENT: list[Command] = [
    *(command for command, _ in FORMS.values()),
    replace(CREATE, name="weekly"),
    replace(CREATE, retention_class="short"),
    replace(CREATE, metadata={}),
    replace(CREATE, metadata={"branch": "other"}),
    replace(CREATE, metadata={"branch": "main", "more": ""}),
    ingest(),
    ingest(FILE),
    ingest(*reversed(INGEST.files)),
    replace(INGEST, package_id=OTHER_ID),
    replace(INGEST, on_existing=OnExisting.RESUME),
    replace(INGEST, on_existing=OnExisting.REPLACE),
    ingest(replace(FILE, path="a/c")),
    ingest(replace(FILE, executable=True)),
    ingest(replace(FILE, media_type="text/html")),
    ingest(ingested("a/b", b"y")),
    ingest(ingested("a/b", b"yy")),
    replace(FINALIZE, package_id=OTHER_ID),
    replace(REGISTER, name="model"),
    replace(REGISTER, schema="{}"),
    FlagObjects(()),
    FlagObjects((FLAG,)),
    FlagObjects((replace(FLAG, integrity="missing"),)),
    FlagObjects((replace(FLAG, backend_id="s3"),)),
    FlagObjects((replace(FLAG, content_address=address_of(b"y")),)),
]


def test_commands_that_ask_for_different_things_have_different_digests() -> None:
    digests = {command_digest(command, actor) for command in DIFFERENT for actor in ("ci", "someone")}
    assert len(digests) == 2 * len(DIFFERENT)


@given(tried=steps())
def test_a_command_s_digest_tells_what_the_step_asks(tried: list[Step]) -> None:
    first, again = MemoryLog(), MemoryLog()
    again.command(tried[0])  # takes an id, so that all later ids differ
    for step in tried:
        command, repeat = first.command(step), again.command(step)
        assert command_digest(command, "ci") == command_digest(repeat, "ci")
        first.commit(command)
        again.commit(repeat)


@pytest.mark.parametrize(
    ("small", "large", "grown"),
    [
        (INGEST, replace(INGEST, files=INGEST.files * 100), 100 * 99),
        (ingest(FILE), ingest(replace(FILE, path="x/" * 100 + "y")), 198),
        (FINALIZE, replace(FINALIZE, manifest=bytes(1000)), 992),
        (CREATE, replace(CREATE, metadata={"k": "x" * 1000}), 990),
        (REGISTER, replace(REGISTER, schema='"' + "x" * 1000 + '"'), 983),
        (FLAGS, FlagObjects(FLAGS.objects * 100), 100 * 99),
    ],
)
def test_a_larger_command_counts_for_more(small: Command, large: Command, grown: int) -> None:
    sizes = [Commit(replace(REQUEST, command=command)).size_bytes for command in (small, large)]
    assert 0 < sizes[0] <= sizes[1] - grown
