"""Embed a store in a plain program: finalize a directory, check it, and write it out again elsewhere.

Run me: python embed_script.py DIRECTORY
It makes a store below ./script-store. No event loop is needed; any thread of the program may use the registry.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from artifactstore import Settings
from artifactstore.blocking import open_registry
from artifactstore.errors import ArtifactStoreError

SETTINGS = Settings(database_url="sqlite:///script-store/log.db", storage_local_root=Path("script-store/objects"))


def main(directory: Path) -> None:
    with open_registry(SETTINGS) as registry:
        finalized = registry.ingest_tree(
            directory, name="nightly", metadata={"branch": "main"}, principal="embed_script"
        )
        print(f"finalized {finalized.files} files as {finalized.manifest_digest}")

        # Several threads may read at once.
        def measure(path: str) -> tuple[str, int]:
            with registry.get_file(finalized.package_id, path) as chunks:
                return path, sum(map(len, chunks))

        with ThreadPoolExecutor(4) as readers:
            paths = [file.path for file in registry.list_files(finalized.package_id)]
            print("sizes:", dict(readers.map(measure, paths)))

        # Whatever is refused is an ArtifactStoreError that says what to do; its facts are attributes.
        try:
            registry.ingest_file(finalized.package_id, "late.txt", [b"too late"])
        except ArtifactStoreError as refused:
            print("refused:", type(refused).__name__)

        report = registry.verify(finalized.package_id)
        exported = registry.export_package(finalized.package_id, Path("script-store") / finalized.package_id)
        print(f"{report.objects} objects {'sound' if report.sound else 'flawed'}; exported {exported.files} files")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
