"""Finds the route of a request by its path, as the client wrote it: a slash within a value is written `%2F`."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from artifactstore.http.api.model import Route

__all__ = ["OPENAPI_PATH", "is_of_api", "is_page", "match", "openapi_path", "parameters_of", "raw_path"]

OPENAPI_PATH: Final = "/openapi.json"
LOGIN_PATH: Final = "/login"
PACKAGES_PATH: Final = "/packages"

_PREFIX: Final = "/v1"
_PAGES: Final = ("/packages", "/log")
_PARAMETER: Final = re.compile(r"\{(\w+)(\.\.\.)?\}")
_SCHEME: Final = "://"


def is_of_api(path: str) -> bool:
    """Return whether the API answers a path, also if only to say that there is nothing."""
    return path in {OPENAPI_PATH, _PREFIX} or path.startswith(f"{_PREFIX}/")


def is_page(path: str) -> bool:
    """Return whether a page of the API answers a path, also if only to say that there is nothing."""
    return any(path == each or path.startswith(f"{each}/") for each in _PAGES)


def raw_path(target: bytes) -> str:
    """Return the path of a request target with its percent-encoding, without a scheme, an authority and a query."""
    text = target.decode("latin-1").partition("?")[0]
    if not text.startswith("/") and _SCHEME in text:
        _authority, slash, below = text.partition(_SCHEME)[2].partition("/")
        return f"{slash}{below}" or "/"
    return text


def parameters_of(template: str) -> Sequence[str]:
    """Return the names of the parameters of a path template."""
    return [name for name, _rest in _PARAMETER.findall(template)]


def openapi_path(template: str) -> str:
    """Return a path template in the form of OpenAPI, which knows no parameter with slashes."""
    return template.replace("...}", "}")


def match(routes: Sequence[Route[Any]], path: str) -> Mapping[str, tuple[Route[Any], Mapping[str, str]]]:
    """Return the routes for a raw path by method, each with the values of its parameters.

    A template without parameters comes before one with. No two templates match one path otherwise.
    """
    found: dict[str, tuple[Route[Any], Mapping[str, str]]] = {}
    for route in sorted(routes, key=lambda each: len(parameters_of(each.template))):
        if route.method not in found and (values := _values(route.template, path)) is not None:
            found[route.method] = route, values
    return found


def _values(template: str, path: str) -> Mapping[str, str] | None:
    """Return the decoded values of the parameters; None if the path does not fit, or a value is no UTF-8."""
    if (fits := _pattern(template).fullmatch(path)) is None:
        return None
    try:
        return {name: unquote_to_bytes(value.encode("latin-1")).decode() for name, value in fits.groupdict().items()}
    except UnicodeDecodeError:
        return None


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts: list[str] = []
    end = 0
    for found in _PARAMETER.finditer(template):
        parts += [re.escape(template[end : found.start()]), f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})"]
        end = found.end()
    return re.compile("".join([*parts, re.escape(template[end:])]), re.DOTALL)
