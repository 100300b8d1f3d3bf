"""Certificates that the program makes for itself, for a network without a certificate authority.

The certificate is issued by an authority of its own, whose key is thrown away at once: a phone can
only install authorities, and nobody can issue another certificate that such a phone would trust.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from realtime_mer.errors import UserError
from realtime_mer.server.own_addresses import own_addresses
from realtime_mer.server.tls import UNUSABLE
from realtime_mer.user_folder import user_folder, write_private

VALID = timedelta(days=365)  # browsers take at most 398 days
RENEWED_BEFORE = timedelta(days=30)
# Clocks of phones may be slow.
_CLOCK_TOLERANCE = timedelta(days=1)
_GLOBAL_SCOPE, _TEMPORARY = 0x00, 0x01  # of Linux
_DNS_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")


def certificate_file() -> Path:
    """The file of the certificate and its key, which may not exist yet."""
    return user_folder() / "self-signed.pem"


def authority_file() -> Path:
    """The file of the authority, which devices and programs can install in order to trust us."""
    return user_folder() / "self-signed-authority.crt"


def names_of(host: str, origins: Iterable[str]) -> frozenset[str]:
    """Return the names and addresses by which a server on this machine may be opened.

    Args:
        host: the address that it binds.
        origins: the pages that may use it, whose hosts may be other names of this machine.
    """
    own = socket.gethostname().lower()
    short = own.split(".")[0]
    others = (urlsplit(origin).hostname or "" for origin in origins)
    return frozenset(
        ("localhost", "127.0.0.1", "::1", host.lower(), own, short, f"{short}.local")
    ).union(others, own_addresses(ipv6=False), _lasting_ipv6_addresses())


def _lasting_ipv6_addresses() -> Iterator[str]:
    """Yield the IPv6 addresses that do not change every day (RFC 8981); only Linux lists them."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            address, _, _, scope, flags, _ = line.split()
            if int(scope, 16) == _GLOBAL_SCOPE and not int(flags, 16) & _TEMPORARY:
                yield str(ipaddress.IPv6Address(bytes.fromhex(address)))


def ensure(names: Iterable[str], now: datetime) -> None:
    """Make the certificate, unless one is there that covers the names and lasts another month.

    Args:
        names: names and addresses of the server; those that no certificate can have are left out.
        now: aware time.

    Raises:
        UserError: the user's folder cannot be written.
    """
    wanted = frozenset(filter(None, map(_general_name, names)))
    path = certificate_file()
    try:
        found = _usable(path, wanted, now)
        if found is None:
            found = _make(wanted, now)
            write_private(path, found)
        authority = found[found.rindex(b"-----BEGIN CERTIFICATE-----") :]
        if not authority_file().exists() or authority_file().read_bytes() != authority:
            write_private(authority_file(), authority)
    except OSError as error:
        raise UserError(
            f"the certificate cannot be kept in {path.parent} ({error.strerror}); make the folder "
            "writable, set XDG_CONFIG_HOME to another one, or give --tls-cert and --tls-key"
        ) from error


def _general_name(name: str) -> x509.GeneralName | None:
    try:
        address = ipaddress.ip_address(name.strip("[]"))
        return None if address.is_unspecified else x509.IPAddress(address)
    except ValueError:
        return x509.DNSName(name) if _DNS_NAME.fullmatch(name) and len(name) <= 253 else None


def _usable(path: Path, wanted: frozenset[x509.GeneralName], now: datetime) -> bytes | None:
    """Return the content of a certificate file that still serves."""
    try:
        content = path.read_bytes()
        first, _ = x509.load_pem_x509_certificates(content)
        key = serialization.load_pem_private_key(content, None)
        covered = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        fits = key.public_key() == first.public_key()
    except (FileNotFoundError, x509.ExtensionNotFound, *UNUSABLE):
        return None
    lasts = first.not_valid_before_utc <= now <= first.not_valid_after_utc - RENEWED_BEFORE
    return content if lasts and fits and wanted <= frozenset(covered) else None


def _make(names: frozenset[x509.GeneralName], now: datetime) -> bytes:
    """Return a new key, its certificate and the authority, as PEM."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    # The date tells several of them apart in the list of a phone.
    issuer = _common_name(f"realtime-mer authority {now:%Y-%m-%d}")
    authority = (
        _builder(issuer, issuer, authority_key, authority_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _builder(_common_name("realtime-mer"), issuer, key, authority_key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(sorted(names, key=str)), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    return secret + certificate.public_bytes(pem) + authority.public_bytes(pem)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    authority_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.CertificateBuilder:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_TOLERANCE)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(identifier, critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
