"""Options for metadata, which several commands share, and what they say together."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, cast

import typer

from artifactstore.cli.dash import DASH
from artifactstore_protocols.ci import ci_metadata
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.metadata import (
    METADATA_BYTES_MAX,
    Metadata,
    MetadataValue,
    metadata_from_json,
    metadata_from_pairs,
    pair_text,
)

__all__ = ["Ci", "From", "Meta", "MetaFile", "Schema", "json_object_in", "metadata_of", "metadata_text", "text_in"]

_FILE_BYTES_MAX = 16 * METADATA_BYTES_MAX
"""The most bytes of a file with metadata. JSON can take several bytes for one of the canonical form."""

Schema = Annotated[
    str | None,
    typer.Option("--schema", metavar="NAME[@VERSION]", help="The metadata must fit this schema, also when finalized."),
]
From = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="PACKAGE", help="A finalized package that this one is made from; repeatable."),
]
Ci = Annotated[
    bool,
    typer.Option("--ci", help="Add ci.commit, ci.branch, ci.run_url, ci.run_id, ci.job, ci.provider. --meta wins."),
]
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
    pairs: list[str] | None, file: Path | None = None, *, ci: bool = False, given_by: str = "--meta"
) -> dict[str, MetadataValue]:
    """Return the metadata that options state: of the CI system, over it that of the file, over it that of `K=V` texts.

    Raises:
        NoCiFound: the process runs in no known CI system.
        typer.BadParameter: a text is not K=V or K:=JSON, a key is repeated, or the file has no JSON object.
    """
    metadata: dict[str, MetadataValue] = {**(ci_metadata(os.environ) if ci else {})}
    if file is not None:
        metadata |= cast("dict[str, MetadataValue]", json_object_in(file, "--meta-file"))
    try:
        return {**metadata, **metadata_from_pairs(pairs or ())}
    except InvalidValue as error:
        raise typer.BadParameter(f"{error.value!r}: {error.reason}", param_hint=given_by) from error


def metadata_text(metadata: Metadata) -> str:
    """Return metadata as one line for people, each value as `--meta` takes it."""
    return ", ".join(pair_text(key, value) for key, value in metadata.items()) or "-"


def json_object_in(file: Path, hint: str) -> dict[str, object]:
    """Return the JSON object in a file; `-` is stdin.

    Raises:
        typer.BadParameter: as `text_in`, or the file has no JSON object; `hint` names the parameter.
    """
    try:
        return {**metadata_from_json(text_in(file, hint))}
    except InvalidValue as error:
        raise typer.BadParameter(f"{str(file)!r}: {error.reason}", param_hint=hint) from error


def text_in(file: Path, hint: str) -> str:
    """Return the text in a file of UTF-8, in every locale; `-` is stdin.

    Raises:
        typer.BadParameter: the file cannot be read, is too large, or is not UTF-8; `hint` names the parameter.
    """
    try:
        with nullcontext(sys.stdin.buffer) if file == DASH else file.open("rb") as opened:
            content = opened.read(_FILE_BYTES_MAX + 1)
        if len(content) > _FILE_BYTES_MAX:
            raise typer.BadParameter(f"{str(file)!r} has more than {_FILE_BYTES_MAX} bytes", param_hint=hint)
        return content.decode()
    except OSError as error:
        raise typer.BadParameter(f"cannot read {str(file)!r}: {error.strerror}", param_hint=hint) from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{str(file)!r} is not UTF-8", param_hint=hint) from error
