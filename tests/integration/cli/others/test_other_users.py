"""A store that several users have a part in: a group that shares it, and what one user leaves in another one's way."""

import os
import stat
from pathlib import Path

import pytest

from integration.cli.harness import Cli, make_tree
from integration.cli.others.elsewhere import Elsewhere, needs_root

pytestmark = [needs_root, pytest.mark.slow]

_GROUP = 5000
_OWNER, _OTHER = (4001, _GROUP), (4002, _GROUP)


def modes_below(directory: Path) -> dict[str, int]:
    return {
        str(path.relative_to(directory)): stat.S_IMODE(path.stat().st_mode) for path in sorted(directory.rglob("*"))
    }


@pytest.fixture
def store(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a store that does not exist yet; others may pass."""
    store = cli.database.parent
    store.mkdir()
    for name in ("one", "two", "three"):
        make_tree(tmp_path / name, {f"{number}": f"{name} {number}".encode() for number in range(300)})
    monkeypatch.setenv("HOME", "/")
    return store


def test_a_group_shares_a_store(cli: Cli, store: Path, tmp_path: Path) -> None:
    os.chown(store, 0, _GROUP)
    store.chmod(0o2775)
    for user, name in ((_OWNER, "one"), (_OTHER, "two"), (_OWNER, "three")):
        (tmp_path / name / "large").write_bytes(name.encode() * 30_000)
        ingested, listed, doctor = Elsewhere(user=user, umask=0o002).run(
            ["ingest", tmp_path / name, "--name", name], ["package", "list"], ["doctor"]
        )
        assert (ingested.code, ingested.err) == (0, "")
        assert name in listed.text
        assert (doctor.code, doctor.err) == (0, ""), doctor
    modes = modes_below(store)
    assert (modes["log.db"], modes["log.db.lock"], modes["objects"]) == (0o664, 0o664, 0o2775)
    shards = {mode for path, mode in modes.items() if path.startswith("objects/blake3/") and len(path) < 22}
    objects = {mode for path, mode in modes.items() if path.startswith("objects/blake3/") and len(path) > 22}
    assert (shards, objects) == ({0o2775}, {0o444})
    assert (modes["objects/small"], modes["objects/small/objects.db"]) == (0o2775, 0o664)
    assert {path.stat().st_gid for path in store.rglob("*")} == {_GROUP}


def test_modes_follow_a_strict_umask(store: Path, tmp_path: Path) -> None:
    os.chown(store, *_OWNER)
    [ran] = Elsewhere(user=_OWNER, umask=0o077).run(["ingest", tmp_path / "one"])
    assert (ran.code, ran.err) == (0, "")
    assert not any(mode & 0o077 for mode in modes_below(store).values())


def test_the_doctor_names_what_root_left_behind(
    cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_SMALL_MAX", "0")  # each object is a file, in many directories
    os.chown(store, *_OWNER)
    ingest, user = ["ingest", str(tmp_path / "one")], Elsewhere(user=_OWNER)
    assert user.run(ingest, ["doctor"])[-1].code == 0
    Elsewhere(umask=0o077).run(["ingest", str(tmp_path / "two")])
    refused, doctor = user.run(["ingest", str(tmp_path / "three")], ["doctor"])
    assert refused.code == 1
    assert doctor.code == 1
    assert "permissions: " in doctor.text
    assert f" below {cli.objects} cannot be written to by this user: {cli.objects}/blake3/" in doctor.text
    assert " (of root)" in doctor.text
    assert f"`chown -R 4001:5000 {cli.objects}`" in doctor.text


@pytest.mark.parametrize("suffix", ["", ".lock"])
def test_the_doctor_names_a_database_file_of_another_user(cli: Cli, store: Path, tmp_path: Path, suffix: str) -> None:
    os.chown(store, *_OWNER)
    user = Elsewhere(user=_OWNER)
    user.run(["ingest", tmp_path / "one", "--name", "one"])
    theirs = Path(f"{cli.database}{suffix}")
    os.chown(theirs, 0, 0)
    theirs.chmod(0o444 if suffix == "" else 0o600)
    listed, refused, doctor = user.run(["package", "list"], ["package", "create", "new"], ["doctor"])
    assert "one" in listed.text
    for ran in (refused.err, doctor.text):
        assert "the store is read-only because this user may not" in ran
        assert f"{theirs}, which belongs to root" in ran
    assert f"`chown 4001:5000 {cli.database}*`" in doctor.text


def test_the_doctor_names_a_database_file_that_may_not_be_read(cli: Cli, store: Path, tmp_path: Path) -> None:
    os.chown(store, *_OWNER)
    user = Elsewhere(user=_OWNER)
    user.run(["ingest", tmp_path / "one"])
    os.chown(cli.database, 0, 0)
    cli.database.chmod(0o600)
    refused, doctor = user.run(["package", "list"], ["doctor"])
    for ran in (refused.err, doctor.text):
        assert f"this user may not read {cli.database}, which belongs to root" in ran


def test_the_doctor_names_sticky_directories(cli: Cli, store: Path, tmp_path: Path) -> None:
    """Files of others cannot be removed or replaced in them."""
    os.chown(store, 0, _GROUP)
    store.chmod(0o2775)
    Elsewhere(user=_OWNER, umask=0o002).run(["ingest", tmp_path / "one"])
    for path in (cli.objects, *(path for path in cli.objects.rglob("*") if path.is_dir())):
        path.chmod(0o3775)
    [doctor] = Elsewhere(user=_OTHER, umask=0o002).run(["doctor"])
    assert "sticky" in doctor.text
    assert f"`chmod -R -t {cli.objects}`" in doctor.text


def test_verify_names_what_this_user_may_not_read_and_reads_the_rest(cli: Cli, store: Path, tmp_path: Path) -> None:
    cli.ok("ingest", make_tree(tmp_path / "two files", {"a": b"a" * 100_000, "b": b"b" * 100_000}))
    for path in (store, *store.rglob("*")):
        os.chown(path, *_OWNER)
    objects = sorted(path for path in store.rglob("objects/blake3/??/??/*") if path.is_file())
    objects[0].chmod(0)
    [verified] = Elsewhere(user=_OWNER).run(["verify"])
    assert verified.err == ""
    assert verified.code == 3
    assert "read 2 objects" in verified.text
    assert f"unreadable blake3:{objects[0].name}" in verified.text
