"""Export of a package: to a directory, or as one tar or zip file. Every byte is verified, and names stay the same.

`writing` reads the objects and writes them to a directory. `target` is the directory, and creates every name in it;
`marker`, `open_directories` and `new_file` are its parts. `survey` compares it with the package to continue an export,
and `comparison` to update it; `layout` has what both need. `archives` makes tar and zip files.
"""

from artifactstore.package_export.archives import ArchiveForm, ArchiveOutline, archive, outline
from artifactstore.package_export.writing import write_package

__all__ = ["ArchiveForm", "ArchiveOutline", "archive", "outline", "write_package"]
