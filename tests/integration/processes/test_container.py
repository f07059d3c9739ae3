"""The service as the only process of a container: process 1, an unknown user, nothing writable but its data."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from integration.cli.harness import COMMAND

pytestmark = pytest.mark.slow

CONTAINED = Path(__file__).with_name("contained.sh")
CONTAINER = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", str(CONTAINED)]
SETTINGS = {
    "ARTIFACTSTORE_DATABASE_URL": "sqlite:////mnt/data/log.db",
    "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": "/mnt/data/objects",
}


def contained(data: Path, *command: str) -> list[str]:
    return [*CONTAINER, str(data), sys.base_prefix, str(Path(__file__).parents[3]), *command]


def test_a_service_is_process_1_of_an_unknown_user_on_a_read_only_system(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("containers need root here, and unshare and setpriv")
    data = tmp_path / "data"
    data.mkdir(mode=0o770)
    data.chmod(0o770)
    look = "echo $$ $(id -u) $(touch /x 2>&1 || echo read-only)"
    seen = subprocess.run(contained(data, "sh", "-c", look), env={}, capture_output=True, text=True, check=True)
    assert seen.stdout.split()[:2] == ["1", "54321"]
    assert "read-only" in seen.stdout
    serve = contained(data, *COMMAND, "serve", "--bind", "127.0.0.1:0")
    with subprocess.Popen(serve, env=SETTINGS, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            url = process.stderr.readline().decode().split()[-1].removesuffix("/health")
            with urllib.request.urlopen(f"{url}/readyz") as response:
                assert json.load(response) == {"status": "ready", "reasons": []}
            first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(first) == 1
            os.kill(int(first[0]), signal.SIGTERM)
            assert process.wait() == 0
        finally:
            process.kill()
    assert (data / "log.db").stat().st_uid == 54321
