"""The one hierarchy of what artifactstore refuses, each error with its facts as attributes.

Every message says what is wrong and what to do. All of them are `Refusal`s: an actor that raises one has answered,
it has not crashed.
"""

from dataclasses import dataclass

from artifactstore_protocols.supervision.errors import Refusal

__all__ = ["ArtifactStoreError", "InvalidValue"]


class ArtifactStoreError(Refusal):
    """Base of every error that artifactstore raises on purpose."""


@dataclass(eq=False)
class InvalidValue(ArtifactStoreError):
    """A value that does not have the form its name asks for.

    Attributes:
        what: what was being read, such as "digest" or "retention class".
        value: the offending value, shortened.
        reason: what is wrong with it, and what would be right.
    """

    what: str
    value: str
    reason: str
    template = "invalid {self.what} {self.value!r}: {self.reason}"
