"""Export of a package to a directory: it writes verified bytes under the same names, and never replaces a file.

`writing` reads the objects and writes them to the target. `target` is the directory, and creates every name in it.
`survey` compares the directory with the package, to continue an export, and at the end to check the names.
"""

from artifactstore.package_export.writing import write_package

__all__ = ["write_package"]
