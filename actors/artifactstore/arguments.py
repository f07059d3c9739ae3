"""Check the arguments of public functions against their annotations, before anything is sent or opened.

A wrong argument raises `InvalidValue` in the caller. No actor receives the value.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Any, cast, get_origin, get_type_hints

from artifactstore.os_paths import path_text
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.selection import Selection
from artifactstore_protocols.sources import Source, SourceTree
from artifactstore_protocols.typed import Fit, Misfit, checked_value, fit_of

__all__ = ["Sources", "checked", "source_tree"]

type Sources = Path | Source | Sequence[Path | Source]
"""What an ingest reads: a directory, a file, or a `Source`; or several of these."""


def checked[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function so that its arguments are checked, and passed on in their plain form.

    Errors that Python itself detects, such as too many arguments, stay a `TypeError`. The annotations are read at the
    first call. A coroutine function checks when it is awaited, any other function when it is called.
    """
    read = cache(lambda: _fits_of(function))

    def plain(args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[list[object], dict[str, object]]:
        names, fits = read()

        def fitted(name: str, value: object) -> object:
            return checked_value(name, fits[name], value) if name in fits else value

        positional = [*map(fitted, names, args), *args[len(names) :]]
        return positional, {name: fitted(name, value) for name, value in kwargs.items()}

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def call_async(*args: object, **kwargs: object) -> object:
            positional, named = plain(args, kwargs)
            return await cast("Any", function)(*positional, **named)

        return cast("Callable[P, R]", call_async)

    @wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        positional, named = plain(args, kwargs)
        return cast("Any", function)(*positional, **named)

    return cast("Callable[P, R]", call)


def source_tree(
    sources: Sources,
    prefix: str,
    links: LinkPolicy,
    selection: Selection,
    *,
    skip_unreadable: bool,
    strip_components: int,
) -> SourceTree:
    """Return the sources of an ingest as a message has them."""
    several = [sources] if isinstance(sources, Path | Source) else sources
    each = tuple(source if isinstance(source, Source) else Source(path_text(source)) for source in several)
    return SourceTree(each, prefix, links, selection, skip_unreadable, strip_components)


def _fits_of(function: Callable[..., object]) -> tuple[list[str], dict[str, Fit]]:
    """Return the names of a function's positional parameters, and the fit of each annotated one (not `self`)."""
    hints = get_type_hints(inspect.unwrap(function))
    parameters = inspect.signature(function).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY]
    return names, {each.name: fit_of(hints[each.name], _special) for each in parameters if each.name in hints}


def _special(annotation: object) -> Fit | None:
    """Return the fit of a path or a plain function, which `typed` does not know; None for all other annotations."""
    if annotation is Path:
        return _path
    return _plain_function if get_origin(annotation) is Callable else None


def _path(value: object) -> Path:
    if not isinstance(value, Path):
        raise Misfit(value, "give a pathlib.Path")
    path = value if type(value) is type(Path()) else Path(value)
    try:
        text = str(path)
        text.encode(errors="surrogateescape")  # file names that are not UTF-8 contain such surrogates
    except UnicodeEncodeError:
        raise Misfit(value, "no file name holds these surrogates", of_kind=True) from None
    if "\0" in text:
        raise Misfit(value, "a path holds no NUL", of_kind=True)
    return path


def _plain_function(value: object) -> object:
    if not callable(value):
        raise Misfit(value, "give a function, or another callable")
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004 - it is looked at, not tested
        raise Misfit(value, "give a plain function; this one is asynchronous, and it is called without await")
    return value
