"""The CI step of examples/ci/, run by a plain `sh` as a job would."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from documents import ROOT, blocks, named

CI = ROOT / "docs" / "how-to" / "ci.md"
SCRIPT = ROOT / "examples" / "ci" / "push-results.sh"

type Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command in a directory with two results, and with the script in `ci/`."""
    others = ("ARTIFACTSTORE_", "BUILDKITE", "CI", "GITHUB_", "GITLAB_", "JENKINS_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ARTIFACTSTORE_PROGRESS": "none",
        "GITHUB_SHA": "4f2a",
        "GITHUB_RUN_ID": "17",
        "CI_COMMIT_SHA": "4f2a",
        "GIT_COMMIT": "4f2a",
        "BUILD_URL": "https://ci.example/17",
    }
    (tmp_path / "reports" / "unit tests").mkdir(parents=True)
    (tmp_path / "reports" / "junit.xml").write_text("<testsuites/>")
    (tmp_path / "reports" / "unit tests" / "log.txt").write_text("ok\n")
    (tmp_path / "ci").mkdir()
    shutil.copy(SCRIPT, tmp_path / "ci")

    def run(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=environment | more, capture_output=True, text=True, check=False
        )

    return run


def pushed(run: Run, *arguments: str) -> str:
    """The id that the script prints."""
    ran = run("sh", "ci/push-results.sh", *arguments)
    assert ran.returncode == 0, ran
    assert re.fullmatch(r"[0-9a-f-]{36}\n", ran.stdout), ran
    return ran.stdout.strip()


def shown(run: Run, package: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(run("artifactstore", "package", "show", package, "--json").stdout)
    return found


def test_results_are_stored_and_the_id_is_printed(run: Run) -> None:
    found = shown(run, pushed(run, "reports", 'the "nightly"'))
    assert (found["name"], found["status"], found["files"], found["tags"]) == ('the "nightly"', "finalized", 2, [])


def test_a_tag_names_the_new_package_and_options_are_those_of_ingest(run: Run) -> None:
    first = pushed(run, "reports", "nightly", "green")
    second = pushed(run, "reports", "nightly", "green", "--retention", "short", "--meta", "commit=4f2a")
    assert first != second
    found = shown(run, "tag:green")
    assert (found["package_id"], found["retention_class"], found["metadata"]) == (second, "short", {"commit": "4f2a"})


@pytest.mark.parametrize("directory", ["nothing", "empty"])
def test_a_job_without_results_continues(run: Run, tmp_path: Path, directory: str) -> None:
    (tmp_path / "empty").mkdir()
    ran = run("sh", "ci/push-results.sh", directory, "nightly", "green")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr == f"push-results: there are no results in {directory}; nothing is stored\n"
    assert not (tmp_path / "var").exists()


def test_results_that_cannot_be_stored_fail_the_step(run: Run) -> None:
    ran = run("sh", "ci/push-results.sh", "reports", "a:b")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("artifactstore: ")
    assert run("sh", "ci/push-results.sh", "reports").returncode == 2


def test_progress_of_a_job_is_plain_lines_unless_the_job_says_otherwise(run: Run) -> None:
    ran = run("sh", "ci/push-results.sh", "reports", "nightly", ARTIFACTSTORE_PROGRESS="json")
    assert [json.loads(line)["command"] for line in ran.stderr.splitlines()][:1] == ["ingest"]
    assert "\r" not in run("sh", "ci/push-results.sh", "reports", "nightly", ARTIFACTSTORE_PROGRESS="").stderr


def test_the_calls_of_the_manual_work_as_they_stand_there(run: Run) -> None:
    ran = run("sh", "-eu", "-c", named(CI, "push-results").code)
    first, second = ran.stdout.split()
    assert ran.returncode == 0
    assert ran.stderr.splitlines()[-1].startswith("push-results: there are no results")
    assert shown(run, "tag:latest-green")["package_id"] == second != first


def steps() -> list[str]:
    """The commands of the manual's examples for CI systems."""
    found = [
        re.search(r"sh ci/push-results\.sh [^\n)}]*", block.code)
        for block in blocks(CI)
        if block.language in {"yaml", "groovy"}
    ]
    return [each[0].removesuffix("'") for each in found if each is not None]


def test_the_steps_of_the_manual_work_as_they_stand_there(run: Run) -> None:
    systems = {"github": "GITHUB_ACTIONS", "gitlab": "GITLAB_CI", "jenkins": "JENKINS_URL"}
    for (provider, variable), step in zip(systems.items(), steps(), strict=True):
        ran = run("sh", "-eu", "-c", step, **{variable: "true"})
        assert (ran.returncode, ran.stderr) == (0, ""), step
        metadata = shown(run, ran.stdout.strip())["metadata"]
        assert isinstance(metadata, dict)
        assert (metadata["ci.provider"], metadata["ci.commit"]) == (provider, "4f2a")
        assert shlex.split(step)[2:4] == ["reports", "nightly"]
