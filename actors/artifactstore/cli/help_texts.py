"""What the help of each command says it does, and what `--help` of all lists.

Not the docstrings of the functions: Python drops those under `PYTHONOPTIMIZE=2`.
"""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["HELP"]

HELP: Mapping[str, str] = MappingProxyType(
    {
        "ingest": """Create a package, put a directory into it and seal it.

After an interrupt, run the same command again to continue. It skips stored files that have not changed.""",
        "get": "Write one file of a package to stdout, or to a file.",
        "manifest": "Print a sealed package's manifest, byte for byte.",
        "export": """Write a package to a directory, each file checked.

Links, empty directories and, within the umask, executable bits are restored.
After an interrupt, the same command continues. Nothing is overwritten.
Exit 3 if the file system does not take some of them; the others are written.""",
        "package create": "Open a package.",
        "package add": "Put a file or a directory into an open package.",
        "package finalize": "Seal a package with its manifest; again gives the same answer.",
        "package list": "List all packages, oldest first; with --json a line for each.",
        "package show": "Show a package and its files, links and empty directories.",
        "verify": """Read every object again and compare it with the log.

Exit 3 if anything is damaged or missing; ingesting the same content again heals it.""",
        "replay": "Rebuild every table from the log, and repair the live ones.",
        "events": """Print the log: one event a line, in order. Or carry it to another store.

A log is taken over by a store whose own log is its beginning, such as a new one; the objects are not in the file.""",
        "audit": "Who did what, and when.",
        "backup": """Copy log and objects to a directory, or update the backup.

The store may be in use. Only what is new is copied. Exit 3 if an object is damaged or missing; the rest is copied.""",
        "restore": """Restore a backup into a new store, or continue one.

Objects that a store has lost since are put back, too. Exit 3 if one is damaged or missing in the backup.""",
        "version": "Print the version.",
        "migrate": "Bring the database's schema up to this release's.",
        "health": "Say whether everything works; exit 1 if not.",
        "tree": "Draw the supervision tree, and what each actor in it does.",
        "serve": "Run the store as a service, until SIGTERM, SIGINT or SIGHUP.",
        "dev": "Run the service on 127.0.0.1:8000, for trying things out.",
        "doctor": """Find what is wrong with the store and its settings.

Each finding comes with what to do about it. Exit 1 if there is any. It opens no store and changes nothing.""",
    }
)
"""By the command's name, as it is typed."""
