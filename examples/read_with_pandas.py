"""Read a package with pandas and pyarrow: Parquet files, one by one and as a dataset, from the run before as well.

Run me: python read_with_pandas.py
It makes a store below ./pandas-store. It needs pandas, pyarrow, and artifactstore with the extra fsspec.
"""

from pathlib import Path

import pandas as pd

from artifactstore import Settings
from artifactstore.blocking import open_registry
from artifactstore.fsspec import ArtifactStoreFileSystem, package_url

STORE = Path("pandas-store")


def ingest_run(number: int) -> None:
    """Store what a nightly run has measured, as a package with the name nightly."""
    results = STORE / "results"
    (results / "parts").mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame({"test": ["load", "save", "sort"], "seconds": [number + 0.5, number * 2.0, 3.0]})
    frame.to_parquet(results / "summary.parquet")
    for part, row in enumerate((0, 1, 2)):
        frame.iloc[row : row + 1].to_parquet(results / "parts" / f"{part}.parquet")
    settings = Settings(database_url=f"sqlite:///{STORE / 'artifactstore.db'}", storage_local_root=STORE / "objects")
    with open_registry(settings) as registry:
        registry.ingest_tree(results, name="nightly", metadata={"run": str(number)})


def main() -> None:
    for number in (1, 2):
        ingest_run(number)
    options = {"store": str(STORE)}

    newest = pd.read_parquet("artifactstore://nightly/summary.parquet", storage_options=options)
    before = pd.read_parquet(package_url("nightly@{1}", "summary.parquet"), storage_options=options)
    slower = newest["seconds"] - before["seconds"]
    print("slower by:", dict(zip(newest["test"], slower, strict=True)))

    # A directory of Parquet files is one dataset. pyarrow opens its files from several threads.
    parts = pd.read_parquet("artifactstore://nightly/parts", storage_options=options, columns=["seconds"])
    print(f"parts: {len(parts)} rows, {parts['seconds'].sum()} s")

    # Without pandas: any file, opened as a file.
    fs = ArtifactStoreFileSystem(**options)
    with fs.open("nightly/summary.parquet", "rb") as file:
        print("begins with", file.read(4))
    fs.close()


if __name__ == "__main__":
    main()
