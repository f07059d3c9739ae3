"""A process that is killed at any step of a put leaves the object whole or absent, and nothing that is not swept."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from artifactstore.backends.durability import FSYNCS_MAX
from artifactstore.backends.local import LocalBackend
from unit.backends.conformance import key_of, keys_in, put, read

CONTENTS = [b"content %d" % number for number in range(FSYNCS_MAX + 1)]

# Kills itself just before its n-th call that changes what a disk holds.
PUT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from artifactstore.backends.durability import FSYNCS_MAX
from artifactstore.backends.local import LocalBackend
from artifactstore_protocols.identity import ContentHasher
from artifactstore_protocols.storage import ObjectPut, object_key_of

root, count, fatal = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
calls = 0

def put_of(content):
    hasher = ContentHasher()
    hasher.update(content)
    address = hasher.digests().content_address
    return ObjectPut(object_key_of(address), address, content, False)

def deadly(real):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call

backend = LocalBackend(root)
for name in ("open", "write", "fchmod", "fsync", "replace", "makedirs", "unlink"):
    setattr(os, name, deadly(getattr(os, name)))
backend.put_batch([put_of(b"content %d" % number) for number in range(count)])
print("acknowledged", calls)
"""


def put_in_a_process_that_dies(root: Path, count: int, fatal: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PUT_AND_DIE, str(root), str(count), str(fatal)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def calls_in_all(root: Path, count: int) -> int:
    ran = put_in_a_process_that_dies(root, count, 0)
    assert ran.stdout.startswith("acknowledged"), ran.stderr
    return int(ran.stdout.split()[1])


@pytest.mark.parametrize("count", [1, len(CONTENTS)], ids=["one object", "a shared sync"])
def test_a_put_that_is_killed_at_any_step_is_whole_or_absent(tmp_path: Path, count: int) -> None:
    steps = calls_in_all(tmp_path / "whole", count)
    assert steps > 10
    for number in range(2, steps + 1, 1 if count == 1 else 4):
        root = tmp_path / str(number)
        ran = put_in_a_process_that_dies(root, count, number)
        assert (ran.returncode, ran.stdout) == (-signal.SIGKILL, "")
        backend = LocalBackend(root)
        assert list((root / "tmp").iterdir()) == []
        for content in CONTENTS[:count]:
            assert key_of(content) not in keys_in(backend) or read(backend, key_of(content)) == content
            put(backend, content)
        assert keys_in(backend) == sorted(map(key_of, CONTENTS[:count]))
        backend.close()
