"""Metadata from the environment of CI systems."""

from collections.abc import Mapping

import pytest

from artifactstore_protocols.ci import CI_SYSTEMS, NoCiFound, ci_metadata

GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_SHA": "4f2a",
    "GITHUB_REF": "refs/heads/main",
    "GITHUB_REF_NAME": "main",
    "GITHUB_REF_TYPE": "branch",
    "GITHUB_HEAD_REF": "",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/app",
    "GITHUB_RUN_ID": "1658821493",
    "GITHUB_JOB": "test",
}
GITLAB = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_COMMIT_SHA": "4f2a",
    "CI_COMMIT_BRANCH": "main",
    "CI_PIPELINE_URL": "https://gitlab.example/acme/app/-/pipelines/7",
    "CI_PIPELINE_ID": "7",
    "CI_JOB_NAME": "test",
}
JENKINS = {
    "JENKINS_URL": "https://jenkins.example/",
    "GIT_COMMIT": "4f2a",
    "GIT_BRANCH": "origin/main",
    "BUILD_URL": "https://jenkins.example/job/app/15/",
    "BUILD_ID": "15",
    "JOB_NAME": "app",
}
BUILDKITE = {
    "CI": "true",
    "BUILDKITE": "true",
    "BUILDKITE_COMMIT": "4f2a",
    "BUILDKITE_BRANCH": "main",
    "BUILDKITE_BUILD_URL": "https://buildkite.com/acme/app/builds/1514",
    "BUILDKITE_BUILD_ID": "9e08ef3c-d6e6-4a86-91dd-577ce5205b8e",
    "BUILDKITE_LABEL": ":hammer: Specs",
}


def about(provider: str, branch: str, url: str, run: str, job: str) -> dict[str, str]:
    keys = ("ci.provider", "ci.commit", "ci.branch", "ci.run_url", "ci.run_id", "ci.job")
    return dict(zip(keys, (provider, "4f2a", branch, url, run, job), strict=True))


@pytest.mark.parametrize(
    ("environment", "metadata"),
    [
        (GITHUB, about("github", "main", "https://github.com/acme/app/actions/runs/1658821493", "1658821493", "test")),
        (GITLAB, about("gitlab", "main", GITLAB["CI_PIPELINE_URL"], "7", "test")),
        (JENKINS, about("jenkins", "origin/main", JENKINS["BUILD_URL"], "15", "app")),
        (
            BUILDKITE,
            about(
                "buildkite", "main", BUILDKITE["BUILDKITE_BUILD_URL"], BUILDKITE["BUILDKITE_BUILD_ID"], ":hammer: Specs"
            ),
        ),
    ],
    ids=["github", "gitlab", "jenkins", "buildkite"],
)
def test_each_system_gives_the_same_keys(environment: Mapping[str, str], metadata: Mapping[str, str]) -> None:
    assert ci_metadata({**environment, "HOME": "/root", "PATH": ""}) == metadata


@pytest.mark.parametrize(
    ("environment", "branch"),
    [
        ({**GITHUB, "GITHUB_HEAD_REF": "fix", "GITHUB_REF_NAME": "12/merge"}, "fix"),
        ({**GITHUB, "GITHUB_REF_NAME": "v1", "GITHUB_REF_TYPE": "tag"}, None),
        ({**GITLAB, "CI_COMMIT_BRANCH": "", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "fix"}, "fix"),
        ({**GITLAB, "CI_COMMIT_BRANCH": ""}, None),
        ({**JENKINS, "BRANCH_NAME": "main"}, "main"),
        ({**JENKINS, "BRANCH_NAME": "PR-12", "CHANGE_BRANCH": "fix"}, "fix"),
    ],
)
def test_the_branch_is_that_of_the_change(environment: Mapping[str, str], branch: str | None) -> None:
    assert ci_metadata(environment).get("ci.branch") == branch


@pytest.mark.parametrize("system", CI_SYSTEMS, ids=lambda each: each.name)
def test_what_is_missing_gives_no_key(system: object) -> None:
    found = next(each for each in CI_SYSTEMS if each is system)
    empty = {name: "" for names in found.variables.values() for name in names}
    assert ci_metadata({found.marker: "true", **empty}) == {"ci.provider": found.name}
    assert ci_metadata({found.marker: "true"}) == {"ci.provider": found.name}


@pytest.mark.parametrize("environment", [{}, {"CI": "true"}, {"GITHUB_ACTIONS": ""}, {"GITHUB_SHA": "4f2a"}])
def test_without_a_system_it_is_an_error(environment: Mapping[str, str]) -> None:
    with pytest.raises(
        NoCiFound,
        match=r"no CI system was found: .*GitHub Actions \(GITHUB_ACTIONS\).* --meta.*: ci\.branch, ci\.commit",
    ):
        ci_metadata(environment)
