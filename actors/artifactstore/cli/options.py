"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Json", "Key", "Meta", "OptionalPackage", "Output", "Package", "Retention", "metadata_of"]

Json = Annotated[bool, typer.Option("--json", help="Print facts as JSON, for scripts.")]
Package = Annotated[str, typer.Argument(metavar="PACKAGE", help="A package's id, or its name if only one has it.")]
OptionalPackage = Annotated[
    str | None, typer.Argument(metavar="PACKAGE", help="A package's id or name; all packages without it.")
]
Retention = Annotated[
    str, typer.Option("--retention", metavar="CLASS", help="ephemeral, short, standard, long or permanent.")
]
Meta = Annotated[list[str] | None, typer.Option("--meta", metavar="K=V", help="A fact about the package; repeatable.")]
Key = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key", metavar="KEY", help="The same command with the same key gives its first answer again."
    ),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file instead of stdout.")
]


def metadata_of(pairs: list[str] | None) -> dict[str, str]:
    """`K=V` texts as a mapping.

    Raises:
        typer.BadParameter: one has no `=`, or a key comes twice.
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
