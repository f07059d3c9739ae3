"""The pages that follow from the code and the records: `python tests/reference_pages.py` writes docs/reference/.

They are committed, so that a code host shows them and links lead to them. A test holds them against the code.
"""

import ast
import re
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from inspect import cleandoc
from pathlib import Path
from types import MappingProxyType
from typing import Final, get_args

import trio
import typer.main
from msgspec import Struct
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from artifactstore import Settings, open_registry
from artifactstore.cli.app import command_line
from artifactstore.cli.examples import EXAMPLES
from artifactstore.config import ENVIRONMENT
from artifactstore.doctor.checks import CHECKS
from artifactstore.http.metrics import RequestCounts, Sources, exposition
from artifactstore.http.overview import Overview, overview_of
from artifactstore.json_output import json_key
from artifactstore_protocols import canonical, collection, package_diff, records, token_records
from artifactstore_protocols.error_codes import code_of
from artifactstore_protocols.event_types import EVENT_TYPES, PACKAGE_FINALIZED, Payload, PayloadInvalid
from artifactstore_protocols.supervision.lifecycle import mermaid
from documents import ROOT
from otp_cases import CASES

__all__ = ["PAGES", "REFERENCE", "commands_of", "settings_page", "texts_in"]

REFERENCE: Final = ROOT / "docs" / "reference"
ROOMS: Final = (ROOT / "actors", ROOT / "protocols")

_JSON: Mapping[str, tuple[type[Struct] | str, ...]] = MappingProxyType(
    {
        "ingest": (records.IngestSummary,),
        "package create": (records.PackageRecord,),
        "package add": (records.DirectoryIngest, records.FileRecord),
        "package finalize": (records.FinalizedPackage,),
        "package list": (records.PackageRecord,),
        "package show": (records.PackageRecord,),
        "ls": (records.DirectoryItem,),
        "tree": (records.FileRecord,),
        "diff": (records.EntryChange, package_diff.DiffTotals),
        "tag set": (records.Tag,),
        "tag delete": ("tag",),
        "tag list": (records.Tag,),
        "tag log": (records.HistoryEntry,),
        "token create": ("name, secret",),
        "token list": (token_records.Token,),
        "token revoke": (token_records.Token,),
        "export": (records.ExportReport,),
        "backup": (records.BackupReport, records.BackupCheck),
        "restore": (records.RestoreReport,),
        "verify": (records.VerifyReport,),
        "gc": (collection.CollectionReport,),
        "replay": (records.ReplayReport,),
        "events": (
            "sequence, event_id, type, subject, principal, recorded_at, payload",
            records.LogExport,
            records.LogImport,
        ),
        "history": (records.HistoryEntry,),
        "doctor": ("settings, store_id, root, checks, findings",),
        "migrate": ("database, before, after",),
        "version": ("version",),
    }
)
"""What each command prints with `--json`: the record, or the keys where there is no record."""

_JSON_NOTES: Mapping[str, str] = MappingProxyType(
    {
        "package add": " for a directory, then for a file",
        "package show": " and `file_list`, the entries",
        "backup": "; the second with `--check`",
        "doctor": ": each setting has `value, origin`; `root` has `store_id, collected_at, event_id`, or is null "
        "if nobody has claimed it; each finding has `check, problem, remedy`",
        "events": "; the second with `--export`, the third with `--import`",
    }
)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(text: str) -> str:
    shown = _cell(text)
    if "`" not in shown:
        return f"`{shown}`"
    pad = " " if shown[0] == "`" or shown[-1] == "`" else ""
    return f"``{pad}{shown}{pad}``"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _page(title: str, *parts: str) -> str:
    made = "<!-- made by tests/reference_pages.py from the code; `make docs` writes it again -->"
    return "\n".join([f"# {title}\n", made + "\n", *parts])


