"""Options for metadata, which several commands share, and what they say together."""

from pathlib import Path
from typing import Annotated

import typer

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.metadata import (
    METADATA_BYTES_MAX,
    Metadata,
    MetadataValue,
    metadata_from_json,
    metadata_from_pairs,
    pair_text,
)

__all__ = ["Meta", "MetaFile", "metadata_of", "metadata_text"]

_FILE_BYTES_MAX = 16 * METADATA_BYTES_MAX
"""The most bytes of a file with metadata. JSON can take several bytes for one of the canonical form."""

Meta = Annotated[
    list[str] | None,
    typer.Option("--meta", metavar="K=V", help="Metadata of the package: K=TEXT, or K:=JSON; repeatable."),
]
MetaFile = Annotated[
    Path | None,
    typer.Option(
        "--meta-file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Metadata of the package: a file with a JSON object. --meta wins over it.",
    ),
]


def metadata_of(
    pairs: list[str] | None, file: Path | None = None, *, given_by: str = "--meta"
) -> dict[str, MetadataValue]:
    """Return the metadata that options state: that of the file, and over it that of `K=V` texts.

    Raises:
        typer.BadParameter: a text is not K=V or K:=JSON, a key is repeated, or the file has no JSON object.
    """
    metadata = {} if file is None else _of_file(file)
    try:
        return {**metadata, **metadata_from_pairs(pairs or ())}
    except InvalidValue as error:
        raise typer.BadParameter(f"{error.value!r}: {error.reason}", param_hint=given_by) from error


def metadata_text(metadata: Metadata) -> str:
    """Return metadata as one line for people, each value as `--meta` takes it."""
    return ", ".join(pair_text(key, value) for key, value in metadata.items()) or "-"


def _of_file(file: Path) -> dict[str, MetadataValue]:
    try:
        with file.open("rb") as opened:
            content = opened.read(_FILE_BYTES_MAX + 1)
        if len(content) > _FILE_BYTES_MAX:
            raise typer.BadParameter(f"{str(file)!r} has more than {_FILE_BYTES_MAX} bytes", param_hint="--meta-file")
        return metadata_from_json(content.decode())
    except OSError as error:
        raise typer.BadParameter(f"cannot read {str(file)!r}: {error.strerror}", param_hint="--meta-file") from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{str(file)!r} is not UTF-8", param_hint="--meta-file") from error
    except InvalidValue as error:
        raise typer.BadParameter(f"{str(file)!r}: {error.reason}", param_hint="--meta-file") from error
