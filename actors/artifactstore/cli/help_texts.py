"""Help texts of the commands, for the help of each command and for the list in `artifactstore --help`.

The functions' docstrings do not serve as help, because Python drops them under `PYTHONOPTIMIZE=2`.
"""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["HELP"]

HELP: Mapping[str, str] = MappingProxyType(
    {
        "ingest": """Store directories, files or archives as a finalized package.

Files named .artifactignore say what to leave out, by the rules of gitignore.
After an interrupt, run the same command again to continue. It skips stored files that have not changed.""",
        "get": "Write one file of a package to stdout, or to a file.",
        "manifest": "Print the manifest of a finalized package.",
        "export": """Write a package to a directory, or as one tar or zip file.

Checks every file. Restores links, empty directories and, within the umask, executable bits. Overwrites nothing in
DIR without --update; an archive replaces FILE. After an interrupt, run the same command again to continue.
Exits 3 if some entries are not written, and lists them; the others are.""",
        "package create": "Create an open package, to be filled step by step.",
        "package add": "Put files, directories or archives into an open package.",
        "package finalize": "Finalize a package; repeating the command gives the same answer.",
        "package annotate": """Say something about a package, also after it was finalized.

The manifest does not change, and `artifactstore history PACKAGE` shows who said what.""",
        "package list": """List packages, newest first.

Every given condition must hold. In a GLOB, * is any text, ? one character, [a-c] one of a set; quote it.""",
        "package copy": """Copy a finalized package to another store, and check every file.

The copy has the same tree digest, name and metadata, but an id, times and a manifest of its own. Tags and annotations
are not copied. To compare, show tree:DIGEST in both stores.
The store is created if it does not exist. A repeated command finds the copy of the first one.""",
        "package delete": """Delete open or finalized packages. Their files go; their records and manifests stay.

A package that a protected tag names is refused. So is a finalized one whose retention has not ended, without
--before-expiry.""",
        "package show": "Show a package and its files, links and empty directories.",
        "ls": """List one directory of a package.

Directories end with /, and executable files with *. Links show their target.""",
        "tree": """Print all paths of a package, indented.

With PATH, only that one and those below it.""",
        "diff": """List the differences between two packages.

A is added, D removed, M changed and R renamed.
Exits 0, also if there are differences; with --exit-code, exits 3 then.""",
        "find": """Find which packages contain a path, a file name or a content.

Lists the newest package first. In the GLOB of a path, * stops at / and ** does not; quote it.""",
        "tag set": """Set a tag to a finalized package, or move it.

Wherever a package is named, tag:TAG then names this one.""",
        "tag delete": "Delete a tag; its package and its history stay.",
        "tag list": "List all tags.",
        "tag log": "List who set or deleted a tag, and when.",
        "stats": """Print what the store holds: packages, files and bytes.

Also says when the store was last backed up and verified. Reads a few rows, however large the store is.""",
        "schema add": """Register the next version of a metadata schema.

Supports a part of JSON Schema 2020-12, and refuses other keywords.""",
        "schema list": "List all metadata schemas.",
        "schema show": "Print a metadata schema.",
        "verify": """Read every object again and compare it with the log.

Exits 3 if anything is damaged or missing. Ingest the same content again to repair it.""",
        "gc": """Delete the objects that no package refers to, and give the disk space back.

Other commands may run meanwhile. An object stays for the grace after its last package went. An interrupted run is
continued by the next one.""",
        "replay": "Rebuild all tables from the log, and repair those that differ.",
        "events": """Print the log, one event a line; or export or import it.

A store can import a log that continues its own; a new store can import any. The file holds no objects.""",
        "history": "List who did what, and when.",
        "backup": """Copy log and objects to a directory, or update the backup.

Copies only what is new, and the store may be in use. Exits 3 if an object is damaged or missing; copies the rest.""",
        "restore": """Restore a backup into a new store, or continue a restore.

Also puts back objects that the store has lost since. Exits 3 if an object of the backup is damaged or missing.""",
        "version": "Print the version.",
        "migrate": "Upgrade the database's schema to this release's.",
        "health": "Report whether every part works; exit 1 if not.",
        "actors": "Draw the supervision tree, with the state of each actor.",
        "serve": "Run the store as a service, until SIGTERM, SIGINT or SIGHUP.",
        "dev": "Run the service on 127.0.0.1:8000, to try things out.",
        "doctor": """Find problems of the store and its settings.

Prints each problem with its remedy, and exits 1 if there is one. Opens no store and changes nothing.""",
    }
)
"""Help texts by command name, as it is typed."""
