"""Uploads by clients that nobody here wrote: they break off, and continue against a service that was restarted."""

from pathlib import Path

import pytest
import trio
from tusclient.client import TusClient
from tusclient.uploader.uploader import Uploader

from artifactstore import Settings
from integration.http.serving import GUARD_S, Service, serving

BIG = bytes(range(256)) * 20_000
METADATA = {"package": "a-1", "path": "models/big.bin", "media_type": "application/x-model", "executable": "true"}


async def token(service: Service) -> str:
    await service.registry.create_package("a-1")
    return str(await service.registry.create_token("ci", scopes=["write"], packages=["a-*"]))


async def check(service: Service) -> None:
    """The package has the file, as the metadata says."""
    file = await service.registry.get_file_record("a-1", METADATA["path"])
    assert (file.media_type, file.executable) == (METADATA["media_type"], True)
    async with service.registry.get_file("a-1", METADATA["path"]) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == BIG


@pytest.mark.slow
async def test_tuspy_breaks_off_and_continues_after_a_restart(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(BIG)

    def upload(url: str, secret: str, target: str | None, stop_at: int | None) -> str:
        client = TusClient(f"{url}/v1/uploads", headers={"Authorization": f"Bearer {secret}"})
        with (tmp_path / "big.bin").open("rb") as file:
            uploader: Uploader = client.uploader(  # pyright: ignore[reportUnknownMemberType] - its types are loose
                file_stream=file,
                chunk_size=700_000,
                metadata=METADATA,
                upload_checksum=True,
                url=None if target is None else f"{url}{target}",
            )
            uploader.upload(stop_at=stop_at)
        assert uploader.url is not None
        return uploader.url.removeprefix(url)

    with trio.fail_after(GUARD_S):
        async with serving(settings) as service:
            secret = await token(service)
            target = await trio.to_thread.run_sync(upload, service.url, secret, None, 1_500_000)
        async with serving(settings) as service:
            assert await trio.to_thread.run_sync(upload, service.url, secret, target, None) == target
            await check(service)
