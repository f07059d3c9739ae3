"""A log that cannot grow: what does not fit is refused, reading continues, and so does writing once there is room."""

import json
import subprocess
import sys
from pathlib import Path

import trio

from artifactstore import Settings, open_registry
from integration.registry.samples import check_sound


def test_what_does_not_fit_into_the_log_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "integration.processes.full", url, tmp_path / "objects"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(ran.stdout)
    for refusal in said["refused"]:
        assert refusal.startswith(f"DatabaseUnavailable: database {tmp_path / 'log.db'} is not available: "), refusal
        assert refusal.endswith(("(SQLITE_IOERR_WRITE)", "(SQLITE_FULL)")), refusal
    assert (said["readable"], said["healthy"]) == ("first", True)
    assert len(said["acknowledged"]) > 2, "there was room for some"

    async def subjects() -> list[str]:
        async with open_registry(Settings(database_url=url, storage_local_root=tmp_path / "objects")) as registry:
            _created, *commanded = await check_sound(registry)
            return [stored.event.subject for stored in commanded]

    assert trio.run(subjects) == said["acknowledged"]
