"""A collector that is killed leaves every package whole, and its work to the next one."""

import subprocess
import sys
from pathlib import Path

import pytest

from artifactstore import open_registry
from integration.registry.samples import content_of, settings_in
from stored_objects import objects_in

TESTS = Path(__file__).parents[2]


def killed_after(directory: Path, run: int, lines: int) -> list[str]:
    """Start a process, kill it after some lines, and return the packages that it has kept."""
    command = [sys.executable, "-m", "integration.processes.collector", str(directory), str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS) as process:
        assert process.stdout is not None
        told = [line.split() for _, line in zip(range(lines), process.stdout, strict=False)]
        process.kill()
        told += [line.split() for line in process.stdout]
    assert len(told) >= lines, "it ended before it was killed"
    return [words[1] for words in told if words[0] == "kept" and len(words) > 1 and len(words[1]) == 36]


@pytest.mark.slow
async def test_whenever_a_collector_is_killed_the_next_one_finishes_its_work(tmp_path: Path) -> None:
    kept: list[str] = []
    for run, lines in enumerate([17, 61, 40]):
        kept += killed_after(tmp_path, run, lines)
    assert kept
    async with open_registry(settings_in(tmp_path / "store")) as registry:
        held = set[str]()
        async for package in registry.list_packages():
            assert package.status == "finalized" or package.files == 0 or package.package_id not in kept
            for file in await registry.list_files(package.package_id):
                content = await content_of(registry, package.package_id, file.path)
                assert len(content) == file.size_bytes
                held.add(file.content_address.partition(":")[2])
        assert {package.package_id async for package in registry.list_packages()} >= {*kept}
        for _ in range(2):
            report = await registry.collect_garbage(grace_s=0.0, orphan_age_s=0.0)
            assert report.failures == ()
        assert {name.partition(".")[0] for name in objects_in(tmp_path / "store" / "objects")} == held
        assert (await registry.verify()).sound
        assert (await registry.replay(check=True)).identical
