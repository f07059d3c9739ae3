"""Arguments and options that several commands share."""

import re
import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from artifactstore.cli.dash import DashText
from artifactstore.cli.line_files import text_in
from artifactstore.cli.output import ProgressForm, show_progress, silence
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.package_subtrees import split_subtree
from artifactstore_protocols.retention import RETENTION_CLASSES
from artifactstore_protocols.selection import Selection, rules_in

__all__ = [
    "Exclude",
    "ExcludeCaches",
    "ExcludeFrom",
    "FirstPackage",
    "Include",
    "Json",
    "Key",
    "Links",
    "MaxFileSize",
    "NoFilesCache",
    "NoIgnoreFiles",
    "OpenPackage",
    "OptionalPackage",
    "Output",
    "Package",
    "Progress",
    "Quiet",
    "Retention",
    "SecondPackage",
    "check_no_subtree",
    "complete_names",
    "complete_packages",
    "complete_paths",
    "complete_retention",
    "complete_tags",
    "selection_of",
    "size_of",
]


def _silence(quiet: bool) -> None:
    if quiet:
        silence()


def _show_progress(form: ProgressForm) -> None:
    show_progress(form)


def complete_packages(context: typer.Context, incomplete: str) -> list[str]:
    """Return texts that name a package; for `export`, also PACKAGE:PATH."""
    from artifactstore.cli import completion  # noqa: PLC0415 - needed only for shell completion, as below

    complete = completion.packages_and_paths if context.info_name == "export" else completion.packages_and_tags
    return complete(incomplete)


def _complete_second(context: typer.Context, incomplete: str) -> list[str]:
    from artifactstore.cli.completion import packages_and_tags  # noqa: PLC0415

    return packages_and_tags(incomplete, store=context.params.get("store_b"))


def complete_names(incomplete: str) -> list[str]:
    """Return names of packages."""
    from artifactstore.cli.completion import package_names  # noqa: PLC0415

    return package_names(incomplete)


def _open_names(incomplete: str) -> list[str]:
    from artifactstore.cli.completion import package_names  # noqa: PLC0415

    return package_names(incomplete, status="open")


def complete_paths(context: typer.Context, incomplete: str) -> list[str]:
    """Return paths in the package that the command line names."""
    from artifactstore.cli.completion import paths  # noqa: PLC0415

    package = context.params.get("package")
    return paths(package, incomplete) if isinstance(package, str) else []


def complete_tags(incomplete: str) -> list[str]:
    """Return tags."""
    from artifactstore.cli.completion import tags  # noqa: PLC0415

    return tags(incomplete)


def complete_retention(incomplete: str) -> list[str]:
    """Return retention classes: those of every store, and those that this store has added."""
    from artifactstore.cli.completion import added_classes  # noqa: PLC0415

    return [name for name in (*RETENTION_CLASSES, *added_classes()) if name.startswith(incomplete)]


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "-q", "--quiet", callback=_silence, help="Print no progress and no text. Errors, --json and exit codes stay."
    ),
]
Progress = Annotated[
    Literal["auto", "bar", "plain", "json", "none"],
    typer.Option(
        "--progress",
        envvar="ARTIFACTSTORE_PROGRESS",
        callback=_show_progress,
        help="Show progress on stderr: a bar, a line every 5 seconds, or JSON for tools. auto is a bar on a terminal, "
        "else lines.",
    ),
]
_FORMS = (
    "NAME@latest, NAME@{n} (n back), NAME@2026-11-28 (finalized by then), tag:TAG, manifest:DIGEST, tree:DIGEST, "
    "its id, or 6 or more characters of one end of it; ~ or ~n after any of them: the one (n) before it."
)
_HELP = f"A package: NAME (the newest finalized one), {_FORMS}"

