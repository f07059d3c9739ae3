"""Errors of the library from the problem documents of a service, by their stable codes."""

from collections.abc import Mapping
from functools import cache
from typing import cast

import msgspec

from artifactstore import errors
from artifactstore.client.errors import ServiceRefused
from artifactstore_protocols.error_codes import code_of
from artifactstore_protocols.supervision import Refusal

__all__ = ["error_of"]

_SHOWN_CHARACTERS = 500
_NOTHING: Mapping[str, object] = {}


def error_of(status: int, body: bytes) -> Refusal:
    """Return the error that an answer reports.

    It is the library's own if its code and its values give the message that the service wrote. Otherwise it is a
    `ServiceRefused`, such as for a code that this release does not know.

    Args:
        status: the status of the answer.
        body: its body: a problem document by RFC 9457, or anything.
    """
    try:
        found: object = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        found = None
    problem: Mapping[str, object] = cast("Mapping[str, object]", found) if isinstance(found, dict) else _NOTHING
    code, detail = problem.get("code", ""), problem.get("detail", "")
    if not isinstance(code, str) or not isinstance(detail, str):
        code = detail = ""
    kind = _class_of(code)
    details = problem.get("details", {})
    if kind is not None and isinstance(details, dict):
        try:
            error = kind(**_plain(cast("Mapping[str, object]", details)))
            if str(error) == detail:
                return error
        except Exception:  # noqa: S110 - a constructor can raise anything for values that it does not expect
            pass
    shown = "".join(each if each.isprintable() else " " for each in detail[:_SHOWN_CHARACTERS])
    return ServiceRefused(status, code[:_SHOWN_CHARACTERS], shown or "it does not say why")


def _class_of(code: str) -> type[Refusal] | None:
    """Return the class of errors with a code; None without one. It loads no more modules than it takes."""
    name = _names().get(code)
    kind: object = None if name is None else getattr(errors, name)
    return kind if isinstance(kind, type) and issubclass(kind, Refusal) else None


@cache
def _names() -> Mapping[str, str]:
    """Return the names of the library's errors by their codes."""
    return {code_of(name): name for name in errors.__all__}


def _plain(details: Mapping[str, object]) -> dict[str, object]:
    """Return the values of an error as its fields have them: sequences as tuples."""
    return {
        name: tuple(cast("list[object]", value)) if isinstance(value, list) else value
        for name, value in details.items()
    }
