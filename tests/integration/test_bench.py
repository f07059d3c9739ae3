"""`make bench`: every row is measured at a tiny size, its peers are named, and its result says what it rests on."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from bench import page
from bench.measure import OURS, Bench, Row, Sample, machine, table
from bench.rows import GROUPS, ROWS

from documents import ROOT, headings

TOOLS = ("cp", "df", "git", "stat", "sync")


def measured(result: Path, *arguments: str, path: str | None = None) -> tuple[str, dict[str, Any]]:
    command = [sys.executable, "-m", "bench", "--rounds", "1", "--json", str(result), *arguments]
    environment = None if path is None else {"PATH": path}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(result.read_text())


@pytest.mark.slow
def test_a_peer_that_is_not_installed_is_named_and_the_row_is_not_judged(tmp_path: Path) -> None:
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(shutil.which(tool) or pytest.fail(f"there is no {tool}"))
    text, result = measured(
        tmp_path / "out.json", "--rows", "ingest", "database", "--scale", "0.0005", path=str(tmp_path)
    )
    assert result["skipped"] == ["borg", "restic"]
    assert "borg is not installed" in text
    ingest, database = result["rows"]
    assert (ingest["reached"], ingest["holds"]) == (None, None)
    assert ingest["samples"].keys() == {OURS, "cp"}
    assert ingest["ratio"]["cp"] == ingest["samples"][OURS][0]["value"] / ingest["samples"]["cp"][0]["value"]
    assert database["reached"] == database["samples"][OURS][0]["value"] >= 0


@pytest.mark.slow
def test_every_row_is_measured_with_its_peers(tmp_path: Path) -> None:
    text, result = measured(tmp_path / "out.json", "--rows", "all", "--scale", "0.0005")
    assert [row["name"] for row in result["rows"]] == [row.name for row in ROWS]
    for row in result["rows"]:
        there = {OURS, row["peer"]} - {None} - set(result["skipped"])
        assert there <= row["samples"].keys()
        assert all(sample["value"] >= 0 for samples in row["samples"].values() for sample in samples)
        assert row["name"] in text
    assert result["machine"]["versions"]["python"]["ran"] == sys.version.split()[0]


def test_a_profile_counts_processor_time_and_not_waiting(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import threading, time\n"
        "def work():\n"
        "    while time.thread_time() < 0.2: pass\n"
        "busy = threading.Thread(target=work)\n"
        "busy.start()\n"
        "busy.join()\n"
        "time.sleep(0.2)\n"
    )
    out = tmp_path / "out.json"
    subprocess.run([sys.executable, ROOT / "bench" / "profiled.py", out, program], check=True)
    parts = json.loads(out.read_text())
    assert 0.1 < parts.pop("__main__") < 0.3
    assert "threading" not in parts


def test_a_group_gives_every_row() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(row.name for row in ROWS)


def result_of(row: Row, **values: list[float]) -> dict[str, Any]:
    bench = Bench(Path("/"), rounds=3, scale=1, wanted=frozenset({row.name}), machine=machine(Path()))
    for contender, taken in values.items():
        for value in taken:
            bench.record(row.name, contender, Sample(value))
    return bench.result([row])


def test_a_ratio_is_the_median_of_those_of_the_rounds_so_that_a_slow_round_slows_both() -> None:
    result = result_of(Row("copy", "", "cp", "", at_most=2.0), artifactstore=[2.0, 30.0, 4.4], cp=[1.0, 20.0, 2.0])
    (row,) = result["rows"]
    assert (row["reached"], row["ratio_range"]["cp"], row["holds"]) == (2.0, [1.5, 2.2], True)
    assert "yes" in table(result)


def test_a_limit_is_held_by_the_median_of_the_values() -> None:
    (row,) = result_of(Row("memory", "", None, "", at_most=300, unit="MiB"), artifactstore=[290.0, 301.0, 310.0])[
        "rows"
    ]
    assert (row["reached"], row["holds"]) == (301.0, False)


def test_the_page_shows_the_figures_of_the_committed_result() -> None:
    result = json.loads(page.DATA.read_text())
    text = page.PAGE.read_text()
    assert page.filled(text, result) == text
    assert page.plot(result) == page.PLOT.read_text()


def test_the_page_explains_every_row() -> None:
    assert {row.name for row in ROWS} <= headings(page.PAGE)


def test_the_page_says_what_was_not_measured_what_was_not_judged_and_where_time_goes() -> None:
    marks = page.PAGE.read_text()
    result = result_of(Row("ingest", "", "borg", "", at_most=1.0), artifactstore=[2.0, 2.0, 2.0], cp=[1.0, 1.0, 4.0])
    shown = page.filled(marks, {**result, "profiles": {"ingest": {"imports": 0.4}}})
    assert "| [ingest](#ingest) | 2 s | borg is not installed | | | 1 | not judged | 2.00 times cp (1 s) |" in shown
    assert "| [export](#export) | not measured |" in shown
    assert "`imports` 40%" in shown
    assert "<circle" not in page.plot(result)


def test_the_plot_puts_a_row_that_holds_left_of_its_goal() -> None:
    result = result_of(Row("ingest", "", "borg", "", at_most=2.0), artifactstore=[1.0, 1.0, 1.0], borg=[1.0, 1.0, 1.0])
    drawn = ET.fromstring(page.plot(result))  # noqa: S314 - our own
    (dot,) = drawn.iter("{http://www.w3.org/2000/svg}circle")
    (goal,) = [each for each in drawn.iter("{http://www.w3.org/2000/svg}text") if each.text == "the goal"]
    assert float(dot.attrib["cx"]) < float(goal.attrib["x"])
