"""The API as its own OpenAPI document describes it: every answer that a test gets is checked against the document."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from jsonschema import Draft202012Validator

from artifactstore.http.api.model import ANY, HTML
from integration.http.serving import Answer, Service, ask

__all__ = ["Described", "bearer", "described", "path_of"]

PROBLEM = "application/problem+json"


def bearer(secret: str | None) -> tuple[tuple[str, str], ...]:
    """The header of a request with this secret."""
    return () if secret is None else (("Authorization", f"Bearer {secret}"),)


@dataclass(frozen=True, slots=True)
class Described:
    """A service, its document, and the secrets of its tokens by name."""

    service: Service
    document: Mapping[str, Any]
    secrets: dict[str, str] = field(default_factory=dict[str, str])

    async def ask(
        self,
        target: str,
        who: str | None = "all",
        *,
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
        sent: object = None,
        body: bytes | None = None,
    ) -> Answer:
        """One request with a token, and its answer, which is as the document says.

        The body is `sent` as JSON, or the bytes of `body`.
        """
        secret = None if who is None else self.secrets.get(who, who)
        if sent is not None:
            headers, body = (*headers, ("Content-Type", "application/json")), json.dumps(sent).encode()
        if body is not None:
            headers = (*headers, ("Content-Length", str(len(body))))
        answer = await ask(self.service.url, target, method, headers=(*bearer(secret), *headers), body=body or b"")
        self.check(answer, target, method)
        return answer

    def check(self, answer: Answer, target: str, method: str) -> None:
        """Compare an answer with the document."""
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        operation = self._operation(target.partition("?")[0], method)
        if operation is None:  # no path of the document, or no method of it
            assert answer.status in {401, 404, 405}, answer
            if media_type != HTML:
                self.fits({"$ref": "#/components/schemas/Problem"}, answer.json)
            return
        responses = operation["responses"]
        assert str(answer.status) in responses, (answer.status, target)
        response = responses[str(answer.status)]
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        if method == "HEAD":
            assert answer.body == b""
            return
        if answer.status in {HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT}:
            assert ("content" in response, media_type, answer.body) == (False, "", b"")
            return
        offered = response["content"]
        schema = offered[media_type if media_type in offered else ANY]["schema"]
        if media_type == "application/jsonl":
            for line in answer.body.splitlines():
                self.fits(schema, json.loads(line))
        elif media_type.endswith("json"):
            self.fits(schema, answer.json)
        if media_type == PROBLEM:
            assert answer.json["status"] == answer.status

    def fits(self, schema: Mapping[str, Any], value: object) -> None:
        """Check a value against a schema of the document."""
        validator: Any = Draft202012Validator({**schema, "components": self.document["components"]})
        validator.validate(value)

    def _operation(self, path: str, method: str) -> Mapping[str, Any] | None:
        for template, item in self.document["paths"].items():
            rest = re.escape(template).replace(r"\{path\}", ".+")
            if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", rest), path):
                found: Mapping[str, Any] | None = item.get(method.lower())
                return found
        return None


async def described(service: Service) -> Described:
    """A service with a token `all` that may do everything."""
    secret = str(await service.registry.create_token("all", scopes=("read", "write", "tag", "delete", "admin")))
    answer = await ask(service.url, "/openapi.json", headers=bearer(secret))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return Described(service, answer.json, {"all": secret})


def path_of(template: str, values: Mapping[str, str]) -> str:
    """A path from its template."""
    return re.sub(r"\{(\w+)(?:\.\.\.)?\}", lambda found: quote(values[found[1]], safe=""), template)
