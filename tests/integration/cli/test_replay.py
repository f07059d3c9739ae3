"""The log has no gap, and every table is what the log implies: checked, damaged by hand, and built again."""

from pathlib import Path

import pytest

from artifactstore_protocols.views import VIEWS
from integration.cli.harness import Cli, Facts, sequences

REPLAY_KEYS = ["events", "sequence", "projection_digest", "identical", "repaired_rows"]


@pytest.fixture
def filled(cli: Cli, tree: Path) -> Cli:
    """A store with something in every table but the one for schemas, which no command writes."""
    cli.ok("ingest", tree, "--meta", "a=b")
    cli.ok("ingest", tree, "--name", "second", "--retention", "permanent")
    cli.ok("package", "create", "open")
    cli.ok("package", "add", "open", tree)
    (tree / "README.md").write_bytes(b"other\n")
    cli.ok("package", "add", "open", tree / "README.md", "--replace")
    return cli


@pytest.mark.slow
def test_events_are_numbered_from_1_without_a_gap(filled: Cli) -> None:
    lines = filled.json_lines("events")
    assert sequences(lines) == list(range(1, len(lines) + 1))
    assert {tuple(line) for line in lines} == {
        ("sequence", "event_id", "type", "subject", "principal", "recorded_at", "payload")
    }
    assert len({line["event_id"] for line in lines}) == len(lines)
    assert [line["type"] for line in lines][:3] == ["v1.log.created", "v1.package.created", "v1.objects.stored"]
    assert {line["type"] for line in lines} == {
        "v1.log.created",
        "v1.package.created",
        "v1.objects.stored",
        "v1.files.ingested",
        "v1.package.finalized",
    }


@pytest.mark.slow
def test_events_since_a_sequence_are_the_ones_after_it(filled: Cli) -> None:
    lines = filled.json_lines("events")
    assert filled.json_lines("events", "--since", "5") == lines[5:]
    assert filled.json_lines("events", "--since", str(len(lines))) == []
    assert filled.json_lines("events", "--since", "1000000000000") == []


@pytest.mark.slow
def test_events_are_shown_to_a_person_a_line_each(filled: Cli) -> None:
    lines = filled.json_lines("events")
    shown = filled.ok("events").text.splitlines()
    assert [line.split() for line in shown] == [
        [str(line["sequence"]), f"{line['recorded_at'][:19]}Z", line["type"], line["subject"]] for line in lines
    ]


@pytest.mark.slow
def test_replay_finds_the_tables_as_the_log_implies_them(filled: Cli) -> None:
    checked = filled.json("replay", "--check")
    assert list(checked) == REPLAY_KEYS
    assert checked["events"] == checked["sequence"] == len(filled.json_lines("events"))
    assert (checked["identical"], checked["repaired_rows"]) == (True, 0)
    assert filled.json("replay") == checked
    assert filled.json("replay", "--check") == checked


@pytest.mark.slow
def test_another_process_finds_the_same_projection_digest(filled: Cli) -> None:
    assert filled.process("replay", "--check", "--json").json == filled.json("replay", "--check")


@pytest.mark.slow
def test_a_check_changes_nothing(filled: Cli) -> None:
    with filled.tables() as connection:
        connection.execute("UPDATE artifact_files SET kind = 9")
    before = filled.state()
    assert filled.run("replay", "--check").code == 3
    assert filled.state() == before


def test_replay_of_an_empty_log(cli: Cli) -> None:
    cli.create()
    checked = cli.json("replay", "--check")
    assert (checked["events"], checked["identical"]) == (0, True)
    assert cli.json("replay") == checked


