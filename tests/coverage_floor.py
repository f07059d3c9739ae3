"""Holds the measured coverage of lines against its floors; `COVERAGE=1 make test` runs it after the tests.

Usage: python tests/coverage_floor.py    (reads the combined `.coverage` of the run)
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

# Processes that tests start are not measured, and much of the command line and the service runs in those.
FLOORS = {"protocols/": 98.0, "actors/": 88.0}


def covered(files: dict[str, dict[str, dict[str, int]]], room: str) -> tuple[float, list[str]]:
    """The percentage of lines of a room that ran, and the files that lower it."""
    hit = total = 0
    lower: list[str] = []
    for name, entry in files.items():
        if name.startswith(room):
            summary = entry["summary"]
            ran, there = summary["covered_lines"], summary["num_statements"]
            hit, total = hit + ran, total + there
            if ran < there:
                lower.append(f"  {100 * ran / there:6.2f} %  {name}")
    return (100 * hit / total if total else 0.0), lower


def main() -> int:
    """Print each room's coverage; 1 if one is below its floor."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "coverage.json")
        subprocess.run([sys.executable, "-m", "coverage", "json", "--quiet", "-o", str(report)], check=True)
        files = json.loads(report.read_text())["files"]
    failed = False
    for room, floor in FLOORS.items():
        percent, lower = covered(files, room)
        print(f"coverage of {room:12} {percent:6.2f} % (floor {floor:.0f} %)")  # noqa: T201
        if percent < floor:
            failed = True
            print("\n".join(lower))  # noqa: T201
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
