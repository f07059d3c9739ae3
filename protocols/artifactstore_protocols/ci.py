"""Metadata about the run of a CI system, read from the environment variables that the system sets.

Every system gives the same keys, so that packages of different systems are searched alike. A variable that is missing
or empty gives no key.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, override

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["CI_SYSTEMS", "CiSystem", "NoCiFound", "ci_metadata"]

type _Environment = Mapping[str, str]


class CiSystem(NamedTuple):
    """A CI system, and the variables that it sets.

    Attributes:
        name: the value of `ci.provider`.
        label: the name of the system for people.
        marker: the variable that tells that a process runs in it.
        variables: for each key, the variables that may have its value. The first one that is set counts.
        url: returns the URL of the run, if no variable has it.
    """

    name: str
    label: str
    marker: str
    variables: Mapping[str, tuple[str, ...]]
    url: Callable[[_Environment], str] = lambda _environment: ""


def _github_url(environment: _Environment) -> str:
    parts = [environment.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    server, repository, run = parts
    return f"{server}/{repository}/actions/runs/{run}" if all(parts) else ""


CI_SYSTEMS: Final = (
    CiSystem(
        "buildkite",
        "Buildkite",
        "BUILDKITE",
        {
            "ci.commit": ("BUILDKITE_COMMIT",),
            "ci.branch": ("BUILDKITE_BRANCH",),
            "ci.run_url": ("BUILDKITE_BUILD_URL",),
            "ci.run_id": ("BUILDKITE_BUILD_ID",),
            "ci.job": ("BUILDKITE_STEP_KEY", "BUILDKITE_LABEL"),
        },
    ),
    CiSystem(
        "gitlab",
        "GitLab CI",
        "GITLAB_CI",
        {
            "ci.commit": ("CI_COMMIT_SHA",),
            "ci.branch": ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH"),
            "ci.run_url": ("CI_PIPELINE_URL",),
            "ci.run_id": ("CI_PIPELINE_ID",),
            "ci.job": ("CI_JOB_NAME",),
        },
    ),
    CiSystem(
        "github",
        "GitHub Actions",
        "GITHUB_ACTIONS",
        {
            "ci.commit": ("GITHUB_SHA",),
            "ci.branch": ("GITHUB_HEAD_REF", "GITHUB_REF_NAME"),
            "ci.run_url": (),
            "ci.run_id": ("GITHUB_RUN_ID",),
            "ci.job": ("GITHUB_JOB",),
        },
        _github_url,
    ),
    CiSystem(
        "jenkins",
        "Jenkins",
        "JENKINS_URL",
        {
            "ci.commit": ("GIT_COMMIT",),
            "ci.branch": ("CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH"),
            "ci.run_url": ("BUILD_URL",),
            "ci.run_id": ("BUILD_ID",),
            "ci.job": ("JOB_NAME",),
        },
    ),
)
"""The systems that are known, in the order in which they are looked for."""


class NoCiFound(ArtifactStoreError):
    """No environment variable tells that this is a run of a known CI system."""

    @override
    def __str__(self) -> str:
        systems = ", ".join(f"{each.label} ({each.marker})" for each in CI_SYSTEMS)
        keys = ", ".join(sorted({key for each in CI_SYSTEMS for key in each.variables}))
        advice = f"give the keys with --meta, such as --meta ci.commit=4f1c: {keys}"
        return f"no CI system was found: none of the variables of {systems} is set; {advice}"


def ci_metadata(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata about a run: `ci.provider`, `ci.commit`, `ci.branch`, `ci.run_url`, `ci.run_id`, `ci.job`.

    Args:
        environment: the variables of the process, such as `os.environ`.

    Raises:
        NoCiFound: the process does not run in a known CI system.
    """
    system = next((each for each in CI_SYSTEMS if environment.get(each.marker)), None)
    if system is None:
        raise NoCiFound
    found = {"ci.provider": system.name}
    for key, names in system.variables.items():
        value = next((value for name in names if (value := environment.get(name))), "")
        if key == "ci.run_url" and not value:
            value = system.url(environment)
        if key == "ci.branch" and system.name == "github" and environment.get("GITHUB_REF_TYPE") == "tag":
            value = ""  # the variable has the name of the tag
        if value:
            found[key] = value
    return found
