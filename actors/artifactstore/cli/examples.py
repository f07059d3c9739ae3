"""Examples at the end of each command's help, ready to be typed."""

from collections.abc import Mapping
from types import MappingProxyType

import typer

from artifactstore.cli.help_texts import HELP

__all__ = ["EXAMPLES", "add_help_texts"]

EXAMPLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ingest": (
            "artifactstore ingest build",
            "artifactstore ingest reports --name nightly --retention short --meta branch=main",
            "artifactstore ingest build notes.txt --name nightly --dry-run",
            "tar -cz build | artifactstore ingest - --unpack --name nightly",
            "artifactstore ingest reports --ci --schema build --from inputs",
            "artifactstore ingest reports --json --quiet | jq -r .manifest_digest",
        ),
        "get": ("artifactstore get nightly index.html", "artifactstore get nightly bin/run.sh -o run.sh"),
        "manifest": (
            "artifactstore manifest nightly",
            "artifactstore manifest nightly --format cbor | b3sum    # the manifest digest",
        ),
        "export": (
            "artifactstore export nightly restored",
            "artifactstore export nightly:docs website --update",
            "artifactstore export tag:release-4 release-4.tar",
            "artifactstore export 'nightly@{1}' - --format tar | tar -x -C before",
        ),
        "package create": ("artifactstore package create nightly --meta branch=main --meta tests:=412",),
        "package add": (
            "artifactstore package add nightly reports",
            "artifactstore package add nightly notes.txt --as docs/notes.txt --replace",
            "pg_dump app | artifactstore package add nightly - --as app.sql",
        ),
        "package finalize": ("artifactstore package finalize nightly",),
        "package annotate": (
            "artifactstore package annotate nightly reviewed=alice score:=4",
            "artifactstore package annotate nightly --remove score",
        ),
        "package list": (
            "artifactstore package list --name 'night*' --since 7d",
            "artifactstore package list --meta branch=main --from inputs",
            "artifactstore package list --limit 0 --json | jq -r .name",
        ),
        "package copy": ("artifactstore package copy tag:release-4 --to /srv/releases --tags",),
        "package delete": (
            "artifactstore package delete 0199c0de-7c6b-7000-8000-000000000001 --reason 'built with the wrong key'",
            "artifactstore package delete $(cat ids.txt) --before-expiry --reason 'tries are over'",
        ),
        "package show": ("artifactstore package show nightly",),
        "ls": ("artifactstore ls nightly", "artifactstore ls nightly img --long"),
        "tree": ("artifactstore tree nightly", "artifactstore tree nightly img"),
        "diff": (
            "artifactstore diff 'nightly@{1}' nightly",
            "artifactstore diff tag:release-3 tag:release-4 --stat",
            "artifactstore diff nightly nightly --store-b /srv/releases --exit-code",
        ),
        "find": (
            "artifactstore find --path 'docs/**' --package 'night*'",
            "artifactstore find --name '*.html' --since 7d --json",
        ),
        "tag set": (
            "artifactstore tag set release-4 nightly",
            "artifactstore tag set release-4 nightly@2026-11-28 --protect",
        ),
        "tag delete": ("artifactstore tag delete release-4",),
        "tag show": ("artifactstore tag show release-4", "artifactstore tag show 'release 4' --json"),
        "tag list": ("artifactstore tag list", "artifactstore tag list --json | jq -r .tag"),
        "tag log": ("artifactstore tag log release-4",),
        "token create": (
            "artifactstore token create ci-2026 --scope read --scope write --packages 'nightly-*' --expires 90d",
            "artifactstore token create backup-admin --scope admin --expires never",
        ),
        "login": (
            "artifactstore login https://store.example.org",
            "pass show artifactstore | artifactstore login https://store.example.org",
        ),
        "logout": ("artifactstore logout https://store.example.org",),
        "token list": ("artifactstore token list", "artifactstore token list --json | jq -r .name"),
        "token revoke": ("artifactstore token revoke ci-2026 --reason 'it was in a log'",),
        "hold place": ("artifactstore hold place 0199c0de-7c6b-7000-8000-000000000001 --reason 'customer case 4711'",),
        "hold release": ("artifactstore hold release 0199c0de-7c6b-7000-8000-00000000000a",),
        "hold list": ("artifactstore hold list", "artifactstore hold list nightly --json"),
        "retention set": (
            "artifactstore retention set 0199c0de-7c6b-7000-8000-000000000001 long",
            "artifactstore retention set 0199c0de-7c6b-7000-8000-000000000001 90d",
        ),
        "retention extend": ("artifactstore retention extend 0199c0de-7c6b-7000-8000-000000000001 30d",),
        "retention list": ("artifactstore retention list --expiring-within 7d",),
        "retention class add": ("artifactstore retention class add release 120w",),
        "retention class list": ("artifactstore retention class list",),
        "retention explain": ("artifactstore retention explain nightly",),
        "expire": (
            "artifactstore expire --dry-run",
            "artifactstore expire",
            "artifactstore expire --abandoned-after 30d --yes-expire 412",
        ),
        "clock confirm": ("artifactstore clock confirm",),
        "stats": ("artifactstore stats", "artifactstore stats --json | jq .object_bytes"),
        "du": (
            "artifactstore du",
            "artifactstore du 'night*' --json",
            "artifactstore du --unique nightly 'nightly@{1}'",
        ),
        "retention policy set": (
            "artifactstore retention policy set nightly --keep-last 10 --keep-daily 14 --keep-weekly 8",
            "artifactstore retention policy set 'build-*' --keep-within 30d --keep-tagged 'release-*'",
        ),
        "retention policy show": ("artifactstore retention policy show nightly",),
        "retention policy list": ("artifactstore retention policy list --json",),
        "retention policy delete": ("artifactstore retention policy delete 'build-*'",),
        "retention policy apply": (
            "artifactstore retention policy apply --dry-run",
            "artifactstore retention policy apply nightly",
        ),
        "schema add": ("artifactstore schema add build build.schema.json",),
        "schema list": ("artifactstore schema list",),
        "schema require": ("artifactstore schema require 'nightly*' build",),
        "schema unrequire": ("artifactstore schema unrequire 'nightly*'",),
        "schema show": ("artifactstore schema show build", "artifactstore schema show build@1"),
        "verify": (
            "artifactstore verify",
            "artifactstore verify nightly --json",
            "artifactstore verify --max-age 30d --limit-rate 50M",
            "artifactstore verify --sample 5%",
        ),
        "repair": (
            "artifactstore repair",
            "artifactstore repair --from /mnt/backup/store",
            "artifactstore repair --from build --dry-run",
        ),
        "gc": ("artifactstore gc --dry-run", "artifactstore gc", "artifactstore gc --grace 7d --json"),
        "purge": ("artifactstore purge \"$DIGEST\" --reason 'leaked key' --backup /mnt/backup/store",),
        "redact": ("artifactstore redact text.txt --reason 'ticket 4711' --confirm-events 4 --backup /mnt/backup",),
        "replay": ("artifactstore replay --check", "artifactstore replay"),
        "events": (
            "artifactstore events --since 100",
            "artifactstore events --follow --json",
            "artifactstore events --export log.cborseq",
        ),
        "history": ("artifactstore history", "artifactstore history nightly --json"),
        "backup": ("artifactstore backup /mnt/backup/store", "artifactstore backup --check /mnt/backup/store"),
        "restore": ("artifactstore restore /mnt/backup/store",),
        "health": (
            "artifactstore health",
            "artifactstore health --url http://127.0.0.1:8000 --token-file monitor.token",
        ),
        "actors": (
            "artifactstore actors",
            "artifactstore actors --url http://127.0.0.1:8000 --token-file monitor.token --watch",
        ),
        "doctor": ("artifactstore doctor", "artifactstore doctor --json"),
        "migrate": ("artifactstore migrate", "artifactstore migrate --fresh"),
        "serve": (
            "artifactstore serve",
            "artifactstore serve --bind unix:/run/artifactstore/http.sock",
            "artifactstore serve --trusted-proxy 127.0.0.1 --public-url https://store.example.net",
        ),
        "dev": ("artifactstore dev",),
        "version": ("artifactstore version",),
    }
)
"""Examples by command name, as it is typed."""


def add_help_texts(app: typer.Typer, prefix: str = "") -> None:
    """Set the help of each command, with its examples below."""
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        command.help = HELP[f"{prefix}{name}"]
        examples = EXAMPLES.get(f"{prefix}{name}", ())
        if examples:
            # `\b` keeps the line breaks of the lines that follow.
            command.epilog = "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)])
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_help_texts(group.typer_instance, f"{prefix}{group.name} ")
