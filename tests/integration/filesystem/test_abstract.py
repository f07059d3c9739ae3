"""fsspec's own tests of a file system: those that read. What they read is put there by an ingest."""

import io
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, override

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests, AbstractOpenTests

from artifactstore.blocking import open_registry
from artifactstore.config import Settings
from artifactstore.fsspec import ArtifactStoreFileSystem
from integration.filesystem.stores import ingested

pytestmark = pytest.mark.slow

type Join = Callable[..., str]
type Scenario = Callable[[LocalFileSystem, Join, str], str]


def join(*parts: str) -> str:
    return "/".join(parts)


class Ingesting(ArtifactStoreFileSystem):
    """Ingests what is written, so that a test that writes first can read. The library writes nothing."""

    settings: Settings

    @override
    def _open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        if mode == "rb":
            return super()._open(path, mode, *args, **kwargs)
        if mode == "xb" and self.exists(path):
            raise FileExistsError(path)
        package, _, name = path.partition("/")
        settings = self.settings

        class Written(io.BytesIO):
            @override
            def close(self) -> None:
                with open_registry(settings) as registry:
                    created = registry.create_package(package)
                    registry.ingest_file(created.package_id, name, [self.getvalue()])
                    registry.finalize_package(created.package_id)
                super().close()

        return Written()

    def make_nothing(self, *_: object, **__: object) -> None:
        """A package holds the directories of its files."""

    mkdir = makedirs = rm = make_nothing

    @override
    def touch(self, *args: object, **_: object) -> None:
        with self._open(str(args[0]), "wb"):
            pass


class Fixtures(AbstractFixtures):
    """A package with what a scenario puts into a directory."""

    @pytest.fixture
    def fs(self, settings: Settings, tmp_path: Path) -> Generator[Ingesting]:
        fs = Ingesting(store=str(tmp_path / "store"))
        fs.settings = settings
        yield fs
        Ingesting.clear_instance_cache()

    @pytest.fixture
    def fs_join(self) -> Join:
        return join

    @pytest.fixture
    def fs_path(self) -> str:
        return "scenario"

    @pytest.fixture
    def source_of(self, settings: Settings, tmp_path: Path) -> Callable[[Scenario], str]:
        def source_of(scenario: Scenario) -> str:
            scenario(LocalFileSystem(auto_mkdir=True), join, str(tmp_path / "scenario"))
            ingested(settings, tmp_path / "scenario", "scenario")
            return "scenario/source"

        return source_of

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, source_of: Callable[[Scenario], str]) -> str:
        return source_of(self._bulk_operations_scenario_0)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, source_of: Callable[[Scenario], str]) -> str:
        return source_of(self._glob_edge_cases_files)

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, source_of: Callable[[Scenario], str]) -> str:
        return source_of(self._dir_and_file_with_same_name_prefix)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, source_of: Callable[[Scenario], str]) -> str:
        return source_of(self._10_files_with_hashed_names)


class TestGet(Fixtures, AbstractGetTests):
    """Files and directories are copied to where fsspec says they are copied."""


class TestOpen(Fixtures, AbstractOpenTests):
    """What was written is read."""
