"""The manual pages of the command line: `python tests/man_pages.py` writes docs/man/, which the wheel installs.

They say what `--help` says, from the same texts. They are committed like docs/reference/; a test holds them against the
code. The language is man(7), in the part that groff and mandoc both know.
"""

from collections.abc import Iterable, Mapping, Sequence
from inspect import cleandoc
from typing import Final

import typer.main
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from artifactstore.cli.app import command_line
from artifactstore.cli.examples import EXAMPLES
from artifactstore.config import ENVIRONMENT
from artifactstore.version import VERSION
from documents import ROOT
from reference_pages import commands_of

__all__ = ["MAN", "pages", "write"]

MAN: Final = ROOT / "docs" / "man"

_SPECIAL: Final = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
)


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    group = typer.main.get_group(command_line())
    commands = dict(commands_of(group))
    made = {f"artifactstore-{name.replace(' ', '-')}.1": _page_of(name, command) for name, command in commands.items()}
    return {"artifactstore.1": _main_page(group, commands), **made}


def write() -> None:
    """Write all pages, and remove those of commands that are gone."""
    MAN.mkdir(exist_ok=True)
    made = pages()
    for path in MAN.glob("*.1"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (MAN / name).write_text(text)


def _text(text: str) -> str:
    """Text as roff shows it: no character has a meaning of its own."""
    lines = (line.translate(_SPECIAL) for line in text.split("\n"))
    return "\n".join(rf"\&{line}" if line.startswith(".") else line for line in lines)


def _section(title: str, *parts: str) -> str:
    return "\n".join([f".SH {title}", *parts])


def _items(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f".TP\n{term}\n{meaning}" for term, meaning in rows)


def _page(name: str, brief: str, *sections: str) -> str:
    title = f"artifactstore {name}".strip().replace(" ", "-")
    head = (
        '.\\" made by tests/man_pages.py from the code; `make docs` writes it again\n'
        f'.TH {_text(title.upper())} 1 "" "artifactstore {VERSION}" "artifactstore"\n'
        f".SH NAME\n{_text(title)} \\- {_text(brief)}"
    )
    return "\n".join([head, *sections]) + "\n"


def _paragraphs(text: str) -> str:
    """Paragraphs of a help text; lines within one stay lines, as `--help` has them."""
    return "\n.PP\n".join(_text(part).replace("\n", "\n.br\n") for part in text.split("\n\n"))


def _parameter(parameter: object) -> tuple[str, str]:
    if isinstance(parameter, TyperArgument):
        return rf"\fI{_text(str(parameter.metavar))}\fR", _text(parameter.help or "")
    if not isinstance(parameter, TyperOption):
        raise TypeError(parameter)
    choices: Sequence[str] = getattr(parameter.type, "choices", ())
    value = "" if parameter.is_flag else rf" \fI{_text('|'.join(choices) or str(parameter.metavar or 'VALUE'))}\fR"
    names = [*sorted(parameter.opts, key=len), *parameter.secondary_opts]
    default = getattr(parameter.default, "value", parameter.default)
    said = "" if parameter.is_flag or default is None else f" Default: {default}."
    if parameter.envvar is not None:
        said += f" Environment: {parameter.envvar}."
    return ", ".join(rf"\fB{_text(name)}\fR" for name in names) + value, _text((parameter.help or "") + said)


def _page_of(name: str, command: TyperCommand) -> str:
    help_text = cleandoc(command.help or "")
    brief, _, rest = help_text.partition("\n")
    arguments = [each for each in command.params if isinstance(each, TyperArgument)]
    options = [each for each in command.params if isinstance(each, TyperOption)]
    usage = [rf"\fBartifactstore {_text(name)}\fR", r"[\fIOPTIONS\fR]"]
    usage += [term if each.required else f"[{term}]" for each in arguments for term in [_parameter(each)[0]]]
    sections = [_section("SYNOPSIS", " ".join(usage))]
    sections.append(_section("DESCRIPTION", _paragraphs(f"{brief}\n\n{rest.strip()}".strip())))
    if arguments:
        sections.append(_section("ARGUMENTS", _items(map(_parameter, arguments))))
    help_option = (r"\fB\-h\fR, \fB\-\-help\fR", "Show the help and exit.")
    sections.append(_section("OPTIONS", _items([*map(_parameter, options), help_option])))
    if name in EXAMPLES:
        sections.append(_section("EXAMPLES", ".nf", *map(_text, EXAMPLES[name]), ".fi"))
    sections.append(_section("SEE ALSO", r"\fBartifactstore\fR(1)"))
    return _page(name, brief.rstrip("."), *sections)


def _main_page(group: TyperGroup, commands: Mapping[str, TyperCommand]) -> str:
    brief, _, rest = cleandoc(group.help or "").partition("\n\n")
    where, _, exit_codes = rest.partition("\n\n")
    rows = [
        (
            rf"\fBartifactstore\-{_text(name.replace(' ', '-'))}\fR(1)",
            _text(cleandoc(each.help or "").partition("\n")[0]),
        )
        for name, each in commands.items()
    ]
    return _page(
        "",
        brief.rstrip("."),
        _section("SYNOPSIS", r"\fBartifactstore\fR [\fB\-\-store\fR \fIDIR\fR] \fICOMMAND\fR [\fIOPTIONS\fR]"),
        _section("DESCRIPTION", _text(" ".join(where.split()))),
        _section("COMMANDS", _items(rows)),
        _section(
            "ENVIRONMENT", _items((rf"\fB{name}\fR", f"Default: {_text(value)}") for name, value in ENVIRONMENT.items())
        ),
        _section("EXIT STATUS", _text(" ".join(exit_codes.removeprefix("Exit codes: ").split()))),
    )


if __name__ == "__main__":
    write()
