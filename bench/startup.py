"""What the command line costs before it does anything, beside the start of Python itself.

Run: `python bench/startup.py [ROUNDS]`. Each is a process of its own, run in turns, and the best time of each is kept,
so that the ratios hold on a machine that is busy with other things. Bytecode is cached, as in an installation.
`python -X importtime -m artifactstore version` shows where the time goes.

`version` has a way of its own: it looks nothing up in the installation (`importlib.metadata`), and loads no `typing`.
What is left of every other command is Typer, and then what the command needs.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 20
TARGET_RATIO = 1.5

PYTHON = [sys.executable, "-c", "pass"]
SCRIPT = [str(Path(sys.executable).with_name("artifactstore"))]
WAYS = {
    "python -c pass": PYTHON,
    "artifactstore version": [*SCRIPT, "version"],
    "artifactstore --help": [*SCRIPT, "--help"],
    "the same by its metadata": [
        sys.executable,
        "-c",
        "import importlib.metadata as m; m.version('artifactstore-actors')",
    ],
    "import artifactstore.open": [sys.executable, "-c", "import artifactstore.open"],
}


def took_s(command: list[str], cache: str) -> float:
    """Seconds of one run."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**environment, "PYTHONPYCACHEPREFIX": cache})
    return time.perf_counter() - began


def main() -> None:
    """Measure, print, and say whether the target is met."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    best = dict.fromkeys(WAYS, float("inf"))
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(rounds + 1):  # the first round fills the cache
            for name, command in WAYS.items():
                best[name] = min(best[name], took_s(command, cache))
    for name, seconds in best.items():
        print(f"{name:26} {seconds * 1000:7.1f} ms  {seconds / best['python -c pass']:5.2f} x")
    ratio = best["artifactstore version"] / best["python -c pass"]
    print(f"version costs {ratio:.2f} times Python's start; the target is {TARGET_RATIO}")


if __name__ == "__main__":
    main()
