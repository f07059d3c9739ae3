"""Errors of the remote client, beside those of the library that a service passes on."""

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["AnswerRefused", "ApiVersionRefused", "NotRemote", "ServiceNotReached", "ServiceRefused", "TokenFileRefused"]


class ServiceNotReached(ArtifactStoreError):
    """The service did not answer, or its answers broke off, also after several attempts.

    Attributes:
        url: the URL of the service.
        reason: what happened at the last attempt.
    """

    url: str
    reason: str
    template = "no answer from {self.url}: {self.reason}; is the service running there?"


class ServiceRefused(ArtifactStoreError):
    """The service refused a request with an error that this client knows no class for.

    Attributes:
        status: the HTTP status.
        error: the stable code of the error; empty without one.
        detail: what is wrong, and what to do.
    """

    status: int
    error: str
    detail: str
    template = "the service refused this with {self.status} {self.error}: {self.detail}"


class AnswerRefused(ArtifactStoreError):
    """The service sent something that cannot be right, so nothing of it is used.

    Attributes:
        url: the URL of the service.
        reason: what is wrong with the answer.
    """

    url: str
    reason: str
    template = "the answer of {self.url} is not used: {self.reason}"


class ApiVersionRefused(ArtifactStoreError):
    """The client and the service speak different versions of the API.

    Attributes:
        url: the URL of the service.
        reason: both versions, and which side to upgrade.
    """

    url: str
    reason: str
    template = "cannot use {self.url}: {self.reason}"


class NotRemote(ArtifactStoreError):
    """The call works on a store, and a service does not offer it.

    Attributes:
        what: the call or the command.
        advice: what to do instead.
    """

    what: str
    advice: str
    template = "{self.what} does not work on a service; {self.advice}"


class TokenFileRefused(ArtifactStoreError):
    """The file with the tokens cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it, and what to do.
    """

    path: str
    reason: str
    template = "cannot use {self.path!r}: {self.reason}"
