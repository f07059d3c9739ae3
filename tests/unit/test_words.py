"""The words of the project: terms that have a standard name are called by it, in code, messages and documents."""

import re
import subprocess

import pytest

from documents import DOCUMENTS, ROOT, sentences

AVOIDED = {
    "moving house": "export and import",
    "abreast": "concurrently",
    "side by side": "concurrently",
    "whoever": "the caller, the subscriber, the process",
    "becomes of": "say what happens",
    "comes to its end": "is completed",
    "makes up": "contains",
    "seal": "finalize",
    "seals": "finalizes",
    "sealed": "finalized",
    "sealing": "finalizing",
    "heal": "repair",
    "heals": "repairs",
    "healed": "repaired",
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

_PATTERN = re.compile(rf"(?<![a-zA-Z])({'|'.join(AVOIDED)})(?![a-zA-Z])".replace(" ", r"[\s_]+"), re.IGNORECASE)


def found_in(text: str) -> list[str]:
    """Each avoided word of a text, with the word to write."""
    return [
        f"{match[0]}: write {AVOIDED[re.sub(r'[\s_]+', ' ', match[0].lower())]!r}" for match in _PATTERN.finditer(text)
    ]


WORDS_MAX = 30
"""The most words of a sentence, without code. A longer one is two sentences, or a list."""


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "text", ["It Goes on.", "to mend\nit", "two finalised packages", "def goes_on()", "what becomes\nof it"]
)
def test_an_avoided_word_would_be_found(text: str) -> None:
    assert len(found_in(text)) == 1
    assert found_in("amend, a mendicant, continues") == []


def test_no_sentence_of_a_document_is_too_long() -> None:
    found = {
        str(document.relative_to(ROOT)): [
            sentence
            for sentence in sentences(document.read_text())
            if sum(word.strip("(,.)") != "code" for word in sentence.split()) > WORDS_MAX
        ]
        for document in DOCUMENTS
    }
    assert {name: long for name, long in found.items() if long} == {}


def test_sentences_are_found_in_paragraphs_and_lists() -> None:
    paragraph = "# Head\n\nOne `a. b` of\ntwo. **Two!** Three.\n\n"
    text = paragraph + "- four [here](x.md).\n- five (5.) Six\n\n| a |\n\n```sh\nls. ls\n```\n"
    assert sentences(text) == ["One code of two.", "**Two!**", "Three.", "four here.", "five (5.)", "Six"]
