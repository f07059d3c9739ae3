"""Packages opened for reading: paths like those of `pathlib`, and files, for trio, asyncio and blocking programs.

`lookups` answers questions about the tree. `content` reads bytes, in trio. `asynchronous` and `blocking` are what
programs use; trio and asyncio share the first.
"""

from artifactstore.package_paths.asynchronous import AsyncAccess, Package, PackageFile, PackagePath
from artifactstore.package_paths.blocking import BlockingAccess, BlockingPackage, BlockingPackagePath
from artifactstore.package_paths.content import PackageContents
from artifactstore.package_paths.lookups import Opened, PathStat, TreePath

__all__ = [
    "AsyncAccess",
    "BlockingAccess",
    "BlockingPackage",
    "BlockingPackagePath",
    "Opened",
    "Package",
    "PackageContents",
    "PackageFile",
    "PackagePath",
    "PathStat",
    "TreePath",
]
