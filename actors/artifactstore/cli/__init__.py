"""The command line: `artifactstore …`.

`main` is the entry point. It turns refusals into one line on stderr and an exit code: 0 done, 1 refused or failed,
2 wrong usage, 3 verification found a difference.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command in `sys.argv` and exit."""
    from artifactstore.cli.app import run  # noqa: PLC0415 - importing the package must not load a CLI toolkit

    sys.exit(run(sys.argv[1:]))
