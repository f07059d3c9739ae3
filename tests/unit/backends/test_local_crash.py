"""A process that is killed at any step of a put leaves each object whole or absent, and nothing that is not swept."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from artifactstore.backends.durability import FSYNCS_MAX
from artifactstore.backends.local import LocalBackend
from artifactstore.testing.backend_conformance import key_of, keys_in, put, read

CONTENTS = [b"content %d" % number for number in range(FSYNCS_MAX + 1)]

# Puts into <base>/1, <base>/2 … in a forked process each, which kills itself just before its first, second … call that
# changes what a disk holds, until a put gets through; prints how each process ended.
PUT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from artifactstore.backends.local import LocalBackend
from artifactstore.testing.backend_conformance import put_of

base, count = Path(sys.argv[1]), int(sys.argv[2])

def put_until(fatal):
    calls = 0
    def deadly(real):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call
    backend = LocalBackend(base / str(fatal))
    for name in ("open", "write", "fchmod", "fsync", "replace", "makedirs", "unlink"):
        setattr(os, name, deadly(getattr(os, name)))
    backend.put_many([put_of(b"content %d" % number) for number in range(count)])

fatal, ended = 0, None
while ended != 0:
    fatal += 1
    pid = os.fork()
    if pid == 0:
        put_until(fatal)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(ended)
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, len(CONTENTS)], ids=["one object", "a shared sync"])
def test_a_put_that_is_killed_at_any_step_is_whole_or_absent(tmp_path: Path, count: int) -> None:
    command = [sys.executable, "-c", PUT_AND_DIE, str(tmp_path), str(count)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    *killed, last = map(int, ran.stdout.split())
    assert (set(killed), last) == ({-signal.SIGKILL}, 0)
    assert len(killed) > 10
    for number in range(1, len(killed) + 2):
        root = tmp_path / str(number)
        backend = LocalBackend(root)
        assert list(root.glob("tmp/*")) == []
        for content in CONTENTS[:count]:
            assert key_of(content) not in keys_in(backend) or read(backend, key_of(content)) == content
            outcome = put(backend, content)
            assert outcome == "deduplicated" or number <= len(killed)
        assert keys_in(backend) == sorted(map(key_of, CONTENTS[:count]))
        backend.close()
