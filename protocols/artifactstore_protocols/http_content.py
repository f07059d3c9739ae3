"""Headers of an HTTP answer that follow from a file alone: its type, its name, its digest, and what it may do.

Anybody who may write can store a page with a script. So a browser shows only types that hold no script, and saves all
others. A policy takes scripts, forms, requests and the origin of the service away from what is shown anyway.
"""

import re
from base64 import b64encode
from typing import Final
from urllib.parse import quote

__all__ = ["CONTENT_POLICY", "content_disposition", "entity_tag", "is_shown", "repr_digest"]

_NOTHING: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
CONTENT_POLICY: Final = f"{_NOTHING}; style-src 'unsafe-inline'; sandbox"
"""The `Content-Security-Policy` of every file. A browser's own viewer of an image needs its inline style."""

_SHOWN: Final = frozenset(
    {
        "application/json",
        "application/x-ndjson",
        "audio/mpeg",
        "audio/wav",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/markdown",
        "text/plain",
        "text/tab-separated-values",
        "video/mp4",
        "video/webm",
    }
)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9!#$&+^_`{}|~.() ,;=@-]+", re.ASCII)
_OTHERS: Final = re.compile(r"[^A-Za-z0-9!#$&+^_`{}|~.() ,;=@-]", re.ASCII)
_UNQUOTED: Final = "!#$&+^`|~"
"""The characters that RFC 8187 allows unescaped, beside letters, digits, `-`, `.`, `_` and `~`."""


def is_shown(media_type: str) -> bool:
    """Return whether a browser may show a file of this type: it holds no script. Parameters do not count."""
    return media_type.partition(";")[0].strip().lower() in _SHOWN


def content_disposition(name: str, *, shown: bool) -> str:
    """Return `Content-Disposition` (RFC 6266) with a file name: `inline` if the file may be shown, or `attachment`.

    A name that is not plain ASCII is given twice: exactly for clients that know RFC 8187, and with `_` for each
    character that others could misread.
    """
    kind = "inline" if shown else "attachment"
    if _PLAIN_NAME.fullmatch(name):
        return f'{kind}; filename="{name}"'
    return f"{kind}; filename=\"{_OTHERS.sub('_', name)}\"; filename*=UTF-8''{quote(name, safe=_UNQUOTED)}"


def entity_tag(content_address: str) -> str:
    """Return the strong `ETag` of a content: its address in quotes."""
    return f'"{content_address}"'


def repr_digest(sha256: str) -> str:
    """Return `Repr-Digest` (RFC 9530) of a whole file from its SHA-256 as `sha256:HEX` or as hex alone.

    RFC 9530 has no name for BLAKE3, so only the SHA-256 is given.
    """
    digest = bytes.fromhex(sha256.rpartition(":")[2])
    return f"sha-256=:{b64encode(digest).decode()}:"
