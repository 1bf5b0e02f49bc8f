"""A handshake succeeds whatever the kind of the client's key; one that fails is told with its alert."""

import datetime
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCCertificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from server.webrtc.aiortc_patches.dtls import ALERTS, dtls_failure
from server.webrtc.viewer import Viewer
from tests.server.webrtc.test_viewer import session  # noqa: F401 -- a fixture


def ours(accepts: bool = True) -> SSL.Connection:
    """As a transport of aiortc makes one."""
    certificate: Any = RTCCertificate.generateCertificate()
    connection = SSL.Connection(certificate._create_ssl_context(SRTP_PROFILES))
    (connection.set_accept_state if accepts else connection.set_connect_state)()
    return connection


def client(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> SSL.Connection:
    """Any other program's, with a certificate of this key."""
    name, now = x509.Name([]), datetime.datetime.now(datetime.UTC)
    unsigned = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    context.use_certificate(unsigned.sign(key, hashes.SHA256()))
    context.use_privatekey(key)
    context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
    return SSL.Connection(context)


def shake(one: SSL.Connection, other: SSL.Connection) -> None:
    """Raises SSL.Error when the handshake fails."""
    for _ in range(20):
        for mine, its in ((one, other), (other, one)):
            try:
                mine.do_handshake()
            except SSL.WantReadError:
                pass
            finally:
                try:
                    while True:
                        its.bio_write(mine.bio_read(1500))
                except SSL.WantReadError:
                    pass


def failed(ssl: SSL.Connection | None, encrypted: bool = False, state: str = "failed") -> SimpleNamespace:
    """A connection with one transport, of which this is so."""
    transport = SimpleNamespace(state=state, _ssl=ssl, encrypted=encrypted)
    transceiver = SimpleNamespace(receiver=SimpleNamespace(transport=transport))
    return SimpleNamespace(getTransceivers=lambda: [transceiver], sctp=None)


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize("kind", ["RSA", "P-256", "P-384"])
def test_a_client_may_have_a_key_of_any_usual_kind(kind, accepts):
    key = rsa.generate_private_key(65537, 2048) if kind == "RSA" else None
    key = key or ec.generate_private_key(ec.SECP256R1() if kind == "P-256" else ec.SECP384R1())
    mine, its = ours(accepts), client(key)
    (its.set_connect_state if accepts else its.set_accept_state)()
    shake(mine, its)
    mine.do_handshake()
    assert mine.get_selected_srtp_profile() == b"SRTP_AES128_CM_SHA1_80"


def test_a_failure_is_told_with_its_alert():
    connection = ours()
    nobody = SSL.Connection(SSL.Context(SSL.DTLS_METHOD))  # without a certificate, which is demanded
    nobody.set_connect_state()
    with pytest.raises(SSL.Error):
        shake(nobody, connection)
    reason = dtls_failure(failed(connection)) or ""
    assert reason.startswith("the DTLS handshake failed: the client was sent the alert ")
    assert any(f"{name} ({number})" in reason for number, name in ALERTS.items())


def test_an_alert_of_the_client_is_told_too():
    connection = ours()
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: False)  # it trusts nobody
    distrustful = SSL.Connection(context)
    distrustful.set_connect_state()
    with pytest.raises(SSL.Error):
        shake(distrustful, connection)
    with suppress(SSL.Error):
        connection.do_handshake()
    assert "the client sent the alert " in (dtls_failure(failed(connection)) or "")


def test_a_failure_without_an_alert_and_none_at_all():
    assert "fingerprint" in (dtls_failure(failed(ours(), encrypted=True)) or "")
    assert dtls_failure(failed(ours())) == "the DTLS handshake failed"
    assert dtls_failure(failed(None, state="connected")) is None


async def test_a_connection_says_why_it_failed(session, settings, monkeypatch, caplog):  # noqa: F811
    caplog.set_level("INFO")
    connection = Viewer("v", session, settings)
    with monkeypatch.context() as patch:
        patch.setattr(RTCPeerConnection, "connectionState", "failed")
        patch.setattr("server.webrtc.connection.dtls_failure", lambda pc: "the DTLS handshake failed: why")
        connection._on_connection_state()
    assert "viewer v ends: connection failed: the DTLS handshake failed: why" in caplog.text
    await connection.close()