DAMAGE = {
    "packages deleted": "DELETE FROM artifact_packages",
    "packages changed": "UPDATE artifact_packages SET name = 'forged', total_bytes = total_bytes + 1",
    "a package added": (
        "INSERT INTO artifact_packages SELECT 'forged', name, status, version, file_count, link_count, "
        "directory_count, total_bytes, stored_bytes, retention_class, metadata, created_by, created_at, finalized_at, "
        "manifest_digest, tree_digest, created_sequence, finalized_sequence, metadata_schema, "
        "gone_at, gone_by, gone_reason, gone_sequence "
        "FROM artifact_packages LIMIT 1"
    ),
    "contents deleted": "DELETE FROM contents",
    "contents changed": "UPDATE contents SET size_bytes = size_bytes + 1",
    "a content added": (
        "INSERT INTO contents SELECT zeroblob(32), digest_algorithm, digest_sha256, size_bytes, reference_count, "
        "sequence FROM contents LIMIT 1"
    ),
    "files deleted": "DELETE FROM artifact_files WHERE path_key LIKE 'data/%'",
    "files changed": "UPDATE artifact_files SET executable = 1 - executable",
    "a file added": (
        "INSERT INTO artifact_files SELECT package_number, 'forged', 'forged', kind, executable, media_type, "
        "digest_primary, link_target, sequence FROM artifact_files LIMIT 1"
    ),
    "locations deleted": "DELETE FROM storage_locations",
    "locations changed": "UPDATE storage_locations SET integrity = 'damaged'",
    "a location added": (
        "INSERT INTO storage_locations SELECT digest_primary, 'elsewhere', object_key, retrieval_tier, "
        "restore_status, state, integrity, stored_at, changed_at, rule, sequence, verified_sequence "
        "FROM storage_locations LIMIT 1"
    ),
    "retention deleted": "DELETE FROM retention_state",
    "retention changed": "UPDATE retention_state SET expires_at = 0",
    "a retention added": (
        "INSERT INTO retention_state SELECT 'forged', retention_class, duration_us, status, retained_from, expires_at, "
        "sequence FROM retention_state LIMIT 1"
    ),
    "a requirement added": "INSERT INTO schema_requirements VALUES ('*', 'forged@1', 'forger', 0, 1)",
    "a schema added": "INSERT INTO metadata_schemas VALUES ('forged', 1, x'7b7d', 0, 1)",
}


def rows_of_views(cli: Cli) -> Facts:
    rows = cli.state().rows
    return {view.name: rows[view.name] for view in VIEWS}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_table_that_was_damaged_by_hand_is_found_and_repaired(filled: Cli, damage: str) -> None:
    sound, rows = filled.json("replay", "--check"), rows_of_views(filled)
    with filled.tables() as connection:
        connection.execute(damage)
    assert rows_of_views(filled) != rows

    found = filled.run("replay", "--check", "--json")
    assert (found.code, found.err) == (3, "")
    assert (found.json["identical"], found.json["projection_digest"]) == (False, sound["projection_digest"])
    repaired = filled.json("replay")
    assert repaired["identical"] is True
    assert repaired["projection_digest"] == sound["projection_digest"]
    assert repaired["repaired_rows"] > 0
    assert rows_of_views(filled) == rows
    assert filled.json("replay", "--check") == sound


@pytest.mark.slow
def test_all_tables_damaged_at_once_are_rebuilt(filled: Cli) -> None:
    sound, rows = filled.json("replay", "--check"), rows_of_views(filled)
    with filled.tables() as connection:
        for damage in DAMAGE.values():
            connection.execute(damage)
    shown = filled.run("replay", "--check")
    assert (shown.code, shown.text.splitlines()[-1].partition(":")[0]) == (3, "different")
    assert "repaired 34 rows" in filled.ok("replay").text
    assert rows_of_views(filled) == rows
    assert filled.process("replay", "--check", "--json").json == sound


@pytest.mark.slow
def test_a_log_with_a_hole_is_not_replayed_over(filled: Cli) -> None:
    with filled.tables() as connection:
        connection.execute("DELETE FROM events WHERE sequence = 3")
    before = filled.state()
    for command in (("replay",), ("replay", "--check")):
        assert "3" in filled.refused(*command)
    assert filled.state() == before


@pytest.mark.slow
def test_an_event_of_a_later_release_stops_a_replay_and_is_named(filled: Cli) -> None:
    with filled.tables() as connection:
        connection.execute("UPDATE events SET type = 'v9.package.teleported' WHERE sequence = 3")
    assert "v9.package.teleported" in filled.ok("events").text  # its name can be shown, but not what it says
    for command in (("replay",), ("replay", "--check"), ("events", "--json"), ("history",)):
        ran = filled.run(*command)
        assert ran.code == 1
        assert ran.err.startswith("artifactstore: ")
        assert "v9.package.teleported" in ran.err
        assert ran.err.count("\n") == 1
