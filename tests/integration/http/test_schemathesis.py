"""schemathesis, which nobody here wrote, reads the OpenAPI document and asks what it allows, and what it does not."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest
import trio

from artifactstore.http.api import freshness, tags
from artifactstore.http.api.problems import Problem
from artifactstore.registry import Registry
from integration.http.described import Described
from integration.registry.samples import add

CONFIG: Final = Path(__file__).with_name("schemathesis.toml")
HOOKS: Final = Path(__file__).with_name("schemathesis_hooks.py")
MAIN: Final = "from schemathesis.cli import schemathesis; schemathesis()"

SAMPLE: Final = ("--seed", "13", "--max-examples", "8", "--no-shrink", "--exclude-method", "HEAD")
"""Test data of a run in the suite. An answer to HEAD differs from one to GET only by its body, which it lacks."""


@pytest.fixture
async def filled(api: Described, monkeypatch: pytest.MonkeyPatch) -> Described:
    """A store with the packages, paths and tags that the configuration names. No read waits for a sequence."""
    monkeypatch.setattr(freshness, "WAIT_MAX_S", 0)
    registry = api.service.registry
    for name, tag in (("a-1", "on-a"), ("b-1", "on-b")):
        package_id = (await registry.create_package(name, metadata={"branch": "main"})).package_id
        await add(registry, package_id, "x/y.txt", b"the same")
        await add(registry, package_id, "z", name.encode() * 1000)
        await registry.finalize_package(package_id)
        await registry.set_tag(tag, package_id)
    await registry.create_package("a-open")
    return api


async def found(api: Described, directory: Path, options: Sequence[str]) -> tuple[int, str]:
    """The exit code of a run, and what it printed."""
    secret = api.secrets["all"]
    command = [sys.executable, "-c", MAIN, "--config-file", str(CONFIG), "--no-color", "run"]
    command += [f"{api.service.url}/openapi.json", "-H", f"Authorization: Bearer {secret}", "--continue-on-failure"]
    environment = {**os.environ, "ARTIFACTSTORE_TOKEN": secret, "SCHEMATHESIS_HOOKS": str(HOOKS)}
    done = await trio.run_process(
        [*command, *options],
        cwd=directory,
        check=False,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        env=environment,
    )
    return done.returncode, done.stdout.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(SAMPLE, id="sample"),
        *(
            pytest.param(("--seed", str(seed), "--max-examples", "100"), id=f"seed {seed}", marks=pytest.mark.soak)
            for seed in range(3)
        ),
    ],
)
async def test_the_api_is_as_its_document_says(filled: Described, tmp_path: Path, options: Sequence[str]) -> None:
    status, said = await found(filled, tmp_path, options)
    assert status == 0, said


DEFECTS: Final = {
    "GET /v1/stats": "ST101 Server error",
    "GET /v1/tags": "ST108 Response violates schema",
    "GET /v1/tags/{tag}": "ST103 Undocumented",
    "GET /v1/packages/{package}/retention": "unavailable_only_before_a_sequence",
}
"""What a run finds, by the operation."""


class _Defective:
    """What the handlers of tags take for an event store."""

    def __init__(self, _registry: Registry) -> None:
        pass

    async def tags(self, **_query: object) -> Sequence[object]:
        return [{"tag": 5}]

    async def find_package(self, *_text: object, **_query: object) -> None:
        raise Problem(HTTPStatus.IM_A_TEAPOT, "a_teapot", "Nothing describes this.")


@pytest.mark.slow
async def test_a_planted_defect_is_found(filled: Described, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_arguments: object) -> None:
        raise RuntimeError("a defect")

    async def unavailable(*_arguments: object) -> None:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "Ask again.")

    monkeypatch.setattr(Registry, "stats", fail)
    monkeypatch.setattr(Registry, "explain_retention", unavailable)
    monkeypatch.setattr(tags, "event_store", _Defective)
    only = [part for operation in DEFECTS for part in ("--include-name", operation)]
    status, said = await found(filled, tmp_path, ["--seed", "13", "--max-examples", "5", "--phases", "fuzzing", *only])
    assert status == 1, said
    failures = said.partition(" FAILURES ")[2].partition(" SUMMARY ")[0]
    by_operation = dict(re.findall(r"^_+ (GET .*?) _+$(.*?)(?=^_+ |\Z)", failures, re.MULTILINE | re.DOTALL))
    for operation, finding in DEFECTS.items():
        assert finding in by_operation.get(operation, ""), (operation, said)
