"""The process of `elsewhere`, which says on stdin where to run what, and reads from stdout what came of it.

It loads everything first, by the same commands on a store that is thrown away: another user may not be able to read
this checkout or the interpreter. Then it mounts, changes its user, and runs the commands.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from artifactstore.cli.app import run
from artifactstore.database import migrate

_NO_MOUNTS = 9


def _main() -> int:
    order = json.load(sys.stdin)
    if order["mounts"]:
        os.unshare(os.CLONE_NEWNS)  # before there are threads, which would stay where they are
    _load_everything()
    streams = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]  # noqa: SIM115 - while it still may make some
    migrations = Path(order["migrations"])
    migrate.migrations_directory = lambda: migrations  # they are read whenever a store is made
    answer, complaints = os.dup(1), os.dup(2)
    if order["mounts"]:
        for line in ("mount --make-rprivate /", *order["mounts"]):
            done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)  # noqa: S602
            if done.returncode != 0:
                sys.stderr.write(f"{line}: {done.stderr}")
                return _NO_MOUNTS
    os.chdir(Path.cwd())  # into what is mounted there now
    os.umask(order["umask"])
    if order["user"] is not None:
        user, group = order["user"]
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    try:
        ran = [_run(command, streams) for command in order["commands"]]
    except BaseException:
        os.dup2(complaints, 2)  # such as of a module that was not loaded before
        raise
    os.write(answer, json.dumps(ran).encode())
    return 0


def _run(command: list[str], streams: Sequence[IO[bytes]]) -> tuple[int, str, str]:
    for number, stream in enumerate(streams, 1):
        stream.seek(0)
        stream.truncate()
        os.dup2(stream.fileno(), number)
    code = run(command)
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = (os.pread(stream.fileno(), 1 << 24, 0).decode() for stream in streams)
    return code, out, err


def _load_everything() -> None:
    kept = dict(os.environ)
    quiet = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["ARTIFACTSTORE_DATABASE_URL"] = f"sqlite:///{scratch}/log.db"
        os.environ["ARTIFACTSTORE_STORAGE_LOCAL_ROOT"] = f"{scratch}/objects"
        Path(scratch, "tree").mkdir()
        Path(scratch, "tree", "file").write_text("content")
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        for command in (
            ["ingest", f"{scratch}/tree", "--name", "p"],
            ["ingest", f"{scratch}/absent"],
            ["package", "create", "q"],
            ["package", "add", "q", f"{scratch}/tree"],
            ["package", "finalize", "q"],
            ["package", "list"],
            ["package", "show", "q"],
            ["get", "p", "file"],
            ["manifest", "p"],
            ["export", "p", f"{scratch}/out"],
            ["events", "--export", f"{scratch}/log"],
            ["events", "--import", f"{scratch}/log"],
            ["backup", f"{scratch}/backup"],
            ["backup", "--check", f"{scratch}/backup"],
            ["restore", f"{scratch}/backup"],
            ["verify"],
            ["replay"],
            ["history"],
            ["health"],
            ["doctor"],
            ["migrate"],
        ):
            run(command)
        sys.stdout.flush()
        sys.stderr.flush()
        os.close(null)
    for number, stream in enumerate(quiet, 1):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(kept)


if __name__ == "__main__":
    raise SystemExit(_main())
