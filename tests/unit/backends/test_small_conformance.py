"""The backend for small objects passes the conformance suite."""

from functools import partial
from pathlib import Path
from typing import ClassVar, override

import pytest

from artifactstore.backends.small import OBJECT_BYTES_MAX, SmallBackend
from artifactstore.testing.backend_conformance import SharedBackendConformance, Store


class TestSmallBackend(SharedBackendConformance):
    LARGEST_BYTES: ClassVar[int] = OBJECT_BYTES_MAX

    @pytest.fixture
    @override
    def store(self, tmp_path: Path) -> Store:
        return partial(SmallBackend, tmp_path)
