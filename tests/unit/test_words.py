"""The words of the project: terms that have a standard name are called by it, in code, messages and documents."""

import re
import subprocess

import pytest

from documents import ROOT

AVOIDED = {
    "moving house": "export and import",
    "abreast": "concurrently",
    "side by side": "concurrently",
    "whoever watches": "subscriber",
    "mend": "repair",
    "mends": "repairs",
    "mended": "repaired",
    "mending": "repairing",
    "told from threads": "thread-safe callback",
    "unheard": "its result is discarded",
    "how it does": "status",
    "goes on": "continues",
    "finalise": "finalize",
    "finalised": "finalized",
    "finalises": "finalizes",
    "finalising": "finalizing",
}
"""Words that were in use, and what to write in their place; docs/GLOSSARY.md has the terms."""

_PATTERN = re.compile(rf"\b({'|'.join(map(re.escape, AVOIDED))})\b", re.IGNORECASE)


def found_in(text: str) -> list[str]:
    """Each avoided word of a text, with the word to write."""
    return [f"{match[0]}: write {AVOIDED[match[0].lower()]!r}" for match in _PATTERN.finditer(text)]


def test_avoided_words_are_not_used() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "*.py", "*.md", "*.html", "*.js", "Makefile"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    assert ROOT / "README.md" in files
    used = {str(path.relative_to(ROOT)): found_in(path.read_text()) for path in files if path.is_file()}
    del used["tests/unit/test_words.py"]
    assert {name: words for name, words in used.items() if words} == {}


@pytest.mark.parametrize("text", ["It Goes on.", "to mend\nit", "two finalised packages"])
def test_an_avoided_word_would_be_found(text: str) -> None:
    assert len(found_in(text)) == 1
    assert found_in("amend, a mendicant, continues") == []
