"""Bit rot and lost objects: found, named, repaired by the same content, and told by the history."""

from pathlib import Path

import pytest

from integration.cli.harness import Cli, Facts, make_tree
from stored_objects import Row, overwrite

SAID = b'{"ok": true}\n'


@pytest.fixture
def files(cli: Cli, tree: Path) -> Facts:
    """The files of an ingested package, by path."""
    cli.ok("ingest", tree)
    return {file["path"]: file for file in cli.json("package", "show", "tree")["file_list"]}


def flip_a_bit(stored: Path | Row) -> None:
    content = stored.read_bytes()
    overwrite(stored, content[:-1] + bytes([content[-1] ^ 1]))


def test_a_sound_store_is_said_to_be_sound(cli: Cli, files: Facts) -> None:
    report = cli.json("verify")
    assert report == {
        "objects": 4,
        "bytes": 38,
        "mismatches": [],
        "missing": [],
        "manifests": 1,
        "manifest_mismatches": [],
        "row_flaws": [],
        "not_recorded": None,
        "unreadable": [],
        "unconfirmed": 0,
        "affected": [],
        "affected_packages": 0,
        "seed": None,
    }
    assert cli.ok("verify").text == "read 4 objects, 38 B, and 1 manifest\nall sound\n"


@pytest.mark.slow
def test_a_flipped_bit_and_a_deleted_object_are_found_repaired_and_told(cli: Cli, tree: Path, files: Facts) -> None:
    flipped, deleted = files["data/report.json"]["content_address"], files["bin/run.sh"]["content_address"]
    flip_a_bit(cli.object_of(flipped))
    cli.object_of(deleted).unlink()
    package = files["bin/run.sh"]["package_id"]
    reports = [f"{package}/data/copy of report.json", f"{package}/data/report.json"]

    found = cli.run("verify", "--json")
    assert (found.code, found.err) == (3, "")
    damaged = {"content_address": flipped, "bytes": 13, "files": reports, "file_count": 2}
    assert found.json["mismatches"] == [damaged]
    lost = {"content_address": deleted, "bytes": 17, "files": [f"{package}/bin/run.sh"], "file_count": 1}
    assert found.json["missing"] == [lost]
    assert found.json["affected"] == [{"package_id": package, "name": "tree", "files": 3}]
    shown = cli.run("verify", "tree")
    assert (shown.code, shown.text.splitlines()) == (
        3,
        [
            "read 4 objects, 38 B, and 1 manifest",
            f"damaged {flipped}, 13 bytes, in {reports[0]}, {reports[1]}",
            f"missing {deleted}, 17 bytes, in {package}/bin/run.sh",
            "this affects 3 files in 1 package:",
            f"  {package}  tree, 3 files",
            "repair them with `artifactstore repair --from SOURCE`, or ingest the same content again",
        ],
    )

    repaired = cli.json("ingest", tree, "--name", "again")
    assert repaired["files"] == 5
    assert cli.json("verify")["objects"] == 4
    assert cli.ok("get", "tree", "data/report.json").out == SAID
    told = [line["detail"] for line in cli.json_lines("history") if line["subject"] == "objects"]
    flagged, stored, retired = told[-3:]
    assert flagged in {
        f"found {flipped} damaged in local-small, and 1 more objects",
        f"found {deleted} missing in local-small, and 1 more objects",
    }
    assert stored == "stored 2 objects, 30 bytes"
    keys = [
        f"{algorithm}/{digest[:2]}/{digest[2:4]}/{digest}"
        for algorithm, digest in (flipped.split(":"), deleted.split(":"))
    ]
    assert retired in {f"retired {key} in local-small and 1 more objects, superseded" for key in keys}
    assert cli.json("replay", "--check")["identical"] is True


@pytest.mark.slow
def test_what_was_found_is_told_by_doctor_and_health_until_it_is_repaired(cli: Cli, tree: Path, files: Facts) -> None:
    flip_a_bit(cli.object_of(files["data/report.json"]["content_address"]))
    cli.object_of(files["bin/run.sh"]["content_address"]).unlink()
    assert cli.run("verify").code == 3

    health = cli.run("health", "--json")
    objects = health.json["components"]["objects"]
    assert (health.code, health.json["status"], objects["healthy"]) == (1, "unhealthy", False)
    assert (objects["details"]["damaged"], objects["details"]["missing"]) == (1, 1)
    assert {"last_verification_age_s", "oldest_unverified_age_s"} <= objects["details"].keys()
    doctor = cli.run("doctor")
    assert doctor.code != 0
    assert "1 damaged and 1 missing" in doctor.text

    cli.ok("ingest", tree, "--name", "again")
    details = cli.json("health")["components"]["objects"]["details"]
    assert (details["damaged"], details["missing"]) == (0, 0)
    assert cli.run("doctor").code == 0


