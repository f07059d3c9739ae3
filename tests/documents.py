"""The project's documents as tests see them: which there are, their prose, tables, headings and code blocks.

Just enough Markdown for what the documents use. A code block is runnable if the line above it is `<!-- run -->`, or
`<!-- run: NAME -->` for a script that a test runs with arguments of its own.
"""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCUMENTS", "ROOT", "Block", "blocks", "headings", "links", "prose", "rows"]

ROOT = Path(__file__).parents[1]

DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "AGENTS.md",
    ROOT / "protocols" / "README.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)

_BLOCK = re.compile(
    r"(?:<!-- (?P<run>run)(?:: (?P<name>\S+))? -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its code, and whether and under which name it is to be run."""

    language: str
    code: str
    run: bool
    name: str | None


def blocks(document: Path) -> list[Block]:
    """Every fenced block."""
    found = _BLOCK.finditer(document.read_text())
    return [Block(match["language"], match["code"], match["run"] is not None, match["name"]) for match in found]


def prose(document: Path) -> str:
    """The text without its fenced blocks."""
    return _BLOCK.sub("", document.read_text())


def links(document: Path) -> list[str]:
    """What the document links to, other documents and pages alike."""
    return [match["target"] for match in _LINK.finditer(prose(document))]


def headings(document: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def rows(document: Path, heading: str) -> list[list[str]]:
    """The cells of every table row below a heading, up to the next heading of any level, without the header rows."""
    text = re.split(rf"^#+ {re.escape(heading)}$", prose(document), maxsplit=1, flags=re.MULTILINE)[1]
    lines = re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    table = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in lines if line.startswith("|")]
    ruler = {index for index, cells in enumerate(table) if set("".join(cells)) <= set("-| ")}
    return [cells for index, cells in enumerate(table) if index not in ruler and index + 1 not in ruler]
