"""The judgement of a source's symbolic links: those that a package cannot hold, each with the reason."""

from collections.abc import Iterable, Mapping
from itertools import chain

from artifactstore.ingest.refusals import RefusedEntry
from artifactstore_protocols.links import LinkPolicy, escaping_links, target_flaw

__all__ = ["refused_links"]


def refused_links(
    links: Mapping[str, str], others: Iterable[str], policy: LinkPolicy, start: int = 0
) -> tuple[RefusedEntry, ...]:
    """Return the links that a package cannot hold.

    Args:
        links: path and target of each link.
        others: the paths of all other entries.
        policy: what the caller wants with links.
        start: the number of characters with which all paths begin, and which name the directory that no link may leave.
    """
    if policy is LinkPolicy.REFUSE:
        flaws = dict.fromkeys(links, "is a link")
    else:
        flaws = {path: flaw for path, target in links.items() if (flaw := target_flaw(target)) is not None}
        sound = {path[start:]: target for path, target in links.items() if path not in flaws}
        below = (path[start:] for path in chain(others, flaws))
        prefix = next(iter(links), "")[:start]
        flaws |= dict.fromkeys((prefix + path for path in escaping_links(sound, below)), "leaves the tree")
    return tuple(RefusedEntry(path, "link", f"-> {links[path]!r} {flaw}") for path, flaw in flaws.items())
