"""artifactstore: a content-addressed artifact store built as supervised actors on trio.

`open_registry` runs a store inside a trio program; `artifactstore.aio` and `artifactstore.blocking` offer the same to
asyncio and to plain programs. Importing this package starts nothing and loads nothing heavy: names are loaded when
they are first used.
"""

TYPE_CHECKING = False  # as type checkers take it; `typing` itself takes a good part of the time of a start to load
if TYPE_CHECKING:
    from artifactstore.config import Settings
    from artifactstore.open import open_registry, run_registry
    from artifactstore.registry import Registry

__all__ = ["Registry", "Settings", "open_registry", "run_registry"]

_HOMES = {"Registry": "registry", "Settings": "config", "open_registry": "open", "run_registry": "open"}


if not TYPE_CHECKING:  # a checker must not accept just any name

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - likewise

        return getattr(import_module(f"artifactstore.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