@pytest.mark.parametrize("count", [1, 12])
def test_a_root_without_the_stores_objects_is_refused_and_nothing_is_recorded(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    cli.ok("ingest", make_tree(tmp_path / "many", {f"file {n}": f"content {n}".encode() for n in range(count)}))
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    before = cli.json_lines("events")
    for command in (["verify"], ["verify", "many"]):
        assert f"{count} of {count} objects are missing: this is probably not" in cli.refused(*command)
    assert cli.json_lines("events") == before


def test_a_package_that_lost_its_objects_in_the_right_root_is_recorded(cli: Cli, tmp_path: Path, files: Facts) -> None:
    cli.ok("ingest", make_tree(tmp_path / "lost", {"a": b"all that it has"}))
    lost = cli.json("package", "show", "lost")["file_list"][0]["content_address"]
    cli.object_of(lost).unlink()
    assert [flaw["content_address"] for flaw in cli.run("verify", "lost", "--json").json["missing"]] == [lost]


@pytest.mark.slow
def test_what_was_found_is_recorded_once(cli: Cli, files: Facts) -> None:
    cli.object_of(files["bin/run.sh"]["content_address"]).unlink()
    for _ in range(3):
        assert cli.run("verify").code == 3
    recorded = [event["type"] for event in cli.json_lines("events")]
    assert (recorded.count("v1.objects.flagged"), recorded.count("v1.store.verified")) == (1, 3)


@pytest.mark.slow
def test_only_the_packages_own_objects_are_read_when_it_is_named(cli: Cli, files: Facts, tmp_path: Path) -> None:
    make_tree(tmp_path / "other", {"a": b"something else"})
    cli.ok("ingest", "other")
    cli.object_of(files["bin/run.sh"]["content_address"]).unlink()
    assert cli.json("verify", "other")["objects"] == 1
    assert cli.run("verify", "tree").code == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["truncated", "lengthened", "emptied"])
def test_another_size_is_found(cli: Cli, files: Facts, kind: str) -> None:
    stored = cli.object_of(files["README.md"]["content_address"])
    content = stored.read_bytes()
    overwrite(stored, {"truncated": content[:-1], "lengthened": content + b"x", "emptied": b""}[kind])
    found = cli.run("verify", "--json")
    assert found.code == 3
    package = files["README.md"]["package_id"]
    assert [flaw["files"] for flaw in found.json["mismatches"]] == [[f"{package}/README.md"]]


def test_damaged_content_is_never_handed_out(cli: Cli, files: Facts, tmp_path: Path) -> None:
    flip_a_bit(cli.object_of(files["README.md"]["content_address"]))
    for command in (
        ("get", "tree", "README.md"),
        ("get", "tree", "README.md", "-o", "copy"),
        ("export", "tree", "out"),
    ):
        assert "is damaged: its bytes have another digest; run verify" in cli.refused(*command)
    assert not (tmp_path / "copy").exists()
    assert "README.md" not in {path.name for path in (tmp_path / "out").rglob("*")}
    assert list((tmp_path).glob("**/.*partial")) == []


def test_missing_content_is_refused(cli: Cli, files: Facts) -> None:
    cli.object_of(files["README.md"]["content_address"]).unlink()
    assert "has no object" in cli.refused("get", "tree", "README.md")


@pytest.mark.slow
def test_a_manifest_that_the_tables_contradict_is_found(cli: Cli, files: Facts) -> None:
    with cli.tables() as connection:
        connection.execute("UPDATE artifact_files SET executable = 1 - executable")
    found = cli.run("verify", "--json")
    package = cli.json("package", "show", "tree")["package_id"]
    assert (found.code, found.json["manifest_mismatches"]) == (3, [package])
    shown = cli.run("verify").text.splitlines()
    assert shown[1:] == [f"manifest of {package} differs from the tables; `artifactstore replay` repairs them"]
    cli.ok("replay")
    assert cli.json("verify")["manifest_mismatches"] == []
