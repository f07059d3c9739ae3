"""The TLS context of the service, built from PEM files."""

import ssl
from pathlib import Path
from typing import override

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["CertificateUnusable", "tls_context"]

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"
_PEM_BYTES_MAX = 1 << 20
_ENCRYPTED = (
    "the key is encrypted, and a service cannot ask for its passphrase",
    "give a key without one, as `openssl pkey` writes it",
)


class CertificateUnusable(ArtifactStoreError):
    """The given files cannot be used for TLS."""

    files: tuple[str, ...]
    reason: str
    remedy: str = "give PEM files that belong together"

    @override
    def __str__(self) -> str:
        return f"cannot use {', '.join(self.files)} for TLS: {self.reason}; {self.remedy}"


class _Encrypted(Exception):
    """The private key is encrypted with a passphrase."""


def tls_context(certfile: Path, keyfile: Path, ca_certs: Path | None) -> ssl.SSLContext:
    """Return the TLS context of a server.

    Args:
        certfile: the server's certificate and its chain.
        keyfile: the private key of the certificate.
        ca_certs: certificates of authorities. A client must present a certificate of one of them; None requires no
            client certificate.

    Raises:
        CertificateUnusable: a file is missing, is not a PEM file of its kind, or does not match the others; or the key
            is encrypted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certfile, keyfile, password=_no_password)
    except _Encrypted as error:
        raise CertificateUnusable((str(keyfile),), *_ENCRYPTED) from error
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        raise _unusable(certfile, keyfile, error) from error
    if ca_certs is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(ca_certs)
        except (OSError, ValueError) as error:
            reason = _flaw_in(ca_certs, _CERTIFICATE, "certificate") or _text(error)
            raise CertificateUnusable((str(ca_certs),), reason) from error
    return context


def _no_password() -> str:
    raise _Encrypted


def _unusable(certfile: Path, keyfile: Path, error: Exception) -> CertificateUnusable:
    """Return the error with its reason: OpenSSL names neither the file nor its expected content."""
    for path, mark, what in ((certfile, _CERTIFICATE, "certificate"), (keyfile, _KEY, "private key")):
        if (flaw := _flaw_in(path, mark, what)) is not None:
            return CertificateUnusable((str(path),), flaw)
    if "KEY_VALUES_MISMATCH" in str(error) or "KEY_TYPE_MISMATCH" in str(error):
        return CertificateUnusable((str(certfile), str(keyfile)), "the key does not belong to the certificate")
    return CertificateUnusable((str(certfile), str(keyfile)), _text(error))


def _flaw_in(path: Path, mark: bytes, what: str) -> str | None:
    """Return why a PEM file cannot be used; None if it has the expected mark."""
    try:
        with path.open("rb") as file:
            content = file.read(_PEM_BYTES_MAX)
    except (OSError, ValueError) as error:
        return f"it cannot be read ({_text(error)})"
    return None if mark in content else f"it holds no {what} in PEM form"


def _text(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
