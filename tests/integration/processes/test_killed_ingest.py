"""`artifactstore ingest` killed at any step: the next process finds a sound store, the same command does the rest."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from artifactstore import Settings, open_registry
from integration.cli.harness import Cli, make_tree
from integration.registry.samples import check_sound, temp_files

DEATHS = 12


@pytest.mark.parametrize("small_max", [65536, 0], ids=["rows", "files"])
@pytest.mark.parametrize("seed", [1])
def test_a_killed_ingest_leaves_a_sound_store_and_is_finished_by_the_same_command(
    tmp_path: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    small_max: int,
) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_SMALL_MAX", str(small_max))
    tree = make_tree(tmp_path / "tree", {f"{number % 3}/{number}": b"%d" % (number // 2) for number in range(12)})
    stores = tmp_path / "stores"
    stores.mkdir()
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "integration.processes.dying", stores, tree, str(seed), str(DEATHS)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    total, fatal = json.loads(ran.stdout)
    assert len(set(fatal)) == DEATHS
    assert total > 3 * DEATHS
    digests: set[str] = set()
    for step in fatal:
        store = stores / str(step)
        cli = Cli(store, capsysbinary)
        settings = Settings(database_url=f"sqlite:///{cli.database}", storage_local_root=cli.objects)
        trio.run(_check_what_was_left, settings)
        assert temp_files(settings) == [], f"seed {seed}, step {step}"

        monkeypatch.chdir(store)
        monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", settings.database_url)
        monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(cli.objects))
        finished = cli.json("ingest", tree, "--idempotency-key", "nightly")
        assert finished["files"] == 12
        digests.add(finished["tree_digest"])
        trio.run(_check_the_end, settings)
    assert len(digests) == 1


async def _check_what_was_left(settings: Settings) -> None:
    async with open_registry(settings) as registry:
        await check_sound(registry)
        assert (await registry.verify()).sound


async def _check_the_end(settings: Settings) -> None:
    async with open_registry(settings) as registry:
        log = await check_sound(registry)
        assert [stored.event.type for stored in log if stored.event.type != "v1.store.verified"] == [
            "v1.log.created",
            "v1.package.created",
            "v1.objects.stored",
            "v1.files.ingested",
            "v1.package.finalized",
        ]
        report = await registry.verify()
        assert report.sound
        assert report.objects == 6
