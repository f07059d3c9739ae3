"""The fields of a package as text for people; JSON has them as they are stored."""

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Final

from artifactstore.cli.metadata_options import metadata_text
from artifactstore.cli.output import size_text, text_of
from artifactstore_protocols.moments import age_text

if TYPE_CHECKING:
    from artifactstore.json_output import Json
    from artifactstore_protocols.records import PackageRecord

__all__ = ["package_fields"]

_LEFT_OUT: Final = frozenset({"version"})
"""Fields that only programs need: the version tells two changes of an open package apart."""


def package_fields(record: "PackageRecord", shown: "Mapping[str, Json]", now_us: int) -> Generator[tuple[str, str]]:
    """Yield the name and the text of each field that says something, sizes with a unit, times without microseconds.

    Args:
        record: the package.
        shown: its fields as JSON.
        now_us: the time in microseconds since 1970 UTC.
    """
    described = {"metadata": record.metadata, "annotations": record.annotations}
    for name, value in shown.items():
        at_us = getattr(record, f"{name}_us", None)
        if name in _LEFT_OUT or value is None or value in ([], {}) or (record.is_gone and name == "expires_at"):
            continue
        if name in described:
            yield name, metadata_text(described[name])
        elif name == "bytes":
            yield name, size_text(record.bytes)
        elif name == "retention_duration_us":
            yield name.removesuffix("_us"), age_text(record.retention_duration_us or 0)
        elif name.endswith("_at") and isinstance(at_us, int) and isinstance(value, str):
            age = f"{age_text(now_us - at_us)} ago" if at_us <= now_us else f"in {age_text(at_us - now_us)}"
            yield name, f"{value[:19].replace('T', ' ')} UTC, {age}"
        else:
            yield name, text_of(value)
