"""The server's certificate: loading, checking and renewing it."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from realtime_mer.errors import UserError

MAX_FILE_BYTES = 2**20
# What cryptography raises for content that it cannot use.
UNUSABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
_PUBLIC_FORM = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A certificate and its key, checked.

    Attributes:
        context: serves them.
        fingerprint: SHA-256 of the certificate, as browsers show it.
        warnings: what is wrong with them, but does not keep the server from using them.
    """

    context: ssl.SSLContext
    fingerprint: str
    warnings: tuple[str, ...]


def load(certificate: Path, key: Path, now: datetime) -> Loaded:
    """Load a certificate chain and its key from PEM files.

    Raises:
        UserError: a file is missing, not readable or not what it should be, or they do not fit.
    """
    chain = _read(certificate, "certificate")
    secret = _read(key, "key")
    first, public = _first_certificate(certificate, chain)
    if public != _public_key(key, secret):
        raise UserError(
            f"the key {key} does not belong to the certificate {certificate}; give the two files "
            "that were made together"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"the certificate {certificate} with the key {key} cannot be used ({reason}); make new "
            "ones, for example with --tls self-signed"
        ) from error
    digest = first.fingerprint(hashes.SHA256()).hex(":").upper()
    return Loaded(context, digest, tuple(_warnings(certificate, first, key, now)))


class ServerTls:
    """The server's certificate, which is loaded again when its files change.

    Args:
        certificate: PEM file with the certificate, and those of its authorities after it.
        key: PEM file with the key, not encrypted; may be the same file.
        renew: called before each look at the files; may replace them.
        utc: returns the time.

    Attributes:
        loaded: what new connections get.
        self_signed: whether the program made the certificate, so that browsers warn of it.

    Raises:
        UserError: the files cannot be used.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        *,
        renew: Callable[[], object] | None = None,
        utc: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._files = (certificate, key)
        self._renew = renew
        self._utc = utc
        self.self_signed = renew is not None
        if renew is not None:
            renew()
        self._known: tuple[object, ...] = (*self._look(), None)
        self._suspect: tuple[object, ...] = ()
        self.loaded = load(certificate, key, utc())

    def context(self) -> ssl.SSLContext:
        """Return the context of the next connection."""
        return self.loaded.context

    def reload(self) -> str | None:
        """Load the files again if they have changed. It reads files; call it in any one thread.

        Returns:
            What to tell the user, once: that the certificate is new, or why the old one stays.
        """
        problem = None
        try:
            if self._renew is not None:
                self._renew()
        except UserError as error:
            problem = error
        found = (*self._look(), problem and str(problem))
        if found == self._known:
            return None
        try:
            if problem is not None:
                raise problem
            loaded = load(*self._files, self._utc())
        except UserError as error:
            if found != self._suspect:
                # The two files are not replaced at the same moment: the next look decides.
                self._suspect = found
                return None
            self._known = found
            return f"the server keeps its certificate: {error}"
        self._known = found
        same = loaded.fingerprint == self.loaded.fingerprint
        self.loaded = loaded
        return None if same else "; ".join(("the server has a new certificate", *loaded.warnings))

    def _look(self) -> tuple[object, ...]:
        """Return what changes when a file is replaced or becomes readable."""
        found: list[object] = []
        for path in self._files:
            try:
                state = path.stat()
                found.append((state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino))
            except OSError:
                found.append(None)
        return tuple(found)


def _read(path: Path, what: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"the {what} {path} is not a file; give a file in PEM format")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise UserError(
            f"the {what} {path} does not exist; give another file, or use --tls self-signed"
        ) from error
    except OSError as error:
        raise UserError(
            f"the {what} {path} cannot be read ({error.strerror}); let the user of this program "
            "read it"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"the {what} {path} is larger than 1 MiB; give a file in PEM format")
    return content


def _first_certificate(path: Path, content: bytes) -> tuple[x509.Certificate, bytes]:
    """Return the certificate of the server and its public key."""
    try:
        first = x509.load_pem_x509_certificates(content)[0]
        return first, first.public_key().public_bytes(*_PUBLIC_FORM)
    except UNUSABLE as error:
        swapped = b"PRIVATE KEY-----" in content and b"BEGIN CERTIFICATE" not in content
        hint = (
            "it holds a key; have the certificate and the key been swapped?"
            if swapped
            else "it must be intact and begin with -----BEGIN CERTIFICATE-----"
        )
        raise UserError(f"{path} is no certificate in PEM format; {hint}") from error


def _public_key(path: Path, content: bytes) -> bytes:
    """Return the public half of a key."""
    try:
        key = serialization.load_pem_private_key(content, None)
        return key.public_key().public_bytes(*_PUBLIC_FORM)
    except UNUSABLE as error:
        if isinstance(error, TypeError):
            raise UserError(
                f"the key {path} is encrypted, and nobody is there to give its password; remove "
                f"it with: openssl pkey -in {path} -out NEW.pem"
            ) from error
        swapped = b"BEGIN CERTIFICATE" in content and b"PRIVATE KEY-----" not in content
        hint = (
            "it holds a certificate; have the certificate and the key been swapped?"
            if swapped
            else "it must be intact and begin with -----BEGIN PRIVATE KEY-----"
        )
        raise UserError(f"{path} is no key in PEM format; {hint}") from error


def _warnings(path: Path, certificate: x509.Certificate, key: Path, now: datetime) -> Iterator[str]:
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > last:
        yield (
            f"the certificate {path} expired on {last:%Y-%m-%d}: browsers warn of it, and "
            "programs refuse it; renew it"
        )
    elif now < first:
        yield (
            f"the certificate {path} is valid only from {first:%Y-%m-%d} on; is the clock of this "
            "machine right?"
        )
    if os.name != "nt" and key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        yield (
            f"every user of this machine can read the key {key}; forbid it with: chmod o-rwx {key}"
        )
