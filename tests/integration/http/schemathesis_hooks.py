"""What schemathesis checks here in addition to its own checks. It loads this file by `SCHEMATHESIS_HOOKS`."""

from http import HTTPStatus
from typing import Any

import schemathesis


@schemathesis.check
def unavailable_only_before_a_sequence(_context: object, response: Any, case: Any) -> None:  # noqa: ANN401 - its types
    """The one 503 is for a `min_sequence` that the log has not reached."""
    if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE and case.method != "HEAD":
        assert response.json()["code"] == "sequence_not_reached"


@schemathesis.serializer("application/offset+octet-stream", "application/cbor-seq")
def as_bytes(_context: object, value: Any) -> bytes:  # noqa: ANN401 - whatever was generated
    """Bodies of bytes are sent as they were generated, which is rarely what a route takes."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")
