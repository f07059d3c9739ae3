"""Runs commands where this test cannot be: as another user, or where something else is mounted. It needs root.

What the process does that runs them is in `elsewhere_process`.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from artifactstore.database.migrate import migrations_directory
from integration.cli.harness import Ran

__all__ = ["Elsewhere", "needs_root"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount, and act as other users")

_PROCESS = Path(__file__).with_name("elsewhere_process.py")
_NO_MOUNTS = 9

type Command = Sequence[str | Path]


@dataclass(frozen=True)
class Elsewhere:
    """A place to run commands in.

    Attributes:
        mounts: shell commands, run in a mount namespace of its own.
        user: user and group, by number; root by default.
        umask: of the commands.
    """

    mounts: Sequence[str] = ()
    user: tuple[int, int] | None = None
    umask: int = 0o022

    def run(self, *commands: Command) -> list[Ran]:
        """Run commands one after the other in one process; what came of each."""
        with tempfile.TemporaryDirectory() as migrations:
            shutil.copytree(migrations_directory(), migrations, dirs_exist_ok=True)
            Path(migrations).chmod(0o755)  # the checkout may be closed to others
            return self._run(commands, migrations)

    def _run(self, commands: Sequence[Command], migrations: str) -> list[Ran]:
        order = {
            "migrations": migrations,
            "mounts": list(self.mounts),
            "user": self.user,
            "umask": self.umask,
            "commands": [[str(word) for word in command] for command in commands],
        }
        done = subprocess.run(
            [sys.executable, str(_PROCESS)], input=json.dumps(order), capture_output=True, text=True, check=False
        )
        if done.returncode == _NO_MOUNTS:
            pytest.skip(f"nothing can be mounted here: {done.stderr}")
        assert done.returncode == 0, done.stderr
        return [Ran(code, out.encode(), err) for code, out, err in json.loads(done.stdout)]
