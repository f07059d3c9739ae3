"""Records as JSON for scripts: plain keys, times in RFC 3339, digests as text.

The CLI and the HTTP service both use this module, so that their output is the same.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, cast

from msgspec import Struct

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent
    from artifactstore_protocols.records import HealthReport, ReplayReport

__all__ = [
    "Json",
    "event_to_json",
    "flagged_text",
    "health_to_json",
    "json_key",
    "json_text",
    "replay_to_json",
    "timestamp",
    "to_json",
]

type Json = bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None

# C1 controls, line and paragraph separators, characters that change the direction of writing, and the surrogates that
# stand for bytes that are not UTF-8. JSON itself escapes C0 controls.
_UNSAFE = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(us: int) -> str:
    """Return microseconds since the epoch as RFC 3339 text in UTC, always with six fractional digits."""
    return (_EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def flagged_text(counts: Mapping[str, int]) -> str:
    """Return the numbers of flagged objects by problem as text, such as `1 damaged and 2 missing`."""
    return " and ".join(f"{count} {problem}" for problem, count in sorted(counts.items()))


def json_text(value: Json) -> str:
    """Return one line of JSON. Escape only characters that a terminal interprets or that split lines."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def json_key(name: str) -> str:
    """Return the key of a field in JSON: `…_at_us` is `…_at`, and `size_bytes` is `bytes`, as every size in bytes."""
    return name.removesuffix("_us") if name.endswith("_at_us") else name.replace("size_bytes", "bytes")


def to_json(value: object) -> Json:
    """Return a value as JSON: fields get the names of `json_key`, times are RFC 3339, and bytes become hex.

    Raises:
        TypeError: the value, or a part of it, has a type without a JSON form.
    """
    if isinstance(value, Enum):
        return str(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(key): to_json(item) for key, item in items}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, frozenset):
        return [to_json(item) for item in sorted(cast("frozenset[str]", value))]
    if isinstance(value, tuple) and (names := getattr(cast("object", value), "_fields", None)):
        return dict(map(_field, cast("Sequence[str]", names), cast("tuple[object, ...]", value)))
    if isinstance(value, Sequence):
        return [to_json(item) for item in cast("Sequence[object]", value)]
    if isinstance(value, Struct):
        return dict(_field(name, getattr(value, name)) for name in value.__struct_fields__)
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def _field(name: str, value: object) -> tuple[str, Json]:
    """Return a field's name and value as JSON; format times."""
    if name.endswith("_at_us"):
        return json_key(name), timestamp(value) if isinstance(value, int) else None
    return json_key(name), to_json(value)


def event_to_json(stored: "StoredEvent") -> Json:
    """Return an event with its decoded payload; a manifest is reduced to its package and provenance."""
    # Imported here because every command loads this module, and only those that show events need manifests.
    from artifactstore_protocols import manifest  # noqa: PLC0415
    from artifactstore_protocols.event_types import PackageFinalized  # noqa: PLC0415

    event = stored.event
    payload = stored.decode()
    if isinstance(payload, PackageFinalized):
        decoded = manifest.decode(payload.manifest)
        shown: Json = {"package": to_json(decoded.package), "provenance": to_json(decoded.provenance)}
    else:
        shown = to_json(payload)
    return {
        "sequence": stored.sequence,
        "event_id": event.event_id,
        "type": event.type,
        "subject": event.subject,
        "principal": event.principal,
        "recorded_at": timestamp(event.recorded_at_us),
        "payload": shown,
    }


def replay_to_json(report: "ReplayReport") -> Json:
    """Return a replay report as JSON."""
    return {
        "events": report.events,
        "sequence": report.sequence,
        "projection_digest": report.projection_digest,
        "identical": report.identical,
        "repaired_rows": report.repaired_rows,
    }


def health_to_json(report: "HealthReport", answered_at_us: int) -> Mapping[str, Json]:
    """Return a health report as JSON, with every reading's age at `answered_at_us` (microseconds since the epoch)."""
    return {
        "status": "healthy" if report.healthy else "unhealthy",
        "reasons": list(report.reasons),
        "version": report.version,
        "components": {
            part.name: {
                "healthy": part.healthy,
                "detail": part.detail,
                "details": to_json(part.details),
                "latency_s": round(part.latency_s, 6),
                "measured_at": timestamp(part.measured_at_us),
                "age_s": round(max(0, answered_at_us - part.measured_at_us) / 1_000_000, 3),
            }
            for part in report.components
        },
    }
