"""Certificates: what is refused, what is only warned of, and renewal."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from tls_support import Files, make_files

from realtime_mer.errors import UserError
from realtime_mer.server import self_signed
from realtime_mer.server.tls import ServerTls, load


def now() -> datetime:
    return datetime.now(UTC)


def test_a_certificate_of_the_user(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    loaded = load(files.certificate, files.key, now())
    assert loaded.warnings == ()
    der = ssl.PEM_cert_to_DER_cert(files.certificate.read_text())
    assert loaded.fingerprint.replace(":", "").lower() == hashlib.sha256(der).hexdigest()
    assert loaded.context.minimum_version is ssl.TLSVersion.TLSv1_2


def missing_certificate(files: Files) -> None:
    files.certificate.unlink()


def missing_key(files: Files) -> None:
    files.key.unlink()


def folder(files: Files) -> None:
    files.certificate.unlink()
    files.certificate.mkdir()


def garbage_certificate(files: Files) -> None:
    files.certificate.write_bytes(bytes(range(256)))


def garbage_key(files: Files) -> None:
    files.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")


def truncated_certificate(files: Files) -> None:
    files.certificate.write_bytes(files.certificate.read_bytes()[:200])


def empty_certificate(files: Files) -> None:
    files.certificate.write_bytes(b"")


def endless_key(files: Files) -> None:
    files.key.write_bytes(bytes(2**20 + 1))


def swapped(files: Files) -> None:
    certificate = files.certificate.read_bytes()
    files.certificate.write_bytes(files.key.read_bytes())
    files.key.write_bytes(certificate)


def other_key(files: Files) -> None:
    files.key.write_bytes(make_files(files.key.parent, "other").key.read_bytes())


def change(path: Path, old: bytes, new: bytes) -> None:
    """Change bytes inside a PEM file."""
    first, *lines, last = path.read_text().splitlines()
    content = base64.b64decode("".join(lines))
    assert old in content
    changed = base64.encodebytes(content.replace(old, new)).decode()
    path.write_text(f"{first}\n{changed}{last}\n")


CURVE = bytes.fromhex("2a8648ce3d030107")
OTHER_CURVE = bytes.fromhex("2a8648ce3d03017f")


def unknown_curve_of_certificate(files: Files) -> None:
    change(files.certificate, CURVE, OTHER_CURVE)


def unknown_curve_of_key(files: Files) -> None:
    change(files.key, CURVE, OTHER_CURVE)


def point_off_the_curve(files: Files) -> None:
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    point = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )[-64:]
    change(files.certificate, point, bytes(64))


def unknown_version(files: Files) -> None:
    change(files.certificate, bytes.fromhex("a003020102"), bytes.fromhex("a00302013e"))


def encrypted(files: Files) -> None:
    made = make_files(files.key.parent, "locked", password=b"secret")
    files.certificate.write_bytes(made.certificate.read_bytes())
    files.key.write_bytes(made.key.read_bytes())


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (missing_certificate, "certificate .*site.crt does not exist"),
        (missing_key, "key .*site.key does not exist"),
        (folder, "site.crt is not a file"),
        (garbage_certificate, "site.crt is no certificate in PEM format"),
        (truncated_certificate, "site.crt is no certificate in PEM format"),
        (empty_certificate, "site.crt is no certificate in PEM format"),
        (unknown_curve_of_certificate, "site.crt is no certificate in PEM format"),
        (point_off_the_curve, "site.crt is no certificate in PEM format"),
        (unknown_version, "site.crt is no certificate in PEM format"),
        (unknown_curve_of_key, "site.key is no key in PEM format"),
        (garbage_key, "site.key is no key in PEM format"),
        (endless_key, "site.key is larger than 1 MiB"),
        (swapped, "have the certificate and the key been swapped"),
        (other_key, "site.key does not belong to the certificate .*site.crt"),
        (encrypted, "site.key is encrypted.*openssl pkey -in"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, harm: object, words: str) -> None:
    files = make_files(tmp_path)
    assert callable(harm)
    harm(files)
    with pytest.raises(UserError, match=words) as refused:
        ServerTls(files.certificate, files.key)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="root and Windows read files of any mode"
)
def test_a_key_that_cannot_be_read(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    files.key.chmod(0)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        ServerTls(files.certificate, files.key)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [(-9, -2, "expired on {last:%Y-%m-%d}"), (2, 9, "valid only from {first:%Y-%m-%d} on")],
)
def test_a_wrong_date_is_a_warning(tmp_path: Path, first: int, last: int, words: str) -> None:
    files = make_files(tmp_path, first=timedelta(days=first), last=timedelta(days=last))
    (warning,) = load(files.certificate, files.key, now()).warnings
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert (
        words.format(first=certificate.not_valid_before_utc, last=certificate.not_valid_after_utc)
        in warning
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_a_key_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    files.key.chmod(0o644)
    (warning,) = load(files.certificate, files.key, now()).warnings
    assert f"chmod o-rwx {files.key}" in warning


# Renewal.


def replace(files: Files, other: Files) -> None:
    """Put other content in the place of the files, as the programs that renew certificates do."""
    other.certificate.replace(files.certificate)
    other.key.replace(files.key)


def test_a_renewed_certificate_is_loaded(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    tls = ServerTls(files.certificate, files.key)
    before = tls.loaded
    assert tls.reload() is None
    assert tls.loaded is before
    replace(files, make_files(tmp_path, "new"))
    assert tls.reload() == "the server has a new certificate"
    assert tls.loaded.fingerprint != before.fingerprint
    assert tls.reload() is None


def test_broken_files_are_told_once_and_the_old_ones_stay(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    tls = ServerTls(files.certificate, files.key)
    before = tls.loaded
    files.certificate.write_bytes(b"broken")
    looks = [tls.reload() for _ in range(5)]
    (said,) = [look for look in looks if look is not None]
    assert "keeps its certificate" in said
    assert tls.loaded is before
    replace(files, make_files(tmp_path, "new"))
    assert tls.reload() == "the server has a new certificate"


def test_files_between_two_renewals_are_not_told(tmp_path: Path) -> None:
    """The certificate is there a moment before its key."""
    files = make_files(tmp_path)
    new = make_files(tmp_path, "new")
    tls = ServerTls(files.certificate, files.key)
    new.certificate.replace(files.certificate)
    assert tls.reload() is None
    new.key.replace(files.key)
    assert tls.reload() == "the server has a new certificate"


# Certificates of the program's own.


@pytest.fixture
def user_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(self_signed, "user_folder", lambda: tmp_path / "user")
    return tmp_path / "user"


def own() -> x509.Certificate:
    content = self_signed.certificate_file().read_bytes()
    return x509.load_pem_x509_certificates(content)[0]


def covered(certificate: x509.Certificate) -> set[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in names.value}


def test_an_own_certificate_covers_all_names(user_files: Path) -> None:
    names = ["localhost", "::1", "[fd00::1]", "vj.local", "192.0.2.5", "0.0.0.0", "", "a b"]
    self_signed.ensure(names, now())
    assert covered(own()) == {"localhost", "::1", "fd00::1", "vj.local", "192.0.2.5"}
    period = own().not_valid_after_utc - own().not_valid_before_utc
    assert period <= timedelta(days=398)
    if os.name != "nt":
        assert self_signed.certificate_file().stat().st_mode & 0o777 == 0o600


def test_an_own_certificate_stays_until_it_must_change(user_files: Path) -> None:
    start = now()
    self_signed.ensure(["localhost"], start)
    first = own()
    self_signed.ensure(["localhost"], start + timedelta(days=300))
    assert own() == first
    self_signed.ensure(["localhost"], start + timedelta(days=340))
    second = own()
    assert second != first
    self_signed.ensure(["localhost", "192.0.2.5"], start + timedelta(days=340))
    third = own()
    assert third != second
    # The clock was wrong when it was made.
    self_signed.ensure(["localhost"], start)
    assert own() != third


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAA"])
def test_a_damaged_own_certificate_is_replaced(user_files: Path, content: bytes) -> None:
    user_files.mkdir()
    self_signed.certificate_file().write_bytes(content)
    self_signed.authority_file().write_bytes(content)
    self_signed.ensure(["localhost"], now())
    assert covered(own()) == {"localhost"}
    ssl.create_default_context(cafile=str(self_signed.authority_file()))


def test_a_folder_that_cannot_be_written(user_files: Path) -> None:
    user_files.write_bytes(b"a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot be kept in .*XDG_CONFIG_HOME"):
        self_signed.ensure(["localhost"], now())


def test_an_own_certificate_is_renewed_while_the_server_runs(user_files: Path) -> None:
    time = [now()]
    file = self_signed.certificate_file()
    tls = ServerTls(
        file, file, renew=lambda: self_signed.ensure(["localhost"], time[0]), utc=lambda: time[0]
    )
    assert tls.self_signed
    assert tls.reload() is None
    time[0] += timedelta(days=350)
    assert tls.reload() == "the server has a new certificate"
    assert tls.loaded.warnings == ()


def test_names_of_a_server() -> None:
    names = self_signed.names_of("192.0.2.9", ["https://vj.example:8443", "null"])
    assert {"localhost", "127.0.0.1", "::1", "192.0.2.9", "vj.example"} <= names
    assert f"{socket.gethostname().lower().split('.')[0]}.local" in names
    assert names == self_signed.names_of("192.0.2.9", ["https://vj.example:8443"]) | {""}
    # In whatever case the user wrote them.
    assert {"vj.example", "vj.local"} <= self_signed.names_of("VJ.local", ["https://VJ.example"])