Package = Annotated[str, typer.Argument(metavar="PACKAGE", help=_HELP, autocompletion=complete_packages)]
FirstPackage = Annotated[str, typer.Argument(metavar="A", help=_HELP, autocompletion=complete_packages)]
SecondPackage = Annotated[
    str, typer.Argument(metavar="B", help="Another package, named like A.", autocompletion=_complete_second)
]
OpenPackage = Annotated[
    str,
    typer.Argument(
        metavar="PACKAGE",
        help="An open package: NAME, its id, or 6 or more characters of one end of it.",
        autocompletion=_open_names,
    ),
]
OptionalPackage = Annotated[
    str | None,
    typer.Argument(
        metavar="PACKAGE",
        help=f"{_HELP} Default: all packages.",
        autocompletion=complete_packages,
    ),
]
Ids = Annotated[
    list[str],
    typer.Argument(metavar="ID...", help="The ids of packages. Names are refused.", autocompletion=complete_packages),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; the log keeps it.")]
Retention = Annotated[
    str,
    typer.Option(
        "--retention",
        metavar="CLASS",
        help="ephemeral, short, standard, long, permanent, or a class that was added.",
        autocompletion=complete_retention,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="Make a repeated command safe: the same key gives the first answer again.",
    ),
]
Links = Annotated[
    LinkPolicy,
    typer.Option(
        "--links",
        help="How to treat symbolic links: kept as links (refused if they leave the tree), followed, refused, or "
        "left out.",
    ),
]
NoFilesCache = Annotated[
    bool, typer.Option("--no-files-cache", help="Read every file, even if it has not changed since it was last read.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="FILE", path_type=DashText, help="Write to a file instead of stdout; - is stdout."
    ),
]


Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="RULE", help="Leave out what a rule of gitignore matches: '*.log'; repeatable."),
]
ExcludeFrom = Annotated[
    list[Path] | None,
    typer.Option(
        "--exclude-from",
        metavar="FILE",
        path_type=DashText,
        help="Leave out what the rules in a file match, such as .gitignore; - is stdin; repeatable. --exclude decides "
        "before it.",
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="RULE", help="Take it although another rule excludes it; repeatable."),
]
NoIgnoreFiles = Annotated[
    bool, typer.Option("--no-ignore-files", help="Do not follow the rules in files named .artifactignore.")
]
ExcludeCaches = Annotated[
    bool, typer.Option("--exclude-caches", help="Leave out directories that a CACHEDIR.TAG marks as a cache.")
]
MaxFileSize = Annotated[
    str | None, typer.Option("--max-file-size", metavar="SIZE", help="Leave out larger files: 500K, 20M, 2G.")
]


def check_no_subtree(package: str, command: str) -> None:
    """Refuse PACKAGE:PATH, which `export` takes, for a command whose path is an argument of its own.

    Raises:
        typer.BadParameter: the text has a path.
    """
    package, path = split_subtree(package)
    if path:
        advice = shlex.join(("artifactstore", command, package, path))
        raise typer.BadParameter(f"the path is an argument of its own: {advice}", param_hint="PACKAGE")


_SIZE = re.compile(r"([0-9]{1,15})([KMGT]?)(?:iB|B)?")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size_of(option: str, text: str) -> int:
    """Return the number of bytes that the value of an option means.

    Raises:
        typer.BadParameter: the text is no size.
    """
    if (found := _SIZE.fullmatch(text)) is None:
        raise typer.BadParameter(f"{text!r} is no size: 500K, 20M, 2G", param_hint=option)
    return int(found[1]) * _UNITS[found[2]]


def selection_of(
    exclude: list[str] | None,
    include: list[str] | None,
    max_file_size: str | None,
    exclude_from: list[Path] | None = None,
    *,
    ignore_files: bool,
    exclude_caches: bool,
) -> Selection:
    """Return what an ingest takes, by its options.

    Raises:
        typer.BadParameter: the size is none, or a file with rules cannot be read.
        InvalidValue: a rule is none.
    """
    limit = None if max_file_size is None else size_of("--max-file-size", max_file_size)
    rules = [rule for file in exclude_from or () for rule in rules_in(text_in(file, "--exclude-from"))]
    return Selection((*rules, *(exclude or ())), include or (), ignore_files, exclude_caches, limit)
