"""Read arrays of a package with zarr: only the chunks that a slice needs, from the run before as well.

Run me: python read_with_zarr.py
It makes a store below ./zarr-store. It needs zarr, and artifactstore with the extra fsspec.
"""

from pathlib import Path

import numpy as np
import zarr

from artifactstore import Settings
from artifactstore.blocking import open_registry
from artifactstore.fsspec import package_url

STORE = Path("zarr-store")


def ingest_run(number: int) -> None:
    """Store what a simulation has computed, as a package with the name simulation."""
    results = STORE / f"run-{number}"
    group = zarr.open_group(results, mode="w")
    heat = group.create_array("heat", shape=(400, 400), chunks=(100, 100), dtype="f8")
    heat[:] = np.arange(160_000.0).reshape(400, 400) * number
    heat.attrs["unit"] = "K"
    settings = Settings(database_url=f"sqlite:///{STORE / 'artifactstore.db'}", storage_local_root=STORE / "objects")
    with open_registry(settings) as registry:
        registry.ingest_tree(results, name="simulation", metadata={"run": number})


def main() -> None:
    for number in (1, 2):
        ingest_run(number)
    options = {"store": str(STORE)}

    newest = zarr.open_group("artifactstore://simulation", mode="r", storage_options=options)
    before = zarr.open_group(package_url("simulation@{1}"), mode="r", storage_options=options)
    print("arrays:", sorted(newest))
    heat = newest["heat"]
    print("shape:", heat.shape, "in", heat.attrs["unit"])

    # One of the sixteen chunks is read, of each package.
    corner, corner_before = heat[:2, :3], before["heat"][:2, :3]
    print("corner:", corner.tolist())
    print("twice as hot:", bool((corner == 2 * corner_before).all()))


if __name__ == "__main__":
    main()
