"""Read arrays of a package with zarr: only the chunks that a slice needs, from the run before as well.

Run me: python read_with_zarr.py
It makes a store below ./zarr-store. It needs zarr, and artifactstore with the extra fsspec.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from artifactstore import Settings
from artifactstore.blocking import open_registry
from artifactstore.fsspec import package_url

STORE = Path("zarr-store")


def ingest_run(number: int) -> None:
    """Store what a simulation has computed, as a package with the name simulation."""
    results = STORE / f"run-{number}"
    group = zarr.open_group(results, mode="w")  # pyright: ignore[reportUnknownMemberType] # zarr types not all of it
    heat = group.create_array("heat", shape=(400, 400), chunks=(100, 100), dtype="f8")
    heat[:] = np.arange(160_000.0).reshape(400, 400) * number
    heat.attrs["unit"] = "K"
    settings = Settings(database_url=f"sqlite:///{STORE / 'artifactstore.db'}", storage_local_root=STORE / "objects")
    with open_registry(settings) as registry:
        registry.ingest_tree(results, name="simulation", metadata={"run": number})


def heat_of(package: str) -> zarr.Array[Any]:
    """Open an array of a package. Only its description is read."""
    url, options = package_url(package, "heat"), {"store": str(STORE)}
    return zarr.open_array(url, mode="r", storage_options=options)  # pyright: ignore[reportUnknownMemberType] # as above


def corner_of(heat: zarr.Array[Any]) -> npt.NDArray[np.float64]:
    """Read one of the sixteen chunks."""
    return np.asarray(heat[:2, :3], dtype=np.float64)


def main() -> None:
    for number in (1, 2):
        ingest_run(number)
    newest, before = heat_of("simulation"), heat_of("simulation@{1}")
    print("shape:", newest.shape, "in", newest.attrs["unit"])
    corner = corner_of(newest)
    print("corner:", corner.tolist())
    print("twice as hot:", bool((corner == 2 * corner_of(before)).all()))


if __name__ == "__main__":
    main()
