"""The commands of tokens, as somebody types them: where the secret goes, and where it does not."""

from pathlib import Path

from artifactstore_protocols.tokens import is_secret
from integration.cli.harness import Cli


def test_a_secret_is_printed_once_and_alone(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree, "--name", "nightly", "--quiet")
    scopes = ("--scope", "write", "--scope", "read")
    created = cli.run("token", "create", "ci", *scopes, "--packages", "n*", "--expires", "9d")
    assert created.code == 0
    secret = created.text.removesuffix("\n")
    assert is_secret(secret)
    assert secret not in created.err
    assert "created token 'ci'" in created.err
    other = cli.json("token", "create", "cd", "--scope", "admin", "--expires", "never")
    assert (other["name"], is_secret(str(other["secret"]))) == ("cd", True)
    line = cli.refused_without_a_trace("token", "create", "ci", "--scope", "read")
    assert line.startswith("the token name 'ci' is taken")
    for arguments, reason in (
        (("--scope", "all"), "use read, write, tag, delete or admin"),
        (("--scope", "read", "--expires", "soon"), "write 90d"),
        (("--scope", "admin", "--packages", "n*"), "a token with the scope admin is for the whole store"),
    ):
        assert reason in cli.refused_without_a_trace("token", "create", "more", *arguments)
    [admin, token] = cli.json_lines("token", "list")
    assert (admin["name"], admin["state"], admin["expires_at"]) == ("cd", "active", None)
    assert (token["name"], token["scopes"], token["packages"]) == ("ci", ["read", "write"], ["n*"])
    assert cli.ok("token", "list").text.splitlines()[2].split()[:2] == ["ci", "active"]
    assert cli.ok("token", "revoke", "ci").text == "revoked ci\n"
    revoked = cli.json("token", "revoke", "ci", "--reason", "again")
    assert (revoked["state"], revoked["revoked_reason"]) == ("revoked", "no reason given")
    assert cli.refused_without_a_trace("token", "revoke", "nobody").startswith("there is no token 'nobody'")
    shown = cli.ok("events", "--json").text + cli.ok("history").text + cli.ok("token", "list", "--json").text
    assert secret[4:68] not in shown
