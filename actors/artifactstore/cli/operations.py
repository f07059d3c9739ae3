"""Commands for operators: version, migrate, health, actors, dev, serve."""

import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.cli.options import Json, Quiet
from artifactstore.cli.output import say, say_json
from artifactstore.cli.runner import EXIT_FAILED, NonzeroExit, invoker, logged, on_store
from artifactstore.cli.token_option import TokenFile, find_token
from artifactstore.version import VERSION

if TYPE_CHECKING:
    from artifactstore.config import Settings
    from artifactstore.http.peers import Peers
    from artifactstore.json_output import Json as JsonValue
    from artifactstore.registry import Registry

__all__ = ["register"]

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="Ask a running service, at http://HOST:PORT or unix:PATH, instead of the store."
    ),
]

_DEV_BIND = "127.0.0.1:8000"
_PORT_MAX = 65535
_PORT_DIGITS_MAX = 5
_DRAIN_S = 30.0
_DRAIN_S_MAX = 86_400.0
_WATCH_EVERY_S = 1.0


def version(*, json: Json = False) -> None:
    """Run `artifactstore version`."""
    if json:
        say_json({"version": VERSION})
    else:
        say(f"artifactstore {VERSION}")


def migrate(
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Drop all tables first.")] = False,
    destroy_log: Annotated[
        str | None,
        typer.Option(
            "--destroy-log", metavar="NAME", help="Confirm that the log's events are destroyed, by the database's name."
        ),
    ] = None,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore migrate`."""
    if destroy_log is not None and not fresh:
        raise typer.BadParameter("--destroy-log goes with --fresh")
    from artifactstore.cli.migration import migrate_database  # noqa: PLC0415

    name, before, after = migrate_database(fresh=fresh, destroy_log=destroy_log)
    if json:
        say_json({"database": name, "before": before, "after": after})
    else:
        say(f"{name}: schema {before or 'none'} -> {after}")


def health(
    url: Url = None,
    *,
    token_file: TokenFile = None,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore health`."""
    report: Mapping[str, JsonValue]
    if url is not None:
        from artifactstore.cli.service_client import ask_service  # noqa: PLC0415

        report = ask_service(url, find_token(token_file))
    else:
        from artifactstore.ids import now_us  # noqa: PLC0415
        from artifactstore.json_output import health_to_json  # noqa: PLC0415

        report = health_to_json(on_store(lambda registry: registry.health(max_age_s=0)), now_us())
    if json:
        say_json(report)
    else:
        say(str(report["status"]))
        for name, part in cast("Mapping[str, Mapping[str, JsonValue]]", report.get("components", {})).items():
            say(f"  {'ok ' if part['healthy'] else 'BAD'}  {name:22} {part['detail']}")
    if report["status"] != "healthy":
        raise NonzeroExit(EXIT_FAILED)


def actors(
    url: Url = None,
    *,
    token_file: TokenFile = None,
    watch: Annotated[bool, typer.Option("--watch", help="Redraw every second, until interrupted.")] = False,
    json: Json = False,
) -> None:
    """Run `artifactstore actors`."""
    if watch and (json or url is None):
        raise typer.BadParameter("--watch needs --url, and draws for people: leave --json out")
    from artifactstore.cli.service_client import ask_tree  # noqa: PLC0415
    from artifactstore.cli.tree_drawing import show, show_always  # noqa: PLC0415
    from artifactstore.json_output import to_json  # noqa: PLC0415

    if watch and url is not None:
        watched, token = url, find_token(token_file)
        show_always(lambda: ask_tree(watched, token), every_s=_WATCH_EVERY_S)
        return
    if url is not None:
        found = ask_tree(url, find_token(token_file))
    else:

        async def look(registry: "Registry") -> "Mapping[str, JsonValue]":
            return cast("Mapping[str, JsonValue]", to_json(registry.snapshot()))

        found = on_store(look)
    if json:
        say_json(found)
    else:
        show(found)


def _place(bind: str) -> str:
    host, _, port = bind.rpartition(":")
    if bind.startswith("unix:"):
        if len(bind) == len("unix:"):
            raise typer.BadParameter("unix: needs a path, such as unix:/run/artifactstore/http.sock")
    elif not host or not (port.isascii() and port.isdecimal()) or len(port) > _PORT_DIGITS_MAX or int(port) > _PORT_MAX:
        raise typer.BadParameter(
            f"{bind!r} is neither HOST:PORT, such as {_DEV_BIND}, nor unix:PATH; port 0 takes a free one"
        )
    return bind


def _host_names(names: list[str] | None) -> frozenset[str]:
    from artifactstore.http.hosts import parse_authority  # noqa: PLC0415 - it loads nothing else of the service

    found: set[str] = set()
    for name in names or ():
        authority = parse_authority(name) or parse_authority(f"[{name}]")
        if authority is None or authority.port:
            raise typer.BadParameter(f"{name!r} is not the name or address of a host", param_hint="--allow-host")
        found.add(authority.name)
    return frozenset(found)


def _announce(line: str) -> None:
    """Print a line to stderr; ignore errors, since a service keeps running after its stderr is closed."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def serve(
    bind: Annotated[
        str,
        typer.Option("--bind", metavar="PLACE", help="Where to listen: HOST:PORT or unix:PATH.", callback=_place),
    ] = _DEV_BIND,
    *,
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help="Listen where other machines can connect. Tokens need TLS there."),
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Also answer requests for this host name, such as a reverse proxy's; repeatable.",
        ),
    ] = None,
    certfile: Annotated[
        Path | None,
        typer.Option("--certfile", metavar="FILE", help="Serve TLS with this certificate chain (PEM)."),
    ] = None,
    keyfile: Annotated[
        Path | None, typer.Option("--keyfile", metavar="FILE", help="The private key of the certificate (PEM).")
    ] = None,
    ca_certs: Annotated[
        Path | None,
        typer.Option("--ca-certs", metavar="FILE", help="Require client certificates of these authorities (PEM)."),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-proxy",
            metavar="ADDRESS",
            help="Believe the X-Forwarded headers of this address or network, or of unix; repeatable.",
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="The URL at which browsers reach the service."),
    ] = None,
    anonymous_read: Annotated[
        bool, typer.Option("--anonymous-read", help="Let requests without a token read packages.")
    ] = False,
    login_link: Annotated[
        bool, typer.Option("--login-link", help="Print a link that opens the page in a browser once, within 60 s.")
    ] = False,
    drain: Annotated[
        float,
        typer.Option(
            "--drain",
            metavar="SECONDS",
            min=0,
            max=_DRAIN_S_MAX,
            help="Seconds that open requests may take after a signal to stop. A second signal ends the wait.",
        ),
    ] = _DRAIN_S,
) -> None:
    """Run `artifactstore serve`."""
    if (certfile is None) != (keyfile is None) or (ca_certs is not None and certfile is None):
        raise typer.BadParameter("--certfile and --keyfile go together, and --ca-certs with both")
    if math.isnan(drain):
        raise typer.BadParameter("give a number of seconds", param_hint="--drain")
    from artifactstore.http.listening import Listening  # noqa: PLC0415
    from artifactstore.http.process import run_service  # noqa: PLC0415

    names = _host_names(allow_host)
    with logged() as settings:
        peers = _peers(settings, trusted_proxy, public_url)
        if login_link and bind.startswith("unix:") and peers.public_url is None:
            raise typer.BadParameter("a Unix socket has no link; give --public-url", param_hint="--login-link")
        anonymous = anonymous_read or settings.anonymous_read
        listening = Listening(bind, allow_remote, certfile, keyfile, ca_certs, names, peers, anonymous)
        login_as = invoker() if login_link else None
        run_service(settings, listening, drain_s=drain, announce=_announce, login_as=login_as)


def _peers(settings: "Settings", proxies: list[str] | None, url: str | None) -> "Peers":
    from artifactstore.http.peers import Peers, parse_proxies, parse_public_url  # noqa: PLC0415

    networks, unix = parse_proxies(
        "trusted proxies", settings.trusted_proxies if proxies is None else ",".join(proxies)
    )
    public = settings.public_url if url is None else url
    return Peers(networks, unix, parse_public_url("public URL", public) if public else None)


def dev() -> None:
    """Run `artifactstore dev`."""
    serve(_DEV_BIND, login_link=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    for command in (version, migrate, health, actors, dev, serve):
        app.command()(command)
