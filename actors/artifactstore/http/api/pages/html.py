"""How a page is rendered: by a template that escapes every value, with headers that let it load only from the service.

Text of packages reaches a browser as text, and never as markup, a script or the target of a form.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from artifactstore.cli.output import size_text
from artifactstore.environment import environment, in_thread
from artifactstore.http.api.model import HTML, Answer
from artifactstore.http.api.problems import Problem
from artifactstore.http.page import TEMPLATES
from artifactstore.http.shortcut import HTML_HEADERS
from artifactstore.json_output import Json, json_text, timestamp
from artifactstore.stats_text import content_text
from artifactstore_protocols.moments import age_text
from artifactstore_protocols.records import PackageRecord

__all__ = ["PAGE_HEADERS", "error_page", "html_text", "page", "with_query"]

PAGE_HEADERS: Final[Mapping[str, str]] = {**HTML_HEADERS, "Content-Type": f"{HTML}; charset=utf-8"}
"""The headers of a page."""

_DIGITS_SHOWN: Final = 12


async def page(template: str, status: HTTPStatus = HTTPStatus.OK, **values: object) -> Answer:
    """Return a page as the answer to a request.

    Args:
        template: the file name of its template.
        status: the HTTP status.
        values: the values of the template.
    """
    text = await in_thread(partial(html_text, template, **values))
    return Answer(text.encode(errors="replace"), status, PAGE_HEADERS)


def html_text(template: str, **values: object) -> str:
    """Return a page as text."""
    return _templates.get_template(template).render(now_us=environment.get().now_us(), **values)


def error_page(problem: Problem) -> bytes:
    """Return an error as a page, which says the same as the problem does."""
    values = {"title": problem.title, "detail": problem.detail, "status": int(problem.status), "code": problem.code}
    return html_text("error.html", **values).encode(errors="replace")


def with_query(path: str, values: Mapping[str, str | Sequence[str]]) -> str:
    """Return a path with a query of those values that say something."""
    query = urlencode({name: value for name, value in values.items() if value}, doseq=True)
    return f"{path}?{query}" if query else path


def _content(package: PackageRecord) -> str:
    return content_text(package.files, package.links, package.directories)


def _short(digest: str) -> str:
    algorithm, _, digits = digest.partition(":")
    return f"{algorithm}:{digits[:_DIGITS_SHOWN]}…"


def _ago(at_us: int, now_us: int) -> str:
    return f"{age_text(now_us - at_us)} ago" if at_us <= now_us else f"in {age_text(at_us - now_us)}"


def _value_text(value: Json) -> str:
    return value if isinstance(value, str) else json_text(value)


_templates: Final = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_filters: Mapping[str, Any] = {
    "ago": _ago,
    "at": timestamp,
    "content": _content,
    "escaped_path": partial(quote, safe="/"),
    "escaped_part": partial(quote, safe=""),
    "short": _short,
    "size": size_text,
    "value_text": _value_text,
}
_templates.filters.update(_filters)
