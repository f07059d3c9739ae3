"""Names that an ingest removes from the beginning of each path, such as the directory that a tar file is packed in."""

from collections.abc import Sequence
from typing import Final

from artifactstore.ingest.scan import Scan
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.links import escaping_links
from artifactstore_protocols.manifest import check_tree
from artifactstore_protocols.paths import PathRefused, listed_paths, tree_order

__all__ = ["stripped"]

_WHAT: Final = "strip_components"


def stripped(scan: Scan, prefix: str, number: int) -> Scan:
    """Return a scan without the first names of its paths.

    Args:
        scan: the scan.
        prefix: the directory of the package below which all paths are, which stays; empty for the root.
        number: how many names to remove.

    Raises:
        InvalidValue: paths would have no name left or collide, or links would lead out. They are named.
    """
    start = f"{prefix}/" if prefix else ""
    nameless = [path for path in scan.paths() if path != prefix and _rest(path, start, number) is None]
    if nameless:
        named = listed_paths([path.removeprefix(start) for path in nameless])
        raise InvalidValue(_WHAT, str(number), f"no name would be left of {named}; leave them out with --exclude")

    def new(path: str) -> str:
        return _rest(path, start, number) or path

    def in_order(paths: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(map(new, paths), key=tree_order))

    files = sorted((file._replace(path=new(file.path)) for file in scan.files), key=lambda file: tree_order(file.path))
    links = sorted(((new(path), target) for path, target in scan.links), key=lambda link: tree_order(link[0]))
    found = scan._replace(
        files=tuple(files),
        links=tuple(links),
        directories=in_order(scan.directories),
        excluded=in_order(scan.excluded),
        unreadable=in_order(scan.unreadable),
    )
    try:
        check_tree(found.paths())
    except PathRefused as error:
        reason = f"paths would collide: {error.path}: {error.reason}; strip fewer, or add the directories one by one"
        raise InvalidValue(_WHAT, str(number), reason) from error
    others = (path[len(start) :] for path in (*(file.path for file in files), *found.directories))
    if escaping := escaping_links({path[len(start) :]: target for path, target in links}, others):
        reason = f"links would lead out of the package: {listed_paths(escaping)}; leave them out with --links skip"
        raise InvalidValue(_WHAT, str(number), reason)
    return found


def _rest(path: str, start: str, number: int) -> str | None:
    """Return a path without its first names after `start`; None if no name is left."""
    names = path.removeprefix(start).split("/")[number:]
    return start + "/".join(names) if names else None
