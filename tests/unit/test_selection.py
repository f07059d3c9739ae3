"""Rules exclude what git excludes by them (which compares bytes where they compare characters), and none runs away."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.selection import Rules, Selection, rule_for

PARTS = ("a", "b", "]", "*a", "^", "ab", "a.log", "b.log", "#a", "!b", " c", "a b")
PATHS = [f"{top}{middle}{name}" for top in ("", "a/", "ab/") for middle in ("", "b/", "a.log/") for name in PARTS]
# Git lets two stars pass a slash after a plain beginning, as in `a**/b`, although its manual says that they do not.
SETS = ("[ab]", "[!a]", "[^b]", "[a-c]", "[\\!a]", "[\\^a]", "[]]", "[!]a]", "[b\\]]")
PIECES = (*"ab*?]", ".log", "\\*", "\\#", "\\!", *SETS)
PART = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)
PLAIN = PART.filter(lambda part: "**" not in part.replace("\\*", ""))
RULE = st.lists(PLAIN | st.just("**"), min_size=1, max_size=4).map("/".join)
FORMS = ("{}", "!{}", "{}/", "{} ", "/{}", "#{}", "{}\r")
RULES = st.lists(st.builds(str.format, st.sampled_from(FORMS), RULE), min_size=1, max_size=5)


def excluded(rules: Rules, path: str) -> bool:
    """Whether a file is left out, or a directory above it, as a scan finds it."""
    parts = path.split("/")
    ends = range(1, len(parts) + 1)
    return any(rules.excludes("/".join(parts[:end]), directory=end < len(parts)) for end in ends)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty repository: git then asks no file system whether a path is a directory."""
    if shutil.which("git") is None:
        pytest.skip("there is no git here")
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=RULES)
def test_rules_exclude_what_git_ignores(repository: Path, lines: list[str]) -> None:
    (repository / ".gitignore").write_bytes("\n".join(lines).encode())
    command = ["git", "-C", str(repository), "check-ignore", "--no-index", "-z", "--stdin"]
    asked = "".join(f"{path}\0" for path in PATHS).encode()
    answered = subprocess.run(command, input=asked, capture_output=True, check=False)
    assert answered.returncode in {0, 1}, answered.stderr
    ignored = {path.decode() for path in answered.stdout.split(b"\0") if path}
    rules = Rules(lines)
    assert {path for path in PATHS if excluded(rules, path)} == ignored


@pytest.mark.parametrize(
    ("lines", "path", "directory", "expected"),
    [
        (["*.log"], "a/b.log", False, True),
        (["*.log", "!keep.log"], "a/keep.log", False, False),
        (["/a"], "b/a", False, None),
        (["a/b"], "a/b", False, True),
        (["build/"], "build", False, None),
        (["build/"], "x/build", True, True),
        (["**/x"], "x", False, True),
        (["a/**"], "a", True, None),
        (["a/**/b"], "a/b", False, True),
        (["a**b"], "a/b", False, None),
        ([r"\#a", r"\!b"], "#a", False, True),
        (["# a", "", " ", "/"], "# a", False, None),
        (["a "], "a", False, True),
        ([r"a\ "], "a ", False, True),
        (["[[]"], "[", False, True),
    ],
)
def test_the_last_rule_that_matches_decides(
    lines: list[str], path: str, directory: bool, expected: bool | None
) -> None:
    assert Rules(lines).excludes(path, directory=directory) is expected


def test_no_rule_runs_away() -> None:
    assert Rules(["*a" * 100 + "b"]).excludes("a" * 255, directory=False) is None
    with pytest.raises(InvalidValue, match="more than 1024 characters"):
        Rules([" " * 10_000_000 + "x"])


def test_a_rule_of_the_caller_is_no_comment() -> None:
    assert Selection(exclude=["#auto#"]).rules().excludes("#auto#", directory=False)


@pytest.mark.parametrize("wrong", ["*.log", [1], {"*.log": 1}, b"a"])
def test_rules_are_a_list_of_texts(wrong: Any) -> None:  # noqa: ANN401 - what is no list of texts
    with pytest.raises(InvalidValue, match="invalid exclude"):
        Selection(exclude=wrong)


@pytest.mark.parametrize("rule", ["a" * 1025, "a\0", "[[:digit:]]", "a[", "a\\", "", " "])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(InvalidValue, match="invalid rule"):
        Selection(exclude=[rule])
    with pytest.raises(InvalidValue, match="invalid rule"):
        Selection(include=[rule])


def test_there_may_not_be_any_number_of_rules() -> None:
    with pytest.raises(InvalidValue, match="at most 2000"):
        Rules(["a"] * 2001)


NAMES = st.text(st.characters(exclude_characters="/\0\n\r"), min_size=1, max_size=9)


@given(path=st.lists(NAMES, min_size=1, max_size=5).map("/".join))
def test_a_rule_for_a_path_matches_it_and_no_path_that_can_be_printed_besides(path: str) -> None:
    rules = Rules([rule_for(path)])
    assert rules.excludes(path, directory=False) is True
    assert rule_for(path).isprintable()
    if path.isprintable():
        for other in (f"{path} ", f"x/{path}", f"{path}/x", path[:-1], f"x{path}"):
            assert rules.excludes(other, directory=False) is None
