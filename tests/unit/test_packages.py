"""The rules of packages by name: creating, sealing, schemas and flags, and what deciding needs to know."""

import pytest

from artifactstore_protocols.commands import Command, FlagObjects, RegisterMetadataSchema
from artifactstore_protocols.packages import (
    Draft,
    Facts,
    Needs,
    PackageChanged,
    PackageExists,
    PackageNotFound,
    PackageState,
    decide,
    needs,
)
from artifactstore_protocols.payloads import MetadataSchemaRegistered, ObjectFlagged, PackageCreated, PackageFinalized
from artifactstore_protocols.retention import RETENTION_CLASSES, UnknownRetentionClass
from command_strategies import (
    BACKEND_ID,
    Ids,
    address_of,
    created,
    finalize,
    finalized,
    flag,
    ingest,
    ingested,
    opened,
    package_id_of,
)

FIRST, SECOND = package_id_of(1), package_id_of(2)
NFC, NFD = "é", "e\u0301"
MANY = 1000


@pytest.mark.parametrize("name", RETENTION_CLASSES)
def test_a_package_is_created_with_the_duration_of_its_class(name: str) -> None:
    facts = Facts()
    command = created(retention_class=name, metadata={"branch": "main"})
    (draft,) = decide(command, facts, files_per_package_max=MANY)
    payload = PackageCreated(FIRST, "nightly", name, RETENTION_CLASSES[name].duration_us, {"branch": "main"})
    assert draft == Draft(command.event_id, FIRST, payload)
    assert facts == Facts(packages={FIRST: PackageState(FIRST, False, 1, 0, 0)})


def test_what_is_created_does_not_change_with_the_caller_s_mapping() -> None:
    metadata = {"branch": "main"}
    (draft,) = decide(created(metadata=metadata), Facts(), files_per_package_max=MANY)
    metadata["branch"] = "other"
    assert isinstance(draft.payload, PackageCreated)
    assert draft.payload.metadata == {"branch": "main"}


def test_a_package_id_is_taken_once() -> None:
    facts = opened()
    with pytest.raises(PackageExists, match=f"package {FIRST} exists already") as refused:
        decide(created(), facts, files_per_package_max=MANY)
    assert refused.value.package_id == FIRST
    decide(created(2), facts, files_per_package_max=MANY)
    assert list(facts.packages) == [FIRST, SECOND]


def test_a_finalised_package_s_id_is_taken_too() -> None:
    with pytest.raises(PackageExists):
        decide(created(), finalized(), files_per_package_max=MANY)


def test_an_unknown_retention_class_is_refused() -> None:
    with pytest.raises(UnknownRetentionClass) as refused:
        decide(created(retention_class="forever"), Facts(), files_per_package_max=MANY)
    assert refused.value.name == "forever"


def test_a_package_is_sealed_at_the_version_that_its_manifest_was_built_for() -> None:
    facts = opened(("a", b"x"))
    command = finalize(2)
    assert decide(command, facts, files_per_package_max=MANY) == (
        Draft(command.event_id, FIRST, PackageFinalized(b"manifest")),
    )
    assert facts.packages[FIRST] == PackageState(FIRST, True, 2, 1, 1)


def test_a_package_without_files_can_be_sealed() -> None:
    assert len(decide(finalize(1), opened(), files_per_package_max=MANY)) == 1


@pytest.mark.parametrize("version", [0, 1, 3])
def test_a_manifest_of_another_version_is_refused(version: int) -> None:
    with pytest.raises(PackageChanged, match=rf"\(version {version} became 2\); finalise it again") as refused:
        decide(finalize(version), opened(("a", b"x")), files_per_package_max=MANY)
    found = refused.value
    assert (found.package_id, found.expected_version, found.version) == (FIRST, version, 2)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_finalising_again_finds_it_done(version: int) -> None:
    facts = finalized()
    assert decide(finalize(version), facts, files_per_package_max=MANY) == ()
    assert facts == finalized()


def test_a_package_that_is_not_there_is_not_finalised() -> None:
    with pytest.raises(PackageNotFound):
        decide(finalize(1, package=2), opened(), files_per_package_max=MANY)


def test_each_registration_of_a_schema_is_its_next_version() -> None:
    facts = Facts(schema_versions={"other": 7})
    for version in (1, 2, 3):
        command = RegisterMetadataSchema(Ids()(), "build", "{}")
        (draft,) = decide(command, facts, files_per_package_max=MANY)
        assert draft == Draft(command.event_id, "build", MetadataSchemaRegistered("build", version, "{}"))
    assert facts == Facts(schema_versions={"other": 7, "build": 3})


def test_flags_are_recorded_one_by_one_and_change_no_fact() -> None:
    ids = Ids()
    flags = (flag(b"x", "damaged", ids=ids), flag(b"", "missing", ids=ids))
    facts = Facts()
    drafts = decide(FlagObjects(flags), facts, files_per_package_max=MANY)
    assert drafts == tuple(
        Draft(found.event_id, str(address_of(content)), ObjectFlagged(str(address_of(content)), BACKEND_ID, integrity))
        for found, content, integrity in zip(flags, (b"x", b""), ("damaged", "missing"), strict=True)
    )
    assert facts == Facts()
    assert decide(FlagObjects(()), facts, files_per_package_max=MANY) == ()


def test_needs_name_the_package_its_paths_and_the_directories_above_them() -> None:
    command = ingest(ingested(f"{NFD}/b/c"), ingested("d"))
    assert needs(command) == Needs(
        packages=frozenset({FIRST}),
        files=frozenset({(FIRST, f"{NFC}/b/c"), (FIRST, "d")}),
        above=frozenset({(FIRST, NFC), (FIRST, f"{NFC}/b")}),
    )
    assert needs(created()) == needs(finalize(1)) == Needs(packages=frozenset({FIRST}))
    assert needs(RegisterMetadataSchema(Ids()(), "build", "{}")) == Needs(schemas=frozenset({"build"}))
    assert needs(FlagObjects((flag(b"x"),))) == Needs()


def test_needs_of_a_batch_are_those_of_all_its_commands() -> None:
    commands: list[Command] = [created(2), ingest(ingested("a/b")), RegisterMetadataSchema(Ids()(), "build", "{}")]
    together = Needs()
    for command in commands:
        together |= needs(command)
    assert together == Needs(
        frozenset({FIRST, SECOND}),
        frozenset({(FIRST, "a/b")}),
        frozenset({(FIRST, "a")}),
        frozenset({"build"}),
    )
