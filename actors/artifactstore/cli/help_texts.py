"""Help texts of the commands, for the help of each command and for the list in `artifactstore --help`.

The functions' docstrings do not serve as help, because Python drops them under `PYTHONOPTIMIZE=2`.
"""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["HELP", "SETTINGS"]

HELP: Mapping[str, str] = MappingProxyType(
    {
        "ingest": """Store directories, files or archives as a finalized package.

Files named .artifactignore say what to leave out, by the rules of gitignore.
A failed command before a pipe looks like the end of its output: `set -o pipefail` in the shell makes the line fail.
After an interrupt, run the same command again to continue. It skips stored files that have not changed.""",
        "get": "Write one file of a package to stdout, or to a file.",
        "manifest": "Print the manifest of a finalized package.",
        "export": """Write a package to a directory, or as one tar or zip file.

Checks every file. Restores links, empty directories and, within the umask, executable bits. Overwrites nothing in
DIR without --update; an archive replaces FILE. After an interrupt, run the same command again to continue.
Exits 3 if some entries are not written, and lists them; the others are.""",
        "package create": """Create an open package, to be filled step by step.

Prints its id.""",
        "package add": "Put files, directories or archives into an open package.",
        "package finalize": "Finalize a package; repeating the command gives the same answer.",
        "package annotate": """Say something about a package, also after it was finalized.

The manifest does not change, and `artifactstore history PACKAGE` shows who said what.""",
        "package list": """List packages, newest first.

Every given condition must hold. In a GLOB, * is any text, ? one character, [a-c] one of a set; quote it.""",
        "package copy": """Copy a finalized package to another store, and check every file.

The copy has the same tree digest, name, metadata and annotations, but an id, times and a manifest of its own. With
--tags, the package's tags are set to the copy. To compare, use `artifactstore diff` with --store-b.
The store is created if it does not exist. A repeated command finds the copy of the first one.""",
        "package delete": """Delete open or finalized packages. Their files go; their records and manifests stay.

A package with a hold or a protected tag is refused. So is a finalized one whose retention has not ended, without
--before-expiry.""",
        "package show": "Show a package and its files, links and empty directories.",
        "ls": """List one directory of a package.

Directories end with /, and executable files with *. Links show their target.""",
        "tree": """Print all paths of a package, indented.

With PATH, only that one and those below it.""",
        "diff": """List the differences between two packages.

A is added, D removed, M changed and R renamed. With --store-b, B is a package of another store.
With --json, --stat and --summary print the totals as one last line.
Exits 0, also if there are differences; with --exit-code, exits 3 then.""",
        "find": """Find which packages contain a path, a file name or a content.

Lists the newest package first. In the GLOB of a path, * stops at / and ** does not; quote it.""",
        "tag set": """Set a tag to a finalized package, or move it.

Wherever a package is named, tag:TAG then names this one.""",
        "tag delete": "Delete a tag; its package and its history stay.",
        "tag show": "Show which package a tag names, and who set it.",
        "tag list": "List all tags.",
        "tag log": "List who set or deleted a tag, and when.",
        "token create": """Create a token for the service, and print its secret once.

stdout has the secret alone. The store keeps only a digest of it. No scope includes another one. A name is never
used again. In the GLOB of a name, * is any text; quote it.""",
        "login": """Check a token with a service, and keep it for later commands.

Reads the token from stdin. Commands use it if ARTIFACTSTORE_URL names the service. It is kept in a file that only you
can read: artifactstore/tokens.json in $XDG_CONFIG_HOME or ~/.config.""",
        "logout": "Forget the token of a service. It stays valid until it expires or is revoked.",
        "token list": "List all tokens, without their secrets.",
        "token revoke": "Revoke a token at once and for good.",
        "hold place": """Keep packages from deletion and expiry until it is released.

A package can have several holds.""",
        "hold release": "Release a hold. Other holds and the retention still keep the package.",
        "hold list": "List the holds that were not released.",
        "retention set": """Set how long a finalized package is kept after it was finalized.

This may also shorten its retention, unless a hold is on it. The manifest keeps what it was finalized with.""",
        "retention extend": """Keep a finalized package longer, from the end of its retention.

If its retention has ended, from now.""",
        "retention list": """List the finalized packages whose retention has ended.

Those whose retention ended first come first.

A package that a hold or a protected tag keeps is marked.""",
        "retention class add": """Add a retention class.

It can be used wherever a class is taken, and never changes. The same class can be added again.""",
        "retention class list": "List the retention classes, also those that were added.",
        "retention explain": """Say what keeps a package and until when, or what lets it go.

Names holds, protected tags, its retention, and each keep policy for its name with the rules that keep it.""",
        "expire": """Let packages go whose time is over. Their records and manifests stay.

These are finalized packages whose retention has ended, and open ones that nobody touched for long. Holds, protected
tags and permanent retention win. Stops if the clock is doubtful, or if most packages would go.""",
        "clock confirm": "Confirm that the clock is right, after `expire` doubted it.",
        "stats": """Print what the store holds: packages, files and bytes.

Also says when the store was last backed up and verified. Reads a few rows, however large the store is.""",
        "du": """Print how much space packages take, by name, the largest first.

size is what their files have, stored what their ingests added to the store, and ratio how many times size is larger.
With --unique, prints what would be freed if exactly these packages went together.""",
        "retention policy set": """Set the keep policy of a group, in place of the one before.

Setting it lets no package go; `retention policy apply` does. A package is kept if any rule of any policy that matches
its name keeps it. Only finalized packages are judged, by the time of their finalizing, in UTC.""",
        "retention policy show": "Show the keep policy of a group.",
        "retention policy list": "List all keep policies.",
        "retention policy delete": "Delete the keep policy of a group; its packages stay.",
        "retention policy apply": """Let packages go that no keep policy keeps.

They go also before their retention ends. Prints for each package the rules that keep it, or the policy by which it
goes. Protected tags, holds and permanent retention always keep a package; any other retention class does not.
`--dry-run` changes nothing, and says how much time the retention of each package has left.""",
        "schema add": """Register the next version of a metadata schema.

Supports a part of JSON Schema 2020-12, and refuses other keywords.""",
        "schema list": "List all metadata schemas, and for which packages.",
        "schema require": """Require a schema for new packages of a name.

A package whose name matches NAME-GLOB gets the schema when it is created, as if --schema had been given, and another
schema is refused. Packages that exist keep what they have. Of several globs that match a name, all must require the
same version.""",
        "schema unrequire": "No longer require a schema for new packages of a name.",
        "schema show": "Print a metadata schema.",
        "verify": """Read every object again and compare it with the log.

Begins with what was not read for the longest time, and records what it has read. After an interrupt, --max-age reads
the rest. Exits 3 if anything is damaged or missing, and names the affected packages; `repair` repairs it.""",
        "repair": """Repair flawed objects with contents from elsewhere.

Checks both digests of every content. Without --from, says what is needed.
Exits 3 if an object is still damaged or missing.""",
        "gc": """Delete what no package refers to, and give its disk space back.

Other commands may run meanwhile. An object stays for the grace after its last package went, and the next run after
that deletes it: run `gc` once a day, or let the service do it. An interrupted run is continued by the next one.""",
        "purge": """Destroy contents for good, in store and backups.

For leaked secrets and personal data. No hold prevents it, and nothing undoes it. The files stay in their packages and
cannot be read, and the store never takes the content again. The reason stays in the log: do not repeat the secret.""",
        "redact": """Replace a text in the log for good, in store and backups.

For names of persons and secrets in names, paths and metadata of packages. The log stays verifiable. A manifest that had
the text cannot be printed any more. Without --confirm-events, says how many events have the text. Exits 1 if anything
still has it.""",
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

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "database_url": "sqlite:///FILE, or postgresql://USER@HOST/NAME.",
        "storage_local_root": "The directory of the objects.",
        "log_level": "What is logged: DEBUG, INFO, WARNING or ERROR.",
        "package_files_max": "The most entries in one package.",
        "storage_small_max": "Up to how many bytes an object is a row and no file.",
        "expire_hours": "Hours after which a service lets packages go; 0: never.",
        "gc_hours": "Hours after which it collects garbage; 0: never.",
        "verify_hours": "Hours after which it verifies objects; 0: never.",
        "upload_max_mib": "The size of the largest file that a service takes, in MiB.",
        "upload_reserve_mib": "The space that uploads leave free, in MiB.",
        "anonymous_read": "Whether requests without a token may read packages.",
        "trusted_proxies": "Addresses of reverse proxies that a service believes.",
        "public_url": "The URL at which browsers reach a service.",
    }
)
"""What each setting is, in the words of `artifactstore --help`."""
