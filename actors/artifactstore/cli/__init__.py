"""The command line: `artifactstore …`.

`main` is the entry point. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 verification found a difference,
130 interrupted.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command in `sys.argv` and exit."""
    # Imported here, because `artifactstore version` must cost little more than Python itself, and the toolkit that
    # parses all the other commands takes longer to load than it does to answer.
    if sys.argv[1:] == ["version"]:
        from importlib.metadata import version  # noqa: PLC0415

        sys.stdout.write(f"artifactstore {version('artifactstore-actors')}\n")
        sys.exit(0)
    from artifactstore.cli.app import run  # noqa: PLC0415

    sys.exit(run(sys.argv[1:]))
