"""The examples for containers name options and settings that there are. No container engine runs here."""

import json
import re
from pathlib import Path

import yaml

from artifactstore.config import ENVIRONMENT

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "examples" / "container"


def options_of_serve() -> set[str]:
    page = (ROOT / "docs" / "man" / "artifactstore-serve.1").read_text()
    return set(re.findall(r"--[a-z]+(?:-[a-z]+)*", re.sub(r"\\f.", " ", page).replace("\\-", "-")))


def test_the_image_starts_a_service_with_settings_that_there_are() -> None:
    text = (CONTAINER / "Containerfile").read_text()
    assert set(re.findall(r"ARTIFACTSTORE_\w+", text)) <= ENVIRONMENT.keys()
    [command] = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    program, *rest = json.loads(command)
    assert program == "serve"
    assert {each for each in rest if each.startswith("--")} <= options_of_serve()


def test_compose_starts_a_service_with_settings_that_there_are() -> None:
    services = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]
    store = services["store"]
    named = {name for name in store["environment"] if name.startswith("ARTIFACTSTORE_")}
    assert named <= ENVIRONMENT.keys()
    program, *rest = store["command"]
    assert program == "serve"
    assert {each for each in rest if each.startswith("--")} <= options_of_serve()
    assert (ROOT / store["build"]["dockerfile"]).is_file()
    assert store["depends_on"].keys() <= services.keys()
