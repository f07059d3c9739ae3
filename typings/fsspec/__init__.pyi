# The part of fsspec that this project uses: fsspec has no types of its own.
from typing import Any

from fsspec.spec import AbstractFileSystem as AbstractFileSystem

def filesystem(protocol: str, **storage_options: Any) -> AbstractFileSystem: ...
def open(urlpath: str, mode: str = ..., **kwargs: Any) -> Any: ...
