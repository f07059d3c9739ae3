"""Measure processes in turn, and say whether a row of the benchmark holds.

A *row* compares what artifactstore takes with a *peer* that does the same job, or with a fixed limit. Each round runs
every contender of a row once, in an order that rotates, with everything durable: each run ends with `sync -f` on its
target inside the timing, and begins with one outside of it. The ratio of a row is the median of its rounds' ratios.
"""

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

__all__ = ["OURS", "ROOT", "Bench", "Contender", "Row", "Sample", "machine", "table"]

OURS: Final = "artifactstore"
ROOT: Final = Path(__file__).parents[1]
_PINNED: Final = {"borg": "1.2.4", "restic": "0.14.0", "cp": "9.1", "python": "3.12.1"}
"""The versions that the goals were set against. Another one runs all the same, and the output says so."""

_VERSION: Final = {
    "borg": ["borg", "--version"],
    "restic": ["restic", "version"],
    "cp": ["cp", "--version"],
    "python": [sys.executable, "--version"],
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: selects it.
        scenario: what artifactstore does.
        peer: the contender whose value it is divided by; None if the value itself is limited.
        against: what the peer does.
        at_most: the goal, for the ratio or in `unit`.
        unit: of the values: `s`, `B` a file or `MiB`.
        long: whether it takes so long that it runs only when it is named.
    """

    name: str
    scenario: str
    peer: str | None
    against: str
    at_most: float
    unit: str = "s"
    long: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One run.

    Attributes:
        value: in the row's unit.
        cpu_s: seconds of processor time, of all threads and of children.
        peak_mib: the most memory that was resident, in MiB.
    """

    value: float
    cpu_s: float | None = None
    peak_mib: float | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """A command to be measured.

    Attributes:
        command: the program and its arguments. A peer whose program is not installed is skipped by name.
        target: what it writes to, which is synced.
        cwd: where it runs.
        inside: whether it measures itself, and prints its sample as JSON.
    """

    command: Sequence[str | Path]
    target: Path
    cwd: Path | None = None
    inside: bool = False


@dataclass(slots=True)
class Bench:
    """A measurement under way.

    Attributes:
        work: a directory of its own, on the file system that is measured.
        rounds: how many times each row is measured.
        scale: every size is multiplied by it; goals hold for 1.
        wanted: the names of the rows to measure.
        profiled: whether a round more follows, in which artifactstore alone runs, under a profiler.
        samples: by row and contender, in the order of the rounds.
        skipped: the programs that are not there.
        machine: as `machine` found it before.
        profiles: by row, what share of artifactstore's processor time each module takes.
    """

    work: Path
    rounds: int
    scale: float
    wanted: frozenset[str]
    profiled: bool = False
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict[str, dict[str, list[Sample]]])
    skipped: set[str] = field(default_factory=set[str])
    profiles: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    machine: dict[str, Any] = field(default_factory=dict[str, Any])
    _profiling: bool = False

    def size(self, full: int, least: int = 1) -> int:
        """Return a number of files or bytes, scaled."""
        return max(least, round(full * self.scale))

    def each_round(self, rounds: int | None = None, *, profiled: bool = True) -> Iterator[tuple[int, Path]]:
        """Yield the number of each round and an empty directory, which is deleted after the round."""
        count = rounds or self.rounds
        for number in range(count + (profiled and self.profiled)):
            self._profiling = number == count
            directory = self.work / "round"
            directory.mkdir()
            yield number, directory
            shutil.rmtree(directory)
        self._profiling = False

    def run(self, contender: Contender) -> Sample:
        """Run a process to its end and measure it, with the sync of its target.

        Raises:
            RuntimeError: it failed; the message holds what it printed.
        """
        environment = {name: value for name, value in os.environ.items() if name not in _DROPPED} | {
            "BORG_BASE_DIR": str(self.work / "borg"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_CACHE_DIR": str(self.work / "restic"),
        }
        with tempfile.TemporaryFile(dir=self.work) as output:
            _sync(contender.target)
            began = time.perf_counter()
            process = subprocess.Popen(
                contender.command,
                cwd=contender.cwd or self.work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
            _sync(contender.target)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            printed = output.read().decode(errors="replace")
        if process.returncode:
            raise RuntimeError(f"{' '.join(map(str, contender.command))} exited with {process.returncode}:\n{printed}")
        if contender.inside:
            return Sample(**json.loads(printed))
        return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)

    def prepare(self, *command: str | Path, cwd: Path | None = None) -> None:
        """Run a command that is not part of any row. A peer that is not installed is skipped."""
        if self._is_there(command[0]):
            self.run(Contender(command, self.work, cwd))

    def compare(self, row: str, turn: int, contenders: Mapping[str, Contender]) -> dict[str, Sample]:
        """Run each contender once and record its sample; `turn` decides who begins."""
        if self._profiling:
            self._profile(row, contenders[OURS])
            return {}
        order = [name for name in contenders if self._is_there(contenders[name].command[0])]
        turn %= len(order)
        found: dict[str, Sample] = {}
        for name in order[turn:] + order[:turn]:
            found[name] = self.run(contenders[name])
            self.record(row, name, found[name])
        return found

    def _profile(self, row: str, contender: Contender) -> None:
        out = self.work / "profile.json"
        program = contender.command[1:] if contender.command[0] == sys.executable else contender.command
        self.run(
            Contender((sys.executable, ROOT / "bench" / "profiled.py", out, *program), contender.target, contender.cwd)
        )
        if row in self.wanted:
            used_s = json.loads(out.read_text())
            if contender.inside:  # it begins to measure after its imports
                used_s.pop("imports", None)
            total_s = sum(used_s.values()) or 1.0
            shares = {
                part: round(seconds / total_s, 3) for part, seconds in sorted(used_s.items(), key=lambda part: -part[1])
            }
            self.profiles[row] = {part: share for part, share in shares.items() if share >= _LEAST_SHARE}

    def record(self, row: str, contender: str, sample: Sample) -> None:
        """Keep a sample of a row that is wanted."""
        if row in self.wanted and not self._profiling:
            self.samples.setdefault(row, {}).setdefault(contender, []).append(sample)
            print(f"{row:24} {contender:16} {sample.value:10.3f}", file=sys.stderr, flush=True)

    def _is_there(self, program: str | Path) -> bool:
        if shutil.which(program) is not None:
            return True
        if str(program) not in _VERSION:
            raise FileNotFoundError(program)
        self.skipped.add(str(program))
        return False

    def result(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return everything that was measured, as it is written to JSON."""
        return {
            "machine": self.machine,
            "rounds": self.rounds,
            "scale": self.scale,
            "skipped": sorted(self.skipped),
            "rows": [
                _judged(row, self.samples[row.name], whole=self.scale == 1) for row in rows if row.name in self.samples
            ],
            "profiles": self.profiles,
        }


_LEAST_SHARE: Final = 0.01
_HOLDS: Final = {True: "yes", False: "NO", None: "-"}
_DROPPED: Final = {"PYTHONDONTWRITEBYTECODE", "ARTIFACTSTORE_DATABASE_URL", "ARTIFACTSTORE_STORAGE_LOCAL_ROOT"}


def _sync(target: Path) -> None:
    while not target.exists():
        target = target.parent
    subprocess.run(["sync", "-f", target], check=True)


def _judged(row: Row, samples: Mapping[str, Sequence[Sample]], *, whole: bool) -> dict[str, Any]:
    """Return a row with its medians, ratios and whether it holds: None if its peer is not there, or at other sizes."""
    values = {name: [sample.value for sample in taken] for name, taken in samples.items()}
    ours = values[OURS]
    ratios = {
        name: [mine / theirs for mine, theirs in zip(ours, taken, strict=True)]
        for name, taken in values.items()
        if name != OURS
    }
    middle = {name: statistics.median(taken) for name, taken in ratios.items()}
    reached = statistics.median(ours) if row.peer is None else middle.get(row.peer)
    return {
        **asdict(row),
        "median": {name: statistics.median(taken) for name, taken in values.items()},
        "ratio": middle,
        "ratio_range": {name: [min(taken), max(taken)] for name, taken in ratios.items()},
        "reached": reached,
        "holds": None if reached is None or not whole else reached <= row.at_most,
        "samples": {name: [asdict(sample) for sample in taken] for name, taken in samples.items()},
    }


def machine(work: Path) -> dict[str, Any]:
    """Return what the figures depend on: hardware, system, file system and versions."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    commit = _printed(["git", "-C", ROOT, "describe", "--always", "--dirty"])
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "kernel": platform.release(),
        "file_system": (_printed(["df", "--output=fstype", work]) or "?").split()[-1],
        "load_before": round(os.getloadavg()[0], 2),
        "commit": commit,
        "versions": {name: {"ran": _version(command), "expected": _PINNED[name]} for name, command in _VERSION.items()},
    }


def _version(command: Sequence[str]) -> str | None:
    found = re.search(r"\d+(\.\d+)+", _printed(command) or "")
    return found[0] if found else None


def _printed(command: Sequence[str | Path]) -> str | None:
    """Return what a command prints, or None if it is not there or fails."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def table(result: Mapping[str, Any]) -> str:
    """Return the result as lines of text, for a terminal."""
    about = result["machine"]
    lines = [
        f"{about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['file_system']}",
        f"commit {about['commit']}, {result['rounds']} rounds, load {about['load_before']} before",
    ]
    lines += [
        f"{name} {version['ran']}, expected {version['expected']}"
        if version["ran"]
        else f"{name} is not installed; its figures are left out"
        for name, version in about["versions"].items()
        if version["ran"] != version["expected"]
    ]
    if result["scale"] != 1:
        lines.append(f"sizes are multiplied by {result['scale']:g}, so no goal is judged")
    lines += ["", f"{'row':18} {'artifactstore':>14}  {'against':26} {'ratio':>7} {'at most':>8}  holds"]
    for row in result["rows"]:
        lines += _lines(row)
    return "\n".join(lines)


def _lines(row: Mapping[str, Any]) -> list[str]:
    unit = row["unit"]
    start = f"{row['name']:18} {row['median'][OURS]:>10.3f} {unit:<3}"
    end = f"{row['at_most']:>8g}  {_HOLDS[row['holds']]}"
    if row["peer"] is None:
        return [f"{start}  {'a limit':26} {'':7} {end}"]
    if row["reached"] is None:
        return [f"{start}  {row['peer'] + ' is not installed':26} {'':7} {end}"]
    peers = [row["peer"], *(name for name in row["ratio"] if name != row["peer"])]
    lines = [f"{f'{name} {row["median"][name]:.3f} {unit}':26} {row['ratio'][name]:7.2f}" for name in peers]
    return [f"{start}  {lines[0]} {end}", *(f"{'':{len(start)}}  {line}" for line in lines[1:])]
