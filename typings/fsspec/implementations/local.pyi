from typing import Any

from fsspec.spec import AbstractFileSystem

class LocalFileSystem(AbstractFileSystem):
    def __init__(self, auto_mkdir: bool = False, **storage_options: Any) -> None: ...
