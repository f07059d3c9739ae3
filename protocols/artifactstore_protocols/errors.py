"""The base class of artifactstore's errors, and the error for an invalid value.

Every message says what is wrong and what to do. Every error is a `Refusal`: an actor that raises one answers its caller
and does not crash.
"""

from artifactstore_protocols.supervision.errors import Refusal

__all__ = ["ArtifactStoreError", "InvalidValue"]


class ArtifactStoreError(Refusal):
    """The base class of every error that artifactstore raises on purpose."""


class InvalidValue(ArtifactStoreError):
    """A value does not have the required form.

    Attributes:
        what: the kind of value, such as "digest" or "retention class".
        value: the invalid value, shortened.
        reason: what is wrong with the value, and what is allowed.
    """

    what: str
    value: str
    reason: str
    template = "invalid {self.what} {self.value!r}: {self.reason}"
