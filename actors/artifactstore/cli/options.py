"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from artifactstore.cli.output import silence
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.retention import RETENTION_CLASSES

__all__ = [
    "FirstPackage",
    "Json",
    "Key",
    "Links",
    "Meta",
    "NoFilesCache",
    "OpenPackage",
    "OptionalPackage",
    "Output",
    "Package",
    "Quiet",
    "Retention",
    "SecondPackage",
    "metadata_of",
]


def _silence(quiet: bool) -> None:
    if quiet:
        silence()


def _package_names(incomplete: str) -> list[str]:
    from artifactstore.cli.completion import package_names  # noqa: PLC0415 - needed only for shell completion

    return package_names(incomplete)


def _retention_classes(incomplete: str) -> list[str]:
    return [name for name in RETENTION_CLASSES if name.startswith(incomplete)]


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "-q", "--quiet", callback=_silence, help="Print no progress and no text. Errors, --json and exit codes stay."
    ),
]
_FORMS = (
    "NAME@latest, NAME@{n} (n back), NAME@2026-11-28 (finalized by then), tag:TAG, manifest:DIGEST, tree:DIGEST, "
    "its id, or 6 or more characters of one end of it."
)
_HELP = f"A package: NAME (the newest finalized one), {_FORMS}"

Package = Annotated[str, typer.Argument(metavar="PACKAGE", help=_HELP, autocompletion=_package_names)]
FirstPackage = Annotated[str, typer.Argument(metavar="A", help=_HELP, autocompletion=_package_names)]
SecondPackage = Annotated[
    str, typer.Argument(metavar="B", help="Another package, named like A.", autocompletion=_package_names)
]
OpenPackage = Annotated[
    str,
    typer.Argument(
        metavar="PACKAGE",
        help="An open package: NAME, its id, or 6 or more characters of one end of it.",
        autocompletion=_package_names,
    ),
]
OptionalPackage = Annotated[
    str | None,
    typer.Argument(
        metavar="PACKAGE",
        help=f"{_HELP} Default: all packages.",
        autocompletion=_package_names,
    ),
]
Retention = Annotated[
    str,
    typer.Option(
        "--retention",
        metavar="CLASS",
        help="ephemeral, short, standard, long or permanent.",
        autocompletion=_retention_classes,
    ),
]
Meta = Annotated[list[str] | None, typer.Option("--meta", metavar="K=V", help="Metadata of the package; repeatable.")]
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
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file instead of stdout; - is stdout.")
]


def metadata_of(pairs: list[str] | None) -> dict[str, str]:
    """Return `K=V` texts as a mapping.

    Raises:
        typer.BadParameter: a text has no `=` or no key, or a key is repeated.
    """
    metadata: dict[str, str] = {}
    for pair in pairs or ():
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"{pair!r} is not K=V", param_hint="--meta")
        if key in metadata:
            raise typer.BadParameter(f"{key!r} is given twice", param_hint="--meta")
        metadata[key] = value
    return metadata
