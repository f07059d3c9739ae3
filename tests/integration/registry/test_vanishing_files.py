"""A SQLite store whose files are deleted, replaced or cut while it is open acknowledges nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from artifactstore import Registry, open_registry
from artifactstore.config import Settings
from artifactstore.database.asyncio_core import AsyncTransaction
from artifactstore.database.errors import DatabaseReplaced, DatabaseUnavailable, OutcomeUnknown

pytestmark = pytest.mark.slow

type Damage = Callable[[Path], None]


def deleted(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    shutil.copyfile(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def halved(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


SAFE: list[tuple[str, Damage]] = [("-wal", deleted), ("-wal", replaced), ("-shm", deleted), ("-shm", replaced)]
"""The bytes are still somewhere: what was acknowledged must be found again."""

LOSSY: list[tuple[str, Damage]] = [("-wal", emptied), ("-wal", halved), ("-wal", overwritten)]
"""The bytes are gone, and no store can bring them back."""


def named(cases: list[tuple[str, Damage]]) -> list[str]:
    return [f"{suffix[1:]} {damage.__name__}" for suffix, damage in cases]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(f"sqlite:///{tmp_path}/store/log.db", tmp_path / "store" / "objects")


@pytest.fixture
async def registry(settings: Settings) -> AsyncGenerator[Registry]:
    async with open_registry(settings) as registry:
        yield registry


def file_of(settings: Settings, suffix: str) -> Path:
    return Path(settings.database_url.removeprefix("sqlite:///") + suffix)


def packages_in(settings: Settings) -> list[str]:
    """The names of the packages that a process finds that opens the store after this one has closed it."""
    code = (
        "import sys; from pathlib import Path\n"
        "from artifactstore.blocking import open_registry; from artifactstore.config import Settings\n"
        "with open_registry(Settings(sys.argv[1], Path(sys.argv[2]))) as registry:\n"
        "    assert registry.replay(check=True).identical\n"
        "    print(*(package.name for package in registry.list_packages(reverse=True)))\n"
    )
    command = [sys.executable, "-c", code, settings.database_url, str(settings.storage_local_root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def fold(database: Path, mode: str) -> None:
    """Copy the log into the database, from another process."""
    code = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())"
    command = [sys.executable, "-c", code, str(database), f"PRAGMA wal_checkpoint({mode})"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("(0,")


@pytest.mark.parametrize(("suffix", "damage"), SAFE + LOSSY, ids=named(SAFE + LOSSY))
async def test_nothing_is_acknowledged_after_a_file_is_gone(
    registry: Registry, settings: Settings, suffix: str, damage: Damage
) -> None:
    await registry.create_package("before")
    damage(file_of(settings, suffix))
    for _ in range(2):
        with pytest.raises(DatabaseReplaced, match=rf"{suffix} was .*; nothing more is written"):
            await registry.create_package("after")
    with pytest.raises(DatabaseReplaced):
        [package async for package in registry.list_packages()]
    health = await registry.health(max_age_s=0)
    assert not health.healthy
    assert any(suffix in component.detail for component in health.components if component.name == "database")


@pytest.mark.parametrize(("suffix", "damage"), SAFE + LOSSY, ids=named(SAFE + LOSSY))
async def test_a_file_that_goes_while_a_commit_runs_leaves_its_outcome_unknown(
    registry: Registry, settings: Settings, suffix: str, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = AsyncTransaction.commit

    async def commit_and_lose(self: AsyncTransaction) -> None:
        await commit(self)
        damage(file_of(settings, suffix))

    await registry.create_package("before")
    monkeypatch.setattr(AsyncTransaction, "commit", commit_and_lose)
    with pytest.raises(OutcomeUnknown, match=suffix):
        await registry.create_package("meanwhile")


async def test_a_log_that_is_cut_before_a_commit_writes_to_it_loses_no_commit_silently(
    registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frames of that commit are whole, but behind a hole: a recovery would stop before them."""
    commit = AsyncTransaction.commit

    async def lose_and_commit(self: AsyncTransaction) -> None:
        halved(file_of(settings, "-wal"))
        await commit(self)

    await registry.create_package("before")
    monkeypatch.setattr(AsyncTransaction, "commit", lose_and_commit)
    with pytest.raises(OutcomeUnknown, match="truncated"):
        await registry.create_package("meanwhile")


@pytest.mark.parametrize(("suffix", "damage"), SAFE, ids=named(SAFE))
async def test_what_was_acknowledged_outlives_a_deleted_log(settings: Settings, suffix: str, damage: Damage) -> None:
    async with open_registry(settings) as registry:
        for name in ("first", "second"):
            await registry.create_package(name)
        damage(file_of(settings, suffix))
        with pytest.raises(DatabaseReplaced, match="Everything acknowledged is safe"):
            await registry.create_package("third")
    assert packages_in(settings) == ["first", "second"]


async def test_a_deleted_log_is_saved_before_the_process_is_killed(settings: Settings, tmp_path: Path) -> None:
    async with open_registry(settings) as registry:
        await registry.create_package("first")
        file_of(settings, "-wal").unlink()
        with pytest.raises(DatabaseReplaced):
            await registry.create_package("second")
        # As a kill would leave it: nothing but the file that has a name.
        copy = Settings(f"sqlite:///{tmp_path}/copy/log.db", settings.storage_local_root)
        file_of(copy, "").parent.mkdir()
        shutil.copyfile(file_of(settings, ""), file_of(copy, ""))
        assert packages_in(copy) == ["first"]


@pytest.mark.parametrize(("suffix", "damage"), LOSSY, ids=named(LOSSY))
async def test_a_cut_log_is_not_folded_into_the_database(settings: Settings, suffix: str, damage: Damage) -> None:
    """Then what the next process finds is older than what was acknowledged, but it is whole."""
    async with open_registry(settings) as registry:
        for number in range(20):
            await registry.create_package(f"p{number}")
        damage(file_of(settings, suffix))
        with pytest.raises(DatabaseReplaced, match="Acknowledged events may be lost"):
            await registry.create_package("after")
    assert packages_in(settings) in [[f"p{number}" for number in range(count)] for count in range(20)]


async def test_a_file_that_comes_back_is_used_again(registry: Registry, settings: Settings) -> None:
    log = file_of(settings, "-wal")
    log.rename(log.with_name("aside"))
    with pytest.raises(DatabaseReplaced):
        await registry.create_package("meanwhile")
    log.with_name("aside").rename(log)
    await registry.create_package("after")
    assert packages_in(settings) == ["after"]


async def test_a_log_that_other_programs_fold_in_and_start_again_is_no_fault(
    registry: Registry, settings: Settings
) -> None:
    for number, mode in enumerate(("TRUNCATE", "RESTART", "PASSIVE", "TRUNCATE", "TRUNCATE")):
        await registry.create_package(f"p{number}")
        fold(file_of(settings, ""), mode)
    await registry.create_package("last")
    assert [package.name async for package in registry.list_packages(reverse=True)] == [
        "p0",
        "p1",
        "p2",
        "p3",
        "p4",
        "last",
    ]


async def test_a_second_store_is_refused_a_log_that_is_not_whole(settings: Settings) -> None:
    """It would share the index of the first one, and add to a log that no recovery reads."""
    async with open_registry(settings) as registry:
        await registry.create_package("first")
        emptied(file_of(settings, "-wal"))
        with pytest.raises(DatabaseUnavailable):
            async with open_registry(settings) as second:
                await second.create_package("second")
        with suppress(DatabaseReplaced):
            await registry.create_package("third")
