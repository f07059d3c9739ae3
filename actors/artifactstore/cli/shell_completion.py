"""The dialogue with a shell that asks for completions; the protocol itself is typer's.

It never fails loudly: after any error the shell gets no words. It also closes what typer leaves open:

- Only the commands of the module that the typed words name are loaded, so the answer comes sooner.
- Bash splits words at `:`, `=` and `@`, so `tag:rel` arrives as three words. They are joined, and the words for bash
  begin after the last such character, because bash replaces only what follows it.
- Characters that bash would interpret are escaped.
"""

import io
import os
import re
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import typer

__all__ = ["VARIABLE", "complete", "named_shell"]

VARIABLE: Final = "_ARTIFACTSTORE_COMPLETE"
"""The environment variable by which a shell asks, and says which shell it is."""

_SCRIPTS: Final = frozenset({"--install-completion", "--show-completion"})
_NO_DETECTION: Final = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"

_BASH: Final = "complete_bash"
_BREAKS: Final = frozenset(":=@")
"""The characters of bash's COMP_WORDBREAKS that occur in packages, paths and options."""

_TO_ESCAPE: Final = re.compile(r"[\s!\"#$&'()*;<>?\[\\\]`|~]")


def complete(command_line: "Callable[[Sequence[str]], typer.Typer]") -> int:
    """Print completions for the words in the environment, and return an exit code.

    Args:
        command_line: returns the command line for the words that follow `artifactstore`.
    """
    kept, is_quoted = "", False
    if is_bash := os.environ[VARIABLE] == _BASH:
        words = _bash_words(*_from_bash())
        line, kept, is_quoted = words
        os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(line), str(len(line) - 1)
    else:
        line = os.environ.get("_TYPER_COMPLETE_ARGS", "").split(" ")
    found = io.StringIO()
    code = 1
    with redirect_stdout(found), redirect_stderr(io.StringIO()):
        try:
            # The last word is incomplete: it names no command yet.
            command_line(line[1:-1])([], prog_name="artifactstore")
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else 1
        except Exception:
            return 1
    for candidate in filter(None, found.getvalue().splitlines()):
        sys.stdout.write(f"{_for_bash(candidate, kept, is_quoted=is_quoted) if is_bash else candidate}\n")
    return code


@contextmanager
def named_shell(arguments: Sequence[str]) -> Generator[None]:
    """Let `--show-completion` and `--install-completion` take the shell that the arguments name.

    Typer makes them options without a value, for the shell that runs the command, unless this variable is set.
    """
    named = any(option in _SCRIPTS and not shell.startswith("-") for option, shell in pairwise(arguments))
    if not named or _NO_DETECTION in os.environ:
        yield
        return
    os.environ[_NO_DETECTION] = "1"
    try:
        yield
    finally:
        del os.environ[_NO_DETECTION]


def _from_bash() -> tuple[list[str], int]:
    """Return bash's words and the index of the one to complete."""
    words = os.environ.get("COMP_WORDS", "").split("\n")
    index = os.environ.get("COMP_CWORD", "")
    return words, int(index) if index.isdecimal() else len(words) - 1


def _bash_words(words: Sequence[str], index: int) -> tuple[list[str], str, bool]:
    """Return the words up to the incomplete one as they were typed, what bash keeps of it, and whether it is quoted."""
    joined: list[str] = []
    after_break = False
    # A word that does not exist yet is empty. An empty word after a break is a new word.
    for word in [*words, ""][: index + 1]:
        is_break = bool(word) and _BREAKS.issuperset(word)
        if joined and word and (is_break or after_break):
            joined[-1] += word
        else:
            joined.append(word)
        after_break = is_break
    incomplete = joined[-1]
    replaced = "" if after_break else ([*words, ""][: index + 1])[-1]
    return joined, incomplete.removesuffix(replaced), incomplete[:1] in {"'", '"'}


def _for_bash(candidate: str, kept: str, *, is_quoted: bool) -> str:
    rest = candidate.removeprefix(kept)
    return rest if is_quoted else _TO_ESCAPE.sub(r"\\\g<0>", rest)
