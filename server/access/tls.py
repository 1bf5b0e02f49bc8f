"""TLS of the server: a certificate from files, or one of its own making for a network without names."""

import ipaddress
import logging
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server.access.addresses import WILDCARDS, own_addresses
from server.access.errors import UnusableAccess
from server.settings import Settings

logger = logging.getLogger(__name__)

VALID_DAYS = 397  # phones take no certificate of a server that lasts longer
RENEWED_DAYS = 30  # before its end
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """As the settings say; None for plain HTTP. Raises UnusableAccess, with the file and what is wrong."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        return _context(settings.tls_cert, settings.tls_key)
    if settings.tls == "off":
        return None
    try:
        folder = (settings.cache_dir or _user_caches() / "depthlive") / "tls"
        cert, key = self_signed(folder, names_of(settings), datetime.now(UTC))
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows where home is
        raise UnusableAccess(f"tls: no certificate can be kept ({error}); set cache_dir") from error
    return _context(cert, key)


def names_of(settings: Settings) -> set[str]:
    """Every name and address that somebody may open this server by."""
    names = {*LOOPBACK, socket.gethostname().lower(), *settings.allowed_hosts}
    if settings.host in WILDCARDS:
        names.update(own_addresses())
    else:
        names.add(settings.host)
    return names


def self_signed(folder: Path, names: set[str], now: datetime) -> tuple[Path, Path]:
    """Files of certificate and key for these names, in `folder`; those of the last time while they are good,
    so that whoever has accepted the certificate is not asked anew. Raises OSError."""
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert = _kept(cert_file, key_file, names, now)
    if cert is None:
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        cert = _certificate(key, names, now)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write_private(key_file, pem)
        cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    fingerprint = cert.fingerprint(hashes.SHA256()).hex(":").upper()
    logger.info("Self-signed certificate for %s; SHA-256 %s", ", ".join(sorted(names)), fingerprint)
    return cert_file, key_file


def _kept(cert_file: Path, key_file: Path, names: set[str], now: datetime) -> x509.Certificate | None:
    try:
        cert = x509.load_pem_x509_certificate(cert_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        held = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, TypeError, x509.ExtensionNotFound):
        return None  # not there yet, or torn by a crash: made anew
    is_pair = cert.public_key() == key.public_key()
    ends = cert.not_valid_after_utc - timedelta(days=RENEWED_DAYS)
    return cert if is_pair and set(map(_general_name, names)) <= set(held) and now < ends else None


def _certificate(key: ec.EllipticCurvePrivateKey, names: set[str], now: datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "depthlive")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # the phone's clock may be behind
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(map(_general_name, sorted(names))), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # one of other rights would keep them
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    for setting, path in (("tls_cert", cert), ("tls_key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise UnusableAccess(f"{setting}: {path} cannot be read: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password: one is asked for on the terminal otherwise, before anything is said.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise UnusableAccess(
            "tls_cert, tls_key: expected a certificate and its key without a password, both PEM, in "
            f"{cert} and {key} ({error.reason or 'unreadable'})"
        ) from error
    return context


def _user_caches() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
