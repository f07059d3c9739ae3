"""Stores where `--store` puts them, filled by an ingest."""

from pathlib import Path

from artifactstore.blocking import open_registry
from artifactstore.config import Settings

__all__ = ["ingested", "store_in"]


def store_in(directory: Path) -> Settings:
    """The settings that `--store DIRECTORY` gives."""
    return Settings.load({}, store=str(directory))


def ingested(settings: Settings, tree: Path, name: str) -> str:
    """Put a directory into a store; returns the id of the package."""
    with open_registry(settings) as registry:
        return registry.ingest_tree(tree, name=name).package_id