def _prose(docstring: str | None) -> tuple[str, dict[str, str]]:
    """What a docstring says, and what it says of each attribute."""
    text, _, rest = re.sub(r"\n+Raises:\n.*", "", cleandoc(docstring or ""), flags=re.DOTALL).partition("\nAttributes:")
    attributes = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", rest, re.MULTILINE)
    return " ".join(text.split()), {name: " ".join(said.split()) for name, said in attributes}


def commands_of(group: TyperGroup, prefix: str = "") -> Iterator[tuple[str, TyperCommand]]:
    """Every command below a group, by its name as it is typed."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands_of(command, f"{prefix}{name} ")
        elif isinstance(command, TyperCommand):
            yield f"{prefix}{name}", command


def _keys(printed: type[Struct] | str) -> str:
    if isinstance(printed, str):
        return f"`{printed}`"
    return f"`{', '.join(map(json_key, printed.__struct_fields__))}`"


def _option(parameter: object) -> tuple[str, str]:
    if isinstance(parameter, TyperArgument):
        return f"`{parameter.metavar}`", _cell(parameter.help or "")
    if not isinstance(parameter, TyperOption):
        raise TypeError(parameter)
    choices: Sequence[str] = getattr(parameter.type, "choices", ())
    values = "" if parameter.is_flag else " " + ("\\|".join(choices) or str(parameter.metavar or "VALUE"))
    default = parameter.default
    said = "" if parameter.is_flag or default is None else f" Default: `{getattr(default, 'value', default)}`."
    return f"`{', '.join(sorted(parameter.opts, key=len))}{values}`", _cell(parameter.help or "") + said


_SHARED: Final = frozenset({"help", "store", "_quiet", "_progress", "json"})
_CLI_TEXT: Final = """\
Every command takes `-h`, `--help` and `--store DIR`. With `-q`, `--quiet` a command prints no progress and no text for
people; errors, `--json` and exit codes stay. A long command takes `--progress auto|bar|plain|json|none`; see
[progress](../OPERATOR.md#progress). `--json` prints the keys that are listed; a list prints a line each.
Times in JSON are RFC 3339 in UTC with microseconds.
"""


def cli_page() -> str:
    """Every command with its arguments, options, JSON keys and examples."""
    parts = [_CLI_TEXT]
    for name, command in commands_of(typer.main.get_group(command_line())):
        rows = [_option(each) for each in command.params if each.name not in _SHARED]
        parts += [f"## {name}\n", cleandoc(command.help or "").strip() + "\n"]
        if rows:
            parts.append(_table(("argument or option", "meaning"), rows))
        if name in _JSON:
            parts.append(f"`--json`: {' or '.join(map(_keys, _JSON[name]))}{_JSON_NOTES.get(name, '')}.\n")
        parts.append("```sh\n" + "\n".join(EXAMPLES.get(name, ())) + "\n```\n")
    return _page("Commands", *parts)


def settings_page() -> str:
    """Every variable with its default and its meaning."""
    _, meanings = _prose(Settings.__doc__)
    rows = [
        (_code(variable), _code(default), _cell(meanings[variable.removeprefix("ARTIFACTSTORE_").lower()]))
        for variable, default in ENVIRONMENT.items()
    ]
    return _page(
        "Settings",
        "Where each may stand, and which one counts, is in the [manual](../OPERATOR.md#settings).\n",
        _table(("variable", "default", "meaning"), rows),
    )


def _words(name: str) -> str:
    """`v1.package.created` and `PackageCreated` in one form."""
    return re.sub(r"[._]", "", name).lower()


def payload_fields(event_type: str) -> tuple[str, ...]:
    """What a payload must have, as the refusal of one that has nothing says it."""
    if event_type == PACKAGE_FINALIZED.name:
        return ()  # the manifest itself
    try:
        EVENT_TYPES[event_type].codec.decode(canonical.encode({}))
    except PayloadInvalid as refused:
        return tuple(refused.reason.rpartition(" keys ")[2].split(", "))
    raise AssertionError(event_type)


def _meaning(field: str, meanings: Mapping[str, str]) -> str:
    """What is said of a field: by its own name, or by that of the attribute which becomes several fields."""
    if field in meanings:
        return _cell(meanings[field])
    return next((_cell(said) for said in meanings.values() if f"`{field}`" in said), "")


def events_page() -> str:
    """Every event type with its payload's fields."""
    classes: dict[str, type[Struct]] = {_words(payload.__name__): payload for payload in get_args(Payload.__value__)}
    parts: list[str] = []
    for name in EVENT_TYPES:
        said, meanings = _prose(classes[_words(name.removeprefix("v1."))].__doc__)
        parts.append(f"## {name}\n")
        parts.append(f"{said}\n")
        fields = payload_fields(name)
        if fields:
            parts.append(_table(("field", "meaning"), [(f"`{each}`", _meaning(each, meanings)) for each in fields]))
    return _page(
        "Events",
        "A payload is a canonical CBOR map with exactly these fields; the payload of `v1.package.finalized` is the "
        "manifest. The form of the arrays, and what each event does to the tables, is in the "
        "[blueprint](../ARCHITECTURE-BLUEPRINT.md#events-and-payloads).\n",
        *parts,
    )


def texts_in(tree: ast.AST) -> list[str]:
    """Every string in a piece of code, with `…` where a value is filled in."""
    texts: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(re.sub(r"\{self\.[^}]*\}", "…", node.value))  # a template of an error
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            texts.append("".join(map(str, parts)))
    return texts


def errors_of(rooms: Iterable[Path] = ROOMS) -> Iterator[tuple[ast.ClassDef, list[str]]]:
    """Every class of an error that says something of its own, and what."""
    for room in rooms:
        for path in sorted(path for path in room.rglob("*.py") if "testing" not in path.parts):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and node.bases and "Struct" not in map(ast.unparse, node.bases):
                    said = [
                        each for each in node.body if re.match("template = |@override\ndef __str__", ast.unparse(each))
                    ]
                    if said:
                        yield node, _whole_texts(said[0])


def _whole_texts(tree: ast.AST) -> list[str]:
    """The texts that are not a part of another one."""
    texts = [text for text in texts_in(tree) if len(text.split()) > 1 or "…" in text]
    return [text for text in dict.fromkeys(texts) if not any(text != other and text in other for other in texts)]


def errors_page() -> str:
    """Every error with its code, its message and its meaning."""
    rows: list[tuple[str, str, str]] = []
    for node, texts in errors_of():
        name = f"{_code(node.name)} (`{code_of(node.name)}`)"
        said, _ = _prose(ast.get_docstring(node))
        rows.append((name, " or ".join(_code(text) for text in texts if len(text.split()) > 2), _cell(said)))
    return _page(
        "Errors",
        "Python programs import the errors from `artifactstore.errors`; the facts are their attributes. The name in "
        "brackets is the `code` of an error of the [HTTP API](../how-to/http-api.md). `…` stands for names and "
        "numbers. What an operator can do about some of them, beyond what the message says, is in the "
        "[manual](../OPERATOR.md#trouble).\n",
        _table(("error", "message", "meaning"), sorted(rows)),
    )


def doctor_page() -> str:
    """Every check of the doctor."""
    rows = [(_code(name), _cell(_prose(check.__doc__)[0])) for name, check in CHECKS.items()]
    return _page("Checks of the doctor", _table(("check", "what it does"), rows))


def metrics_page() -> str:
    """Every metric, as a real store has it."""

    async def one_file() -> AsyncGenerator[bytes]:
        yield b"a file"

    async def sources() -> Sources:
        with tempfile.TemporaryDirectory() as directory:
            settings = Settings(f"sqlite:///{directory}/log.db", Path(directory, "objects"))
            async with open_registry(settings) as registry:
                package = await registry.create_package("package")
                await registry.ingest_file(package.package_id, "file", one_file())
                await registry.verify()
                await registry.collect_garbage()
                await registry.backup(Path(directory, "backup"))
                contents = await overview_of(lambda: registry)()
                found = contents if isinstance(contents, Overview) else None
                return Sources(await registry.health(), registry.snapshot(), 0, 0, found)

    counts = RequestCounts()
    counts.count("/health", "GET", 200)
    text = exposition(trio.run(sources), counts).decode()
    samples = dict(re.findall(r"^(artifactstore_\w+)(?:\{([^}]*)\})? \S+$", text, re.MULTILINE))
    rows: list[tuple[str, str]] = []
    for name, said in re.findall(r"^# HELP (artifactstore_\w+) (.*)$", text, re.MULTILINE):
        labels = re.findall(r"(\w+)=", samples.get(name, ""))
        rows.append((f"`{name}{'{' + ', '.join(labels) + '}' if labels else ''}`", _cell(said)))
    return _page(
        "Metrics",
        "`GET /metrics` has these, and `process_…` with memory, processor time and open files.\n",
        _table(("metric", "meaning"), sorted(rows)),
    )


def modules_page() -> str:
    """Every module with what it is for."""
    parts: list[str] = []
    for package in (ROOT / "protocols" / "artifactstore_protocols", ROOT / "actors" / "artifactstore"):
        rows: list[tuple[str, str]] = []
        for path in sorted(package.rglob("*.py")):
            name = ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
            said = cleandoc(ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0]
            if name not in {"__init__", "__main__"} and said:
                rows.append((f"`{name}`", _cell(said)))
        parts += [f"## {package.name}\n", _table(("module", "what it is for"), rows)]
    return _page("Modules", *parts)


def child_states_page() -> str:
    """The states of a child, drawn."""
    return _page(
        "States of a child",
        "What they mean is in [Supervision](../SUPERVISION.md#the-life-of-a-child).\n",
        f"```mermaid\n{mermaid()}\n```\n",
    )


def otp_cases_page() -> str:
    """Every case of OTP's suite for supervisors."""
    tests = [f"`{case}`" for case, reason in CASES.items() if reason is None]
    reasons = dict.fromkeys(reason for reason in CASES.values() if reason is not None)
    rows = [(", ".join(f"`{case}`" for case, said in CASES.items() if said == reason), reason) for reason in reasons]
    return _page(
        "Cases of Erlang/OTP's supervisor suite",
        f"{len(tests)} of the {len(CASES)} cases of `lib/stdlib/test/supervisor_SUITE.erl` are tests here, named "
        f"`test_otp_` and the case:\n\n{', '.join(tests)}.\n",
        _table(("case", "why it is no test here"), rows),
    )


def decisions_page() -> str:
    """Every decision with its title."""
    rows: list[tuple[str, str]] = []
    for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")):
        title = path.read_text().partition("\n")[0].removeprefix("# ")
        rows.append((f"[{path.name[:4]}]({path.name})", title.partition(": ")[2]))
    return _page(
        "Architecture decision records",
        "One decision a file: the situation, the decision, what was measured, what follows from it. A decision that "
        "changes gets a new record, and the old one says which.\n",
        _table(("record", "decision"), rows),
    )


PAGES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "cli.md": cli_page,
        "settings.md": settings_page,
        "events.md": events_page,
        "errors.md": errors_page,
        "doctor.md": doctor_page,
        "metrics.md": metrics_page,
        "modules.md": modules_page,
        "child-states.md": child_states_page,
        "otp-cases.md": otp_cases_page,
        "../adr/README.md": decisions_page,
    }
)


def write(pages: Mapping[str, Callable[[], str]] = PAGES) -> None:
    """Write every page that is not current."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in pages.items():
        (REFERENCE / name).write_text(page())


if __name__ == "__main__":
    write()
