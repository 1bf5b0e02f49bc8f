"""DTLS: ciphers for certificates of RSA, too, and why a handshake failed.

aiortc's ciphers are of ECDSA alone. That is the key of its own certificate; but where it is the DTLS
client, as whoever answers an offer mostly is, the cipher is of the other side's key, and GStreamer's is RSA.
aiortc tells the reason of a failure at the level of debugging, and without the alert that names it. Both to
be reported: `test_dtls.py` shows each.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import RTCCertificate, SRTPProtectionProfile
from OpenSSL import SSL

ALERT, READ = 0x4000, 0x04  # SSL_CB_ALERT, SSL_CB_READ
CLOSE_NOTIFY = 0
ILLEGAL_PARAMETER = "illegal_parameter, as for a certificate of a curve that OpenSSL does not know: P-224"
ALERTS = {  # RFC 5246, 7.2
    10: "unexpected_message",
    20: "bad_record_mac",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: ILLEGAL_PARAMETER,
    48: "unknown_ca",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    90: "user_canceled",
}
# With forward secrecy, as aiortc's own.
KINDS = ("AES128-GCM-SHA256", "CHACHA20-POLY1305", "AES128-SHA", "AES256-SHA")
CIPHERS = [f"ECDHE-{key}-{kind}" for key in ("ECDSA", "RSA") for kind in KINDS]

_alerts: WeakKeyDictionary[SSL.Connection, str] = WeakKeyDictionary()  # the last of each


def dtls_failure(pc: RTCPeerConnection) -> str | None:
    """Why the DTLS handshake of a connection failed; None if it did not."""
    transports: list[Any] = [one.receiver.transport for one in pc.getTransceivers()]
    if pc.sctp is not None:
        transports.append(pc.sctp.transport)
    for transport in transports:
        if transport.state == "failed":
            if (alert := _alerts.get(transport._ssl)) is not None:
                return f"the DTLS handshake failed: {alert}"
            if transport.encrypted:
                return (
                    "the DTLS handshake failed: another certificate than the offer's fingerprint, or no SRTP"
                )
            return "the DTLS handshake failed"
    return None


def _note_alert(connection: SSL.Connection, where: int, value: int) -> None:
    number = value & 0xFF
    if where & ALERT and number != CLOSE_NOTIFY:
        verb = "the client sent" if where & READ else "the client was sent"
        _alerts[connection] = f"{verb} the alert {ALERTS.get(number, 'of number')} ({number})"


_certificate: Any = RTCCertificate
_create = _certificate._create_ssl_context


def _create_ssl_context(self: RTCCertificate, srtp_profiles: Sequence[SRTPProtectionProfile]) -> SSL.Context:
    context: SSL.Context = _create(self, srtp_profiles)
    context.set_cipher_list(":".join(CIPHERS).encode())
    context.set_info_callback(_note_alert)
    return context


_certificate._create_ssl_context = _create_ssl_context
