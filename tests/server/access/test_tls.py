"""TLS: certificates from files, and self-signed ones that are kept and renewed."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509

from server.access.errors import UnusableAccess
from server.access.tls import VALID_DAYS, names_of, self_signed, tls_context
from server.settings import load_settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = {"localhost", "127.0.0.1", "::1", "phone.example", "*.b.example"}


def test_it_is_for_every_name_and_address_and_its_key_is_private(tmp_path):
    cert_file, key_file = self_signed(tmp_path / "new", NAMES, NOW)
    cert = x509.load_pem_x509_certificate(cert_file.read_bytes())
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"localhost", "phone.example", "*.b.example"}
    addresses = set(names.get_values_for_type(x509.IPAddress))
    assert addresses == {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    assert cert.not_valid_after_utc - NOW == timedelta(days=VALID_DAYS)
    assert key_file.stat().st_mode & 0o777 == 0o600


def test_law_it_is_kept_while_it_is_good_and_renewed_after(tmp_path):
    def made(names: set[str], now: datetime) -> bytes:
        return self_signed(tmp_path, names, now)[0].read_bytes()

    first = made(NAMES, NOW)
    assert made(NAMES, NOW + timedelta(days=300)) == first
    assert made(NAMES - {"phone.example"}, NOW) == first, "a network that is left for a while changes nothing"
    second = made(NAMES | {"new.example"}, NOW)
    assert second != first
    third = made(NAMES, NOW + timedelta(days=380))
    assert third != second
    (tmp_path / "key.pem").write_text("torn")
    assert made(NAMES, NOW + timedelta(days=380)) != third


def test_names_are_those_that_it_may_be_opened_by():
    names = names_of(load_settings({"host": "10.0.0.5", "allowed_hosts": "a.example"}))
    assert {"localhost", "127.0.0.1", "::1", "10.0.0.5", "a.example"} <= names
    assert "0.0.0.0" not in names_of(load_settings({"host": "0.0.0.0"}))


async def test_a_client_that_trusts_it_is_served(tmp_path):
    context = tls_context(load_settings({"tls": "self-signed", "cache_dir": tmp_path}))
    app = web.Application()
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        port = runner.addresses[0][1]
        trust = ssl.create_default_context(cafile=tmp_path / "tls" / "cert.pem")
        async with aiohttp.ClientSession() as http:
            async with http.get(f"https://127.0.0.1:{port}/", ssl=trust) as response:
                assert response.status == 404
    finally:
        await runner.cleanup()


def test_plain_http_needs_nothing():
    assert tls_context(load_settings({})) is None


def test_files_of_ones_own_are_taken(tmp_path):
    cert, key = self_signed(tmp_path, NAMES, datetime.now(UTC))
    assert tls_context(load_settings({"tls_cert": cert, "tls_key": key})) is not None


@pytest.mark.parametrize("fault", ["no cert", "no key", "nonsense", "other key", "swapped"])
def test_files_that_cannot_be_used_are_told(tmp_path, fault):
    cert, key = self_signed(tmp_path / "a", NAMES, datetime.now(UTC))
    words = "tls_cert, tls_key: expected a certificate and its key"
    match fault:
        case "no cert":
            cert, words = tmp_path / "nothing", "tls_cert: .* cannot be read: No such file"
        case "no key":
            key, words = tmp_path, "tls_key: .* cannot be read: Is a directory"
        case "nonsense":
            cert.write_bytes(b"\0nonsense")
        case "other key":
            key = self_signed(tmp_path / "b", NAMES, datetime.now(UTC))[1]
        case "swapped":
            cert, key = key, cert
    with pytest.raises(UnusableAccess, match=words):
        tls_context(load_settings({"tls_cert": cert, "tls_key": key}))


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "tls").write_text("a file")
    with pytest.raises(UnusableAccess, match="tls: no certificate can be kept .*; set cache_dir"):
        tls_context(load_settings({"tls": "self-signed", "cache_dir": tmp_path}))
