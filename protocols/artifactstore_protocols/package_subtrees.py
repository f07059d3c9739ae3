"""The texts that name a part of a package: PACKAGE:SUBTREE.

PACKAGE has one of the forms of `package_references`. SUBTREE is the path of a directory, a file or a link in the
package; an empty one is the whole package. Names, tags and ids have no colon, so the first colon after PACKAGE divides
the text:

    text                                    package                       subtree
    nightly:docs                            nightly                       docs
    nightly@{1}:a:b                         nightly@{1}                   a:b
    nightly~1:docs                          nightly~1                     docs
    nightly@2026-11-28T14:30:docs           nightly@2026-11-28T14:30      docs
    tag:release-4:docs                      tag:release-4                 docs
    manifest:blake3:4f…:docs                manifest:blake3:4f…           docs
    tree:9c…:docs                           tree:9c…                      docs

A time takes as many digits as it can: after `14:30`, `:05` is seconds. A text that begins with `tag:`, `manifest:` or
`tree:` has that form; a part of a package named `tree` is `tree@latest:docs`.
"""

import re
from typing import Final

__all__ = ["split_subtree"]

_SCHEME: Final = re.compile(r"(tag:[^:]*|(?:manifest|tree):(?:(?:blake3|sha256):)?[^:]*)(?::(.*))?", re.DOTALL)
_MOMENT: Final = re.compile(
    r"([^:@]*@[0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?(?:~[0-9]*)*)"
    r"(?::(.*))?",
    re.DOTALL,
)


def split_subtree(text: str) -> tuple[str, str]:
    """Return the package and the subtree that a text names. The module docstring has the rules.

    Nothing is checked: the package may not exist, and the subtree may be no path. Slashes at its end are removed.
    """
    for form in (_SCHEME, _MOMENT):
        if (found := form.fullmatch(text)) is not None:
            return found[1], (found[2] or "").rstrip("/")
    package, _, subtree = text.partition(":")
    return package, subtree.rstrip("/")
