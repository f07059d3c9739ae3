"""Contents and checks that the tests of the data plane share."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from pathlib import Path

from artifactstore.dataplane.ingest import CHUNK_BYTES
from artifactstore_protocols.dataplane import DataPlane, FileSource, IngestResult, VerifyResult
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentAddress, ContentDigests, ContentHasher
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.storage import KnownObject, Place

LARGE = bytes(range(251)) * (CHUNK_BYTES // 251 + 1) + b"the rest"


async def stream_of(chunks: Iterable[bytes]) -> AsyncGenerator[bytes]:
    for chunk in chunks:
        yield chunk


def digests_of(content: bytes) -> ContentDigests:
    hasher = ContentHasher()
    hasher.update(content)
    return hasher.digests()


def address_of(content: bytes) -> ContentAddress:
    return digests_of(content).content_address


def objects_in(root: Path) -> list[Path]:
    return [path for path in root.glob("blake3/??/??/*") if path.is_file()]


def temp_files_in(root: Path) -> list[Path]:
    return [path for path in root.glob("tmp/*") if path.suffix != ".lock"]


async def ingest(plane: DataPlane, content: bytes) -> IngestResult:
    async with aclosing(stream_of([content])) as stream:
        return await plane.ingest_stream(stream)


async def ingest_file(plane: DataPlane, path: Path) -> IngestResult:
    """Ingest one file; what went wrong is raised."""
    (answer,) = await plane.ingest_files([FileSource(str(path))])
    if isinstance(answer, ArtifactStoreError):
        raise answer
    return answer


def known(content: bytes, backend_id: str = "local") -> KnownObject:
    address = address_of(content)
    return KnownObject(address, len(content), Place(backend_id, first_key(address)))


async def verified(plane: DataPlane, content: bytes) -> VerifyResult:
    (result,) = await plane.verify_objects([known(content)])
    return result


async def read(plane: DataPlane, content: bytes, offset: int = 0, length: int | None = None) -> bytes:
    async with plane.serve_object(known(content), offset=offset, length=length) as pieces:
        return b"".join([piece async for piece in pieces])
