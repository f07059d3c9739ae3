"""The local backend passes the suite of all backends."""

from functools import partial
from pathlib import Path
from typing import override

import pytest

from artifactstore.backends.local import LocalBackend
from artifactstore.testing.backend_conformance import SharedBackendConformance, Store


class TestLocalBackend(SharedBackendConformance):
    @pytest.fixture
    @override
    def store(self, tmp_path: Path) -> Store:
        return partial(LocalBackend, tmp_path / "objects")
