"""Export of a package's files to a directory: checked bytes, under the same names, never over anything else.

`writing` reads the objects and hands them on; `target` is the directory and makes every name in it; `survey` compares
the directory with the package, to continue an export and to see in the end what the target made of the names.
"""

from artifactstore.package_export.writing import write_package

__all__ = ["write_package"]
