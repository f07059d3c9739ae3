"""Archives of packages: the bytes of tar and zip files around the contents.

They follow from the entries alone: no times, owners or permissions of a machine, and the order that the caller gives.
The writers never seek, and they need each content's size before its bytes. `tar` needs nothing else; `zip` also needs
its CRC-32, and memory for the list of names at its end.
"""

from artifactstore_protocols.archives.tar import TAR_END, tar_header, tar_padding
from artifactstore_protocols.archives.zip import ZipWriter

__all__ = ["TAR_END", "ZipWriter", "tar_header", "tar_padding"]
