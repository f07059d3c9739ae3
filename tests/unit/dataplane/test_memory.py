"""However large a file is, ingesting it takes a few chunks of memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from artifactstore.dataplane.ingest import CHUNK_BYTES

FILE_BYTES = 20 * CHUNK_BYTES
INGEST = """
import resource, sys
from pathlib import Path
import trio
from artifactstore.dataplane import open_local_data_plane
from artifactstore_protocols.dataplane import FileSource

async def main():
    async with open_local_data_plane(Path(sys.argv[1])) as plane:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        (result,) = await plane.ingest_files([FileSource(sys.argv[2])])
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(result.size_bytes, (after - before) * 1024)

trio.run(main)
"""


@pytest.mark.slow
def test_a_file_of_many_chunks_takes_the_memory_of_a_few(tmp_path: Path) -> None:
    source = tmp_path / "sparse"
    with source.open("wb") as writer:
        writer.truncate(FILE_BYTES)
    command = [sys.executable, "-c", INGEST, str(tmp_path / "objects"), str(source)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    size_bytes, grown_bytes = map(int, ran.stdout.split())
    assert size_bytes == FILE_BYTES
    assert grown_bytes < 4 * CHUNK_BYTES
