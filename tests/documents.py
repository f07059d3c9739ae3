"""The project's documents as tests see them: which there are, their prose, tables, headings and code blocks.

Just enough Markdown for what the documents use. A comment on the line above a code block says how it is used:

    <!-- run -->                    run in a process and a directory of its own, which has `reports/` and `docs/`
    <!-- run on a store -->         the same, after `artifactstore ingest reports --name nightly`
    <!-- run on PostgreSQL -->      the same as `run`, with the test server's URL in place of the one that is written
    <!-- run: NAME -->              run by a test that names it
    <!-- run by .ci/run -->         each of its lines is a command of `.ci/run`
    <!-- run by .ci/run: NAME -->   `.ci/run` takes it from here, as `python tests/documents.py DOCUMENT NAME` prints it
    <!-- example output -->         what something printed, or what a file could hold
    <!-- example -->                a part of something, not to be run as it stands
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCUMENTS", "ROOT", "Block", "blocks", "headings", "links", "named", "prose", "rows", "sentences"]

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
    r"(?:<!-- (?P<marker>(?:run|example)[^:>]*?)(?:: (?P<name>\S+))? -->\n)?"
    r"```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        language: as the fence says.
        code: what is in it.
        marker: what is to become of it, as above, without the name; None if nothing is said.
        name: of a block that somebody runs by name.
    """

    language: str
    code: str
    marker: str | None
    name: str | None

    @property
    def run(self) -> bool:
        """Whether it is run by anybody."""
        return self.marker is not None and self.marker.startswith("run")


def blocks(document: Path) -> list[Block]:
    """Every fenced block."""
    found = _BLOCK.finditer(document.read_text())
    return [Block(match["language"], match["code"], match["marker"], match["name"]) for match in found]


def named(document: Path, name: str) -> Block:
    """The one block of this name."""
    (found,) = [block for block in blocks(document) if block.name == name]
    return found


def prose(document: Path) -> str:
    """The text without its fenced blocks."""
    return _BLOCK.sub("", document.read_text())


def sentences(text: str) -> list[str]:
    """The sentences of Markdown text: of its paragraphs and list items, without code blocks, tables and headings.

    A piece of inline code is the word "code".
    """
    text = re.sub(r"<!--.*?-->", "", _BLOCK.sub("\n\n", text), flags=re.DOTALL)
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)|\n(?=[#|])", text):
        words = re.sub(
            r"^\s*(?:[-*]|\d+\.)\s+|`[^`]*`", lambda match: "code" if "`" in match[0] else "", paragraph.strip()
        )
        if words and not words.startswith(("#", "|")):
            flat = " ".join(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", words).split())
            found += re.split(r"(?<=[.!?])\s+|(?<=[.!?][)*])\s+|(?<=[.!?]\*\*)\s+", flat)
    return found


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


if __name__ == "__main__":
    sys.stdout.write(named(ROOT / sys.argv[1], sys.argv[2]).code)
