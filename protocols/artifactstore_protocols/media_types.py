"""Media types by file suffix, from a table that is the same on every host.

The standard library's `mimetypes` reads files of the host, so two hosts could describe the same tree differently. The
table is short on purpose: it covers build outputs, reports, models and archives. File contents are never inspected. A
caller can pass another media type, which `check_media_type` validates.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from artifactstore_protocols.errors import InvalidValue

__all__ = ["DEFAULT_MEDIA_TYPE", "MEDIA_TYPES", "check_media_type", "media_type_of"]

DEFAULT_MEDIA_TYPE = "application/octet-stream"
"""The media type of a file whose suffix is not in the table."""

_SUFFIXES_BY_TYPE: dict[str, str] = {
    # Text, reports and configuration.
    "text/plain": ".txt .log .ini .cfg .conf .md5 .sha1 .sha256 .sha512",
    "text/markdown": ".md .markdown",
    "text/html": ".html .htm",
    "text/css": ".css",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "text/javascript": ".js .mjs",
    "text/x-python": ".py .pyi",
    "text/x-c": ".c .h .cc .cpp .hpp",
    "text/x-diff": ".diff .patch",
    "application/json": ".json .map",
    "application/ld+json": ".jsonld",
    "application/geo+json": ".geojson",
    "application/sarif+json": ".sarif .sarif.json",
    "application/spdx+json": ".spdx.json",
    "application/vnd.cyclonedx+json": ".cdx.json",
    "application/vnd.cyclonedx+xml": ".cdx.xml",
    "application/x-ndjson": ".jsonl .ndjson",
    "application/x-ipynb+json": ".ipynb",
    "application/yaml": ".yaml .yml",
    "application/toml": ".toml",
    "application/xml": ".xml .xsd",
    "application/sql": ".sql",
    "application/x-sh": ".sh",
    "application/pdf": ".pdf",
    # Images, sound, video and fonts.
    "image/svg+xml": ".svg",
    "image/png": ".png",
    "image/jpeg": ".jpg .jpeg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/tiff": ".tif .tiff",
    "image/vnd.microsoft.icon": ".ico",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "font/ttf": ".ttf",
    "font/woff2": ".woff2",
    # Data sets and models. Model formats without a registered type are octet streams.
    "application/cbor": ".cbor",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.apache.arrow.file": ".arrow .feather",
    "application/x-hdf5": ".h5 .hdf5",
    "application/vnd.sqlite3": ".sqlite .sqlite3",
    # Archives, packages and programs.
    "application/zip": ".zip .whl .npz",
    "application/gzip": ".gz .tgz",
    "application/zstd": ".zst",
    "application/x-bzip2": ".bz2",
    "application/x-xz": ".xz",
    "application/x-7z-compressed": ".7z",
    "application/x-tar": ".tar",
    "application/java-archive": ".jar .war",
    "application/vnd.android.package-archive": ".apk",
    "application/vnd.debian.binary-package": ".deb",
    "application/x-rpm": ".rpm",
    "application/wasm": ".wasm",
    "application/x-sharedlib": ".so",
    "application/vnd.microsoft.portable-executable": ".exe .dll",
    # Keys and signatures.
    "application/x-pem-file": ".pem",
    "application/pgp-signature": ".asc .sig",
}

MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {suffix: kind for kind, suffixes in _SUFFIXES_BY_TYPE.items() for suffix in suffixes.split()}
)
"""Media types by suffix. A suffix is in lower case and includes its dot."""

_NAME = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(f"{_NAME}/{_NAME}")


def media_type_of(path: str) -> str:
    """Return the media type of the longest known suffix of the last part of `path`, ignoring case.

    A leading dot begins the name of a hidden file, not a suffix: `.json` has no suffix.
    """
    name = path.rpartition("/")[2]
    dot = name.find(".", 1)
    return _of_suffixes(name[dot:]) if dot > 0 else DEFAULT_MEDIA_TYPE


@lru_cache(1024)
def _of_suffixes(text: str) -> str:
    text = text.lower()
    while text:
        if (known := MEDIA_TYPES.get(text)) is not None:
            return known
        dot = text.find(".", 1)
        text = text[dot:] if dot > 0 else ""
    return DEFAULT_MEDIA_TYPE


def check_media_type(text: str) -> str:
    """Return `text` unchanged if it is `type/subtype` in lower case, with names by RFC 6838 §4.2 and no parameters.

    Names ignore case, but manifests are compared byte by byte. A single spelling keeps equal types equal. Parameters
    are refused, as in the `mediaType` of an OCI descriptor.

    Raises:
        InvalidValue: `text` does not have this form.
    """
    if _MEDIA_TYPE.fullmatch(text) is None:
        raise InvalidValue("media type", text[:200], "write it as type/subtype, in lower case, without parameters")
    return text
