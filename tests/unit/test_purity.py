"""The lines between the rooms: what each package may import, read from its source, and what importing it does.

The protocols may import only what is listed here, so whatever is new asks for a decision. Imports for the type checker
alone count as well, since annotations are read at run time.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path

import pytest
from msgspec import Struct

import artifactstore
import artifactstore_protocols

PROTOCOLS = Path(*artifactstore_protocols.__path__)
ACTORS = Path(*artifactstore.__path__)

PURE = {
    "bisect",
    "blake3",
    "cbor2",
    "collections",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "math",
    "copy",
    "msgspec",
    "operator",
    "re",
    "rfc8785",
    "types",
    "typing",
    "unicodedata",
    # Of these modules, names that do no more.
    "base64.b64decode",
    "base64.b64encode",
    "datetime.UTC",
    "datetime.datetime",
    "datetime.timedelta",
    "io.BytesIO",
    "urllib.parse.quote",
}
"""Nothing in these reads a clock, a file or a random source, or runs anything beside the caller."""

CLOCKS = {"now", "today", "utcnow"}
"""Methods of `datetime` and `date` that read the clock."""

WORLDLY_CALLS = {"open", "input", "print", "exec", "eval", "compile", "breakpoint", "__import__", "id", "hash"}
"""Built-in ways to the outside, and two whose answers differ from one process to the next."""

HEAVY = {"alembic", "asyncpg", "aiosqlite", "hypercorn", "prometheus_client", "quart", "rich", "sqlalchemy", "typer"}


def modules(room: Path) -> Iterator[tuple[str, ast.Module]]:
    """Every module of a package: its full name and its source."""
    for path in sorted(room.rglob("*.py")):
        parts = path.relative_to(room.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text(), str(path))


def imports(name: str, tree: ast.Module) -> Iterator[str]:
    """Full names of all modules, or of names in them, that a module imports anywhere in its source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = resolve_name("." * node.level + (node.module or ""), name)
            yield from (f"{home}.{alias.name}" for alias in node.names)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def violations(room: Path, inside: tuple[str, ...], allowed: tuple[str, ...]) -> list[str]:
    """Imports of modules in `inside`, that are not of something in `allowed`."""
    return [
        f"{name} imports {imported}"
        for name, tree in modules(room)
        if within(name, *inside)
        for imported in imports(name, tree)
        if not within(imported, *allowed)
    ]


def test_the_protocols_import_only_what_is_pure() -> None:
    assert violations(PROTOCOLS, ("artifactstore_protocols",), ("artifactstore_protocols", *PURE)) == []


@pytest.mark.slow
def test_the_protocols_call_nothing_that_reaches_outside() -> None:
    called = [
        f"{name}:{node.lineno} calls {node.func.id}"
        for name, tree in modules(PROTOCOLS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WORLDLY_CALLS
    ]
    called += [
        f"{name}:{node.lineno} reads the clock"
        for name, tree in modules(PROTOCOLS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS
    ]
    assert called == []


@pytest.mark.slow
def test_only_the_data_plane_and_backends_import_backends() -> None:
    entitled = ("artifactstore.dataplane", "artifactstore.backends")
    importers = {
        name
        for name, tree in modules(ACTORS)
        for imported in imports(name, tree)
        if within(imported, "artifactstore.backends")
    }
    assert "artifactstore.dataplane.local" in importers
    assert [name for name in importers if not within(name, *entitled)] == []


@pytest.mark.slow
def test_supervision_knows_nothing_of_artifacts() -> None:
    supervision = ("artifactstore.supervision", "artifactstore_protocols.supervision")
    allowed = (*supervision, "msgspec", "trio", *sys.stdlib_module_names - {"asyncio"})
    assert violations(PROTOCOLS, supervision, allowed) == []
    assert violations(ACTORS, supervision, allowed) == []


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import trio.lowlevel", "trio.lowlevel"),
        ("from trio import lowlevel", "trio.lowlevel"),
        ("def late():\n    import os.path as p", "os.path"),
        ("from . import sibling", "package.sibling"),
        ("from .sibling import name", "package.sibling.name"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio", "asyncio"),
    ],
)
def test_imports_are_seen_wherever_they_stand(source: str, imported: str) -> None:
    assert imported in set(imports("package", ast.parse(source)))


def test_what_is_said_is_a_frozen_value_and_an_error_is_itself_alone() -> None:
    changing: list[str] = []
    for name, _ in modules(PROTOCOLS):
        for found in vars(import_module(name)).values():
            if not isinstance(found, type) or found.__module__ != name:
                continue
            if issubclass(found, BaseException):
                # Errors that compare by their facts could not be put into a set, nor told apart in a group.
                assert found.__hash__ is BaseException.__hash__, found
            elif issubclass(found, Struct) and not found.__struct_config__.frozen:
                changing.append(f"{name}.{found.__name__}")
    assert changing == [
        "artifactstore_protocols.judging.Judged",
        *(
            f"artifactstore_protocols.state.{name}"
            for name in ("PackageState", "ContentState", "StoreTotals", "LogState")
        ),
        "artifactstore_protocols.views._Fold",
    ]


def loaded_by(statement: str) -> list[str]:
    """Which modules a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("package", ["artifactstore", "artifactstore_protocols"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    loaded = loaded_by(f"import {package}")
    assert package in loaded
    assert HEAVY.intersection(loaded) == set()


@pytest.mark.slow
def test_what_embeds_a_store_loads_no_server_no_shell_and_no_migrations() -> None:
    loaded = loaded_by("from artifactstore import Registry, Settings, open_registry")
    assert HEAVY.intersection(loaded) == {"sqlalchemy"}


def test_importing_every_protocol_loads_no_event_loop_and_nothing_heavy() -> None:
    names = [name for name, _ in modules(PROTOCOLS)]
    loaded = loaded_by(f"import {', '.join(names)}")
    assert set(names) <= set(loaded)
    assert (HEAVY | {"trio", "asyncio", "artifactstore"}).intersection(loaded) == set()


@pytest.mark.slow
def test_importing_the_packages_leaves_asyncio_as_it_was() -> None:
    program = """
import asyncio
policy = asyncio.get_event_loop_policy()
factories = asyncio.new_event_loop, asyncio.run, asyncio.get_running_loop
import artifactstore_protocols
from artifactstore import Registry, Settings, open_registry
assert asyncio.get_event_loop_policy() is policy
assert (asyncio.new_event_loop, asyncio.run, asyncio.get_running_loop) == factories
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
