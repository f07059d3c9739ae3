"""A wrong message is a type error, under mypy and under pyright: each snippet below must fail on its marked line.

What the documents import must pass, as in a caller's program. `accepted.py` and `documented.py` must pass as a whole:
the ordinary runs of both checkers read them.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from documents import DOCUMENTS, blocks

pytestmark = [pytest.mark.slow]

ROOT = Path(__file__).parents[2]
MARK = "# error"

PREAMBLE = """
from collections.abc import Sequence
from dataclasses import dataclass
from artifactstore.supervision import Actor, ActorRef, ActorSpec, Batched, Message, Refusal, Request, handles

class StoreRole: ...
class OtherRole: ...

@dataclass(frozen=True, slots=True)
class Size(Request[int, StoreRole]):
    key: str

@dataclass(frozen=True, slots=True)
class Hint(Message[StoreRole]):
    text: str

class Store(Actor[StoreRole]):
    @handles(Size)
    async def size(self, message: Size) -> int:
        return len(message.key)
"""

REJECTED: Mapping[str, str] = {
    "a request to an actor of another role": """
        async def use(ref: ActorRef[OtherRole]) -> None:
            await ref.ask(Size("key"))  # error
    """,
    "a message to an actor of another role": """
        async def use(ref: ActorRef[OtherRole]) -> None:
            await ref.tell(Hint("text"))  # error
    """,
    "an ask of a message that has no reply": """
        async def use(ref: ActorRef[StoreRole]) -> None:
            await ref.ask(Hint("text"))  # error
    """,
    "a reply taken for something else": """
        async def use(ref: ActorRef[StoreRole]) -> None:
            text: str = await ref.ask(Size("key"))  # error
    """,
    "a handler that takes another message": """
        class Wrong(Actor[StoreRole]):
            @handles(Size)  # error
            async def size(self, message: Hint) -> int:
                return 0
    """,
    "a handler that replies with another type": """
        class Wrong(Actor[StoreRole]):
            @handles(Size)  # error
            async def size(self, message: Size) -> str:
                return ""
    """,
    "a batched handler that takes one message": """
        class Wrong(Actor[StoreRole]):
            @handles(Size, mode=Batched(1, 1))  # error
            async def size(self, message: Size) -> Sequence[int | Refusal]:
                return [0]
    """,
    "a batched handler that replies with other types": """
        class Wrong(Actor[StoreRole]):
            @handles(Size, mode=Batched(1, 1))  # error
            async def size(self, messages: Sequence[Size]) -> Sequence[str | Refusal]:
                return [""]
    """,
    "a handler of a message without a reply that returns one": """
        class Wrong(Actor[StoreRole]):
            @handles(Hint)  # error
            async def hint(self, message: Hint) -> int:
                return 0
    """,
    "a reference to one role with an actor of another": """
        def spec(ref: ActorRef[OtherRole]) -> ActorSpec[OtherRole]:
            return ActorSpec(ref=ref, factory=Store)  # error
    """,
    "a task started with the wrong arguments": """
        async def work(number: int) -> None: ...
        class Wrong(Actor[StoreRole]):
            async def on_start(self) -> None:
                self.context.start_child("task", work, "one")  # error
    """,
    "an error that there is none of": """
        from artifactstore.errors import PackageLost  # error
    """,
    "a name that the package does not have": """
        from artifactstore import open_store  # error
    """,
    "arguments of other types, at each face": """
        from pathlib import Path
        from artifactstore import Registry
        from artifactstore.aio import AsyncioRegistry
        from artifactstore.blocking import BlockingRegistry

        async def use(registry: Registry, on_asyncio: AsyncioRegistry, plain: BlockingRegistry) -> None:
            await registry.create_package(5)  # error
            await on_asyncio.create_package(5)  # error
            plain.create_package(5)  # error
            plain.ingest_file("p", "f", Path("f"), expected_size="1")  # error
            await on_asyncio.ingest_file("p", "f", "f")  # error
    """,
}


def imports_in(document: Path) -> str:
    """What a document's programs import of this project, each program in a function of its own."""
    programs: list[str] = []
    for number, block in enumerate(block for block in blocks(document) if block.language == "python"):
        found = [node for node in ast.walk(ast.parse(block.code)) if isinstance(node, ast.Import | ast.ImportFrom)]
        lines = [f"    {line}\n" for line in map(ast.unparse, found) if "artifactstore" in line]
        programs += [f"def program_{number}() -> None:\n{''.join(lines)}"] if lines else []
    return "\n".join(programs)


DOCUMENTED: Mapping[str, str] = {
    f"the imports of {document.relative_to(ROOT)}": imports
    for document in DOCUMENTS
    if (imports := imports_in(document))
}

CHECKED = {**REJECTED, **DOCUMENTED}


@pytest.fixture(scope="module")
def snippets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rejected")
    paths: dict[str, Path] = {}
    for index, (name, body) in enumerate(CHECKED.items()):
        paths[name] = folder / f"snippet_{index}.py"
        preamble = PREAMBLE if name in REJECTED else ""
        paths[name].write_text(preamble + dedent(body), encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def found_by_mypy(snippets: Mapping[str, Path]) -> dict[str, set[int]]:
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--cache-dir",
            str(next(iter(snippets.values())).parent / "cache"),
            "--config-file=",
            "--no-error-summary",
            *map(str, snippets.values()),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"MYPYPATH": f"{ROOT / 'actors'}:{ROOT / 'protocols'}", "PATH": ""},
    )
    found: dict[str, set[int]] = {path.name: set() for path in snippets.values()}
    for name, line in re.findall(r"(snippet_\d+\.py):(\d+): error", result.stdout):
        found[name].add(int(line))
    return found


@pytest.fixture(scope="module")
def found_by_pyright(snippets: Mapping[str, Path]) -> dict[str, set[int]]:
    folder = next(iter(snippets.values())).parent
    settings = {
        "typeCheckingMode": "standard",
        "pythonVersion": "3.12",
        "extraPaths": [str(ROOT / "actors"), str(ROOT / "protocols")],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    found: dict[str, set[int]] = {path.name: set() for path in snippets.values()}
    for entry in json.loads(result.stdout)["generalDiagnostics"]:
        if entry["severity"] == "error":
            found[Path(entry["file"]).name].add(entry["range"]["start"]["line"] + 1)
    return found


def marked(path: Path) -> set[int]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, start=1) if line.endswith(MARK)}


@pytest.mark.parametrize("name", CHECKED)
def test_mypy_finds_what_is_marked(
    name: str, snippets: Mapping[str, Path], found_by_mypy: Mapping[str, set[int]]
) -> None:
    assert found_by_mypy[snippets[name].name] == marked(snippets[name])


def test_documents_import_something() -> None:
    assert {"the imports of README.md", "the imports of docs/how-to/embedding.md"} <= set(DOCUMENTED)


@pytest.mark.parametrize("name", CHECKED)
def test_pyright_finds_what_is_marked(
    name: str, snippets: Mapping[str, Path], found_by_pyright: Mapping[str, set[int]]
) -> None:
    assert found_by_pyright[snippets[name].name] == marked(snippets[name])
