"""Errors hold their facts, say what to do, and are importable from one place."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from string import Formatter
from typing import get_type_hints

import pytest

from artifactstore import errors
from artifactstore.errors import (
    AmbiguousPackage,
    ArtifactStoreError,
    BlocksEventLoop,
    CopyDiffers,
    FileNotInPackage,
    LinksLeadOut,
    NotFinalized,
    PackageBusy,
    PathsCollide,
    PathsNotInPackage,
    Refusal,
    SameStore,
    StoreClosed,
    TargetRefused,
    WaitsForItself,
    WrongEventLoop,
    WrongProcess,
)
from documents import DOCUMENTS, ROOT, blocks


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AmbiguousPackage("n", ("1", "2"), ("n, open", "m, open")), "use the id of one: 1 (n, open), 2 (m, open) ("),
        (AmbiguousPackage("n", ("1",), ("n, open",), more=True), "1 (n, open) and others (newest first)"),
        (FileNotInPackage("p", "f"), "package p has no 'f'"),
        (NotFinalized("p"), "finalize it first"),
        (TargetRefused("/t", "it is full"), "cannot write to '/t': it is full"),
        (PackageBusy("p", 2), "2 ingest(s) under way"),
        (PathsNotInPackage("p", ("a", "b"), "docs"), "has no a, b below 'docs'; `artifactstore tree p`"),
        (PathsCollide(("a/x", "b/x"), 1), "their first 1 names, paths collide: a/x, b/x; strip fewer"),
        (
            LinksLeadOut(("a",), ("../b",)),
            "out of what is exported: a -> ../b; export a directory above, or choose `--links",
        ),
        (SameStore("db"), "name another store"),
        (CopyDiffers("p", "sha256:1", "sha256:2"), "have tree digest sha256:2, not sha256:1; no copy was finalized"),
        (StoreClosed(), "open_registry"),
        (WaitsForItself(), "another thread"),
        (WrongEventLoop("trio", "asyncio"), "use open_registry of artifactstore.aio there"),
        (WrongEventLoop("trio", "no event loop"), "a worker thread of the store's own program comes by"),
        (WrongEventLoop("trio", "trio"), "another run of trio"),
        (WrongEventLoop("asyncio", "no event loop"), "use open_registry of artifactstore.blocking there"),
        (BlocksEventLoop("trio"), "use open_registry of artifactstore there"),
        (BlocksEventLoop("asyncio"), "use open_registry of artifactstore.aio there"),
        (WrongProcess(42), "process 42"),
    ],
)
def test_an_error_says_what_to_do(error: ArtifactStoreError, words: str) -> None:
    assert words in str(error)


FRONT_DOORS = {"cli", "http"}
"""Their errors end a command or answer a request; no caller of the library meets them."""


def defined_errors() -> dict[str, str]:
    """Every class of a `Refusal` that the library's modules define, with its module."""
    found: dict[str, str] = {}
    for room in (ROOT / "actors", ROOT / "protocols"):
        for path in sorted(room.rglob("*.py")):
            parts = path.relative_to(room).with_suffix("").parts
            defines = any(isinstance(node, ast.ClassDef) for node in ast.parse(path.read_text()).body)
            if defines and not FRONT_DOORS & set(parts):
                name = ".".join(parts).removesuffix(".__init__")
                classes = [value for value in vars(import_module(name)).values() if isinstance(value, type)]
                found |= {
                    error.__name__: name
                    for error in classes
                    if issubclass(error, errors.Refusal) and error.__module__ == name
                }
    return found


@pytest.mark.slow
def test_every_error_is_importable_from_one_place() -> None:
    defined = defined_errors()
    assert {"PackageNotFound", "StorageFull", "AskTimeout", "DatabaseBusy", "StoreClosed"} <= set(defined)
    missing = {name: module for name, module in defined.items() if name not in errors.__all__}
    assert missing == {}, "add these to artifactstore.errors"
    assert set(errors.__all__) == set(defined)
    for name, module in defined.items():
        assert getattr(errors, name) is getattr(import_module(module), name)
    assert set(errors.__all__) <= set(dir(errors))
    with pytest.raises(AttributeError, match="no attribute 'PackageLost'"):
        _ = errors.PackageLost  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType,reportUnknownVariableType]


def test_importing_the_errors_loads_none_of_the_actors() -> None:
    code = "import sys, artifactstore.errors as e; e.PackageNotFound; print('trio' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


def test_a_template_uses_only_what_its_error_has() -> None:
    classes: list[type[Refusal]] = [getattr(errors, name) for name in errors.__all__]
    used = {
        (error, field) for error in classes for _, field, _, _ in Formatter().parse(error.template) if field is not None
    }
    assert (errors.NotFinalized, "self.package_id") in used
    for error, field in used:
        has = {*dir(error), *get_type_hints(error)}
        assert field.removeprefix("self.") in has, error


ALONE = {ROOT / "protocols" / "README.md"}
"""What is installed without the library, and so without this module."""


@pytest.mark.parametrize("document", sorted({*DOCUMENTS} - ALONE), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_documents_import_errors_from_there(document: Path) -> None:
    programs = [ast.parse(block.code) for block in blocks(document) if block.language == "python"]
    imports = [node for program in programs for node in ast.walk(program) if isinstance(node, ast.ImportFrom)]
    elsewhere = [
        f"{node.module}.{name.name}"
        for node in imports
        for name in node.names
        if name.name in errors.__all__ and node.module != "artifactstore.errors"
    ]
    assert elsewhere == []


def test_no_error_is_a_dataclass_whose_methods_are_compiled_at_import() -> None:
    assert [name for name in errors.__all__ if hasattr(getattr(errors, name), "__dataclass_fields__")] == []
