"""What the documents say, held against the code: links, settings, commands, messages, tables and formats.

That their code blocks run is shown by the integration tests.
"""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from artifactstore.config import ENVIRONMENT
from artifactstore.misspelled_settings import OF_COMMANDS
from artifactstore_protocols import messages
from artifactstore_protocols.supervision import Message
from artifactstore_protocols.views import VIEWS
from documents import DOCUMENTS, ROOT, Block, blocks, headings, links, prose, rows
from reference_pages import PAGES, REFERENCE, settings_page, texts_in

README = ROOT / "README.md"
OPERATOR = ROOT / "docs" / "OPERATOR.md"
BLUEPRINT = ROOT / "docs" / "ARCHITECTURE-BLUEPRINT.md"
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def broken_links(document: Path) -> list[str]:
    """The relative links of a document that lead nowhere: no such file, or no such heading in it."""
    broken: list[str] = []
    for target in links(document):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in headings(file)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_relative_link_resolves(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A title, at last\n[a](page.md#a-title-at-last) [b](#nowhere) [c](gone.md)\n```text\n[d](e.md)\n```\n"
    )
    assert broken_links(page) == ["#nowhere", "gone.md"]


def test_every_document_is_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [README]
    while waiting:
        document = waiting.pop()
        if document not in reached and document in DOCUMENTS:
            reached.add(document)
            waiting += [(document.parent / target.partition("#")[0]).resolve() for target in links(document)]
    assert reached == set(DOCUMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_reference_page_is_what_the_code_says(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run `make docs`"


def test_decisions_are_numbered_without_a_gap_and_titled_by_their_numbers() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]
    for path in DECISIONS:
        assert path.read_text().startswith(f"# {path.name[:4]}: ")
        assert {"context", "decision", "consequences"} <= headings(path)


def test_every_dependency_has_its_reason_in_the_record_of_the_stack() -> None:
    needed = [
        requirement
        for project in (ROOT / "pyproject.toml", ROOT / "protocols" / "pyproject.toml")
        for requirement in tomllib.loads(project.read_text())["project"]["dependencies"]
    ]
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in needed} - {"artifactstore-protocols"}
    shown = " ".join(cells[0].lower() for cells in rows(ROOT / "docs" / "adr" / "0005-technology-stack.md", "Decision"))
    assert {name for name in names if re.search(rf"\b{name}\b", shown) is None} == set()


def test_the_example_environment_has_every_setting_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert dict(line.split("=", 1) for line in lines if line and not line.startswith("#")) == ENVIRONMENT


def source_texts() -> list[str]:
    """Every string in the code."""
    rooms = (ROOT / "actors", ROOT / "protocols")
    return [
        text for room in rooms for path in sorted(room.rglob("*.py")) for text in texts_in(ast.parse(path.read_text()))
    ]


def phrases(message: str) -> list[str]:
    """The runs of words between two values or marks of a message."""
    return [piece.strip() for piece in re.split(r"[^\w ,'-]", message) if len(piece.split()) > 1]


def said_by(message: str, texts: list[str]) -> bool:
    """Whether each run of words of a message is in some text of the code."""
    return all(any(piece in text for text in texts) for piece in phrases(message))


@pytest.mark.slow
def test_every_message_of_the_manual_is_one_of_the_code() -> None:
    texts = source_texts()
    shown = [cells[0].strip("`") for cells in rows(OPERATOR, "Trouble")]
    assert len(shown) > 20
    assert [message for message in shown if not said_by(message, texts)] == []


def test_a_message_that_nothing_says_would_be_found() -> None:
    assert said_by("disk … is full; buy another", ["disk … is full; buy another one"])
    assert not said_by("disk … is full; buy another", ["disk … is full; free room"])


def test_the_blueprint_has_the_projected_tables_column_by_column() -> None:
    shown = {
        cells[0].strip("`"): tuple(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", f"{cells[1]}, {cells[2]}")))
        for cells in rows(BLUEPRINT, "Data model")
    }
    assert shown == {view.name: view.columns for view in VIEWS}
    assert list(shown) == [view.name for view in VIEWS]


def test_the_blueprint_has_every_message() -> None:
    shown = {cells[0].strip("`") for cells in rows(BLUEPRINT, "Message catalogue")}
    known = {name for name, value in vars(messages).items() if isinstance(value, type) and Message in value.__mro__}
    # What is not asked of the core: the HTTP server's own messages, and the bases themselves.
    assert shown == known - {"Message", "Request"} | {"BoundAddresses", "Drain"}


MANUALS = [
    README,
    OPERATOR,
    ROOT / "docs" / "TUTORIAL.md",
    ROOT / "docs" / "RULES.md",
    *sorted((ROOT / "docs" / "how-to").glob("[!t]*.md")),
    ROOT / "docs" / "ASSEMBLY-EXPERIMENT.md",
]
MARKERS = {"run", "run on a store", "run on PostgreSQL", "run by .ci/run", "example output", "example"}
GATE = (ROOT / ".ci" / "run").read_text()


def unmarked(document: Path) -> list[str]:
    """The blocks without a known marker, except pictures."""
    return [
        block.code
        for block in blocks(document)
        if block.language != "mermaid"
        and (block.marker not in MARKERS or (block.language == "python" and not block.run))
    ]


@pytest.mark.parametrize("document", MANUALS, ids=name_of)
def test_every_block_is_run_or_is_marked_as_an_example(document: Path) -> None:
    assert unmarked(document) == [], "mark each of these blocks by a comment above it: see tests/documents.py"


def test_a_block_without_a_mark_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\na\n```\n\n<!-- run -->\n```sh\nb\n```\n<!-- run sometimes -->\n```sh\nc\n```\n"
        "<!-- example output -->\n```text\nd\n```\n<!-- example -->\n```python\ne\n```\n```mermaid\nf\n```\n"
    )
    assert unmarked(page) == ["a\n", "c\n", "e\n"]


def gate_runs(block: Block, document: str) -> bool:
    """Whether the gate runs a block: it names it, or has each of its lines, comments aside."""
    if block.name is not None:
        return re.search(rf"\bblock {re.escape(document)} {re.escape(block.name)}(?!\S)", GATE) is not None
    lines = [line.split("  #")[0].strip() for line in block.code.splitlines()]
    return {line for line in lines if line} <= {line.strip().removesuffix(" &") for line in GATE.splitlines()}


def test_what_the_gate_is_said_to_run_it_runs() -> None:
    gated = [
        (block, name_of(document))
        for document in MANUALS
        for block in blocks(document)
        if block.marker == "run by .ci/run"
    ]
    assert gated
    assert [block.code for block, document in gated if not gate_runs(block, document)] == []
    assert not gate_runs(Block("sh", "make coffee\n", "run by .ci/run", None), "README.md")
    assert not gate_runs(Block("sh", "", "run by .ci/run", "coffee.sh"), "README.md")


def test_every_block_that_has_a_name_is_named_by_a_test() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    names = [
        block.name
        for document in DOCUMENTS
        for block in blocks(document)
        if block.name is not None and block.marker == "run"
    ]
    assert names
    assert [name for name in names if f'"{name}"' not in tests] == []


def environment_names(room: Path) -> set[str]:
    """The variables that code reads: the names it looks up in an environment, and those that start with our own."""
    found: set[str] = set()
    for path in sorted(room.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Constant(value=str(text)):
                    found |= set(re.findall(r"\bARTIFACTSTORE_[A-Z_]+\b", text))
                case ast.Call(func=ast.Attribute(attr="get", value=ast.Attribute(attr="environ")), args=[key, *_]):
                    found |= constant(key)
                case ast.Call(func=ast.Attribute(attr="getenv"), args=[key, *_]):
                    found |= constant(key)
                case ast.Subscript(value=ast.Attribute(attr="environ"), slice=key):
                    found |= constant(key)
                case ast.Compare(left=key, comparators=[ast.Attribute(attr="environ")]):
                    found |= constant(key)
                case _:
                    pass
    return found


def constant(node: ast.expr) -> set[str]:
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else {ast.unparse(node)}


OF_COMPLETION = {"COMP_WORDS", "COMP_CWORD", "_TYPER_COMPLETE_ARGS", "VARIABLE", "_NO_DETECTION"}
"""What the script of a shell, or the program itself, sets for completion. Two constants name such variables."""


@pytest.mark.slow
def test_every_variable_that_the_code_reads_is_in_the_manual_and_in_the_example() -> None:
    read = {name for room in ("actors", "protocols", "migrations") for name in environment_names(ROOT / room)}
    ours = {name for name in read if name.startswith("ARTIFACTSTORE_")}
    assert ours == {*ENVIRONMENT, *OF_COMMANDS}
    for text in (OPERATOR.read_text() + settings_page(), (ROOT / ".env.example").read_text()):
        assert read - OF_COMPLETION - set(re.findall(r"\b[A-Z_]+\b", text)) == set()


def test_a_variable_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(
        "import os\n"
        "os.environ['ONE'], os.environ.get('TWO'), os.getenv('THREE', ''), 'FOUR' in os.environ\n"
        "x = {'ARTIFACTSTORE_FIVE': ''}\n"
        "os.environ.get(HIDDEN)\n"
    )
    assert environment_names(tmp_path) == {"ONE", "TWO", "THREE", "FOUR", "ARTIFACTSTORE_FIVE", "HIDDEN"}


REGISTRIES = re.compile(
    r"\bpypi\.org|pythonhosted\.org|\bnpmjs\.(?:org|com)|\bcrates\.io|\bproxy\.golang\.org|\banaconda\.org"
)
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:root/\.|work/|Users/\w+/|home/\w+/)")


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name]


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except (UnicodeDecodeError, FileNotFoundError):  # no text, or deleted and not committed yet
        return ""


def names(text: str) -> list[str]:
    """The registry hosts and machine paths in a text."""
    return [match[0] for pattern in (REGISTRIES, MACHINE_PATHS) for match in pattern.finditer(text)]


@pytest.mark.slow
def test_no_committed_file_names_a_registry_or_a_machine() -> None:
    files = [path for path in committed() if path.name != "uv.lock"]
    assert README in files
    found = {name_of(path): names(text_of(path)) for path in files if path != Path(__file__)}
    assert {name: match for name, match in found.items() if match} == {}


def test_a_registry_and_a_machine_path_would_be_found() -> None:
    assert names("see https://" + "pypi" + ".org/x") == ["pypi" + ".org"]
    for path in ("/" + "root/.", "/" + "home/me/", "/" + "work/"):
        assert names(f'"{path}x"') == [path]
    assert names("tests/work/x ../home/me/ /tmp/x /srv/work/x") == []


def test_prose_leaves_code_out() -> None:
    assert "import trio" not in prose(README)


def test_both_distributions_carry_the_same_licence() -> None:
    assert (ROOT / "protocols" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_reference_has_every_public_module() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.rst"))
    shown = set(re.findall(r"^\.\. automodule:: (\S+)$", pages, re.MULTILINE))
    protocols = ROOT / "protocols" / "artifactstore_protocols"
    modules = {path.stem for path in protocols.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    # What these name is part of another module's public names.
    modules -= {"__init__", "storage_errors"}
    assert {name.partition(".")[2] for name in shown if name.startswith("artifactstore_protocols.")} == modules
    ours = {"", ".errors", ".aio", ".blocking", ".client", ".supervision", ".testing"}
    assert {f"artifactstore{name}" for name in ours} <= shown


def test_the_site_has_every_document_in_its_navigation() -> None:
    settings = (ROOT / "docs" / "conf.py").read_text()
    outside = {name_of(document) for document in DOCUMENTS} - {name_of(decision) for decision in DECISIONS}
    assert {name for name in outside - {"README.md"} if f"\n{name.removesuffix('.md')}\n" not in settings} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_diagram_has_a_semicolon(document: Path) -> None:
    """Mermaid takes one for the end of a statement, also in the middle of a text."""
    assert [block.code for block in blocks(document) if block.language == "mermaid" and ";" in block.code] == []
