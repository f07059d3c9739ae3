"""Measure artifactstore beside its peers: `python -m bench [--rows NAME …] [--rounds N] [--scale X] [--json FILE]`.

Prints a table; docs/PERFORMANCE.md explains each row. Rows that take very long run only when they are named.
"""

import argparse
import compileall
import json
import tempfile
from pathlib import Path

from bench.measure import ROOT, Bench, machine, table
from bench.rows import GROUPS, ROWS

_ROUNDS = 5


def main() -> None:
    """Measure what the arguments ask for."""
    names = [row.name for row in ROWS]
    usual = [row.name for row in ROWS if not row.long]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure artifactstore beside its peers.")
    parser.add_argument(
        "--rows", nargs="+", choices=[*names, "all"], default=usual, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="how often each row is measured; 5 by default")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply all sizes, such as 0.01 to try it out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as well")
    parser.add_argument("--dir", type=Path, help="measure in this directory; by default where temporary files are")
    parser.add_argument("--profile", action="store_true", help="say as well which modules the processor time goes to")
    chosen = parser.parse_args()
    wanted = frozenset(names if "all" in chosen.rows else chosen.rows)
    for sources in ("actors", "protocols", "migrations"):
        compileall.compile_dir(ROOT / sources, quiet=1)
    with tempfile.TemporaryDirectory(prefix="artifactstore-bench-", dir=chosen.dir) as directory:
        bench = Bench(
            Path(directory), chosen.rounds, chosen.scale, wanted, chosen.profile, machine=machine(Path(directory))
        )
        for measure, rows in GROUPS.items():
            if rows & wanted:
                measure(bench)
                if chosen.json:  # after each group, so that an end ahead of time loses little
                    text = json.dumps(bench.result(ROWS), indent=2, ensure_ascii=False)
                    chosen.json.write_text(f"{text}\n")
        print(table(bench.result(ROWS)))


if __name__ == "__main__":
    main()
