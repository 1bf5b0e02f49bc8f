"""Targets of fuzzing: each reads one kind of input that strangers send, and may refuse it in words.

A fault is any other exception, and a refusal without words or with Python's own.
"""

import asyncio
import io
import json
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from PIL import Image

from scripts.fuzz.mutation import Mutate, bytes_of, json_of, lines_of
from server.media.coded_size import h264_sizes
from server.media.frames import Rgb
from server.media.images import ImageRejected, decode_image
from server.media.jpeg import decode_jpeg
from server.media.vp8 import Vp8Decoder, Vp8Encoder
from server.protocol.codec import ProtocolError, decode
from server.protocol.setup import SetupRefused, decode_setup, encode_setup
from server.webrtc.aiortc_patches.candidate_addresses import candidates_only_at
from server.webrtc.candidates import AddressRule
from server.webrtc.offer import read_offer
from server.webrtc.sdp_sections import InvalidOffer
from server.webrtc.trickle import InvalidFragment, parse_fragment
from server.websocket.media_frame import FrameError, Kind, MediaFrame, decode_frame

PYTHONS_OWN = re.compile(r"<_io\.|object at 0x|Traceback|NoneType|\bself\b")
SIZE = (48, 64)  # of pictures: height, width
PARAMETER_SETS_BYTES = 48  # about, of H.264


class BadRefusal(Exception):
    """A refusal that tells nobody anything."""


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of input. `read` takes it, or raises one of `refusals`."""

    name: str
    seeds: Sequence[bytes]
    mutate: Mutate
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]

    def accepts(self, data: bytes) -> bool:
        """Whether it is taken. Raises BadRefusal, or whatever a fault raises."""
        try:
            self.read(data)
        except self.refusals as error:
            words = str(error)
            if not words.strip() or PYTHONS_OWN.search(words):
                raise BadRefusal(f"{type(error).__name__}: {words!r}") from error
            return False
        return True


def targets() -> dict[str, Target]:
    """All of them, by name. Those that read a user's files: `file_targets`."""
    every = (
        Target("messages", _messages(), json_of, decode, (ProtocolError,)),
        Target("setups", _setups(), json_of, _read_setup, (SetupRefused,)),
        Target("frames", _frames(), bytes_of, decode_frame, (FrameError,)),
        Target("offers", _offers(), lines_of, _answer, (InvalidOffer,)),
        Target(
            "fragments", _fragments(), lines_of, lambda data: parse_fragment(_text(data)), (InvalidFragment,)
        ),
        Target("pictures", _pictures(), bytes_of, decode_image, (ImageRejected,)),
        Target("jpegs", _jpegs(), bytes_of, lambda data: decode_jpeg(data, 0), (ImageRejected,)),
        Target("vp8", _vp8(), bytes_of, _read_vp8, (ImageRejected,)),
        Target("h264", _h264(), bytes_of, h264_sizes, (ImageRejected,)),
    )
    return {target.name: target for target in every}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")  # as aiohttp gives a body


def picture() -> Rgb:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


def _messages() -> list[bytes]:
    """A command of each kind of shape."""
    return [
        json.dumps({"id": "1", **fields}).encode()
        for fields in (
            {"type": "prompt.set", "text": "gold", "transition": "blend", "chunks": 4, "curve": "slerp"},
            {"type": "prompt.set", "prompts": [{"text": "gold", "weight": 2}, {"text": "ice"}]},
            {
                "type": "timeline.set",
                "steps": [{"at": 0, "text": "a"}, {"at": 3.5, "text": "b"}],
                "loop": False,
            },
            {"type": "guidance.set", "keyframes": [{"at": 0, "scale": 0.2}, {"at": 4, "scale": 1.6}]},
            {"type": "depth.set", "smoothing": 0.4, "points": [{"x": 0.5, "y": 0.4, "value": 0.9}]},
            {"type": "controls.set", "gray": 0.5},
            {"type": "references.set", "images": ["a", "b"]},
            {"type": "region.set", "distance": 0.5, "side": "far"},
            {"type": "steps.set", "steps": [1000, 500]},
            {"type": "seed.set", "mode": "fixed", "seed": 7},
            {"type": "output.set", "fps": 12, "quality": "low"},
            {"type": "ping"},
        )
    ]


def _setups() -> list[bytes]:
    parts = {
        "prompt": {"prompts": [{"text": "gold", "weight": 2.0}, {"text": "ice"}]},
        "latency": {"level": "lower"},
        "guidance": {"keyframes": [{"at": 0, "scale": 0.2}, {"at": 4, "scale": 1.6}], "loop": True},
        "depth": {"smoothing": 0.4, "points": [{"x": 0.5, "y": 0.4, "value": 0.9}]},
        "region": {"distance": None},
        "without": ["references"],
        "page": {"mirror": True},
    }
    steps = [{"at": 0, "text": "a"}, {"at": 3.5, "text": "b", "transition": "cut"}]
    others = {
        "timeline": {"steps": steps, "loop": False},
        "steps": {"steps": [1000, 500]},
        "camera_start": {"noise_scale": 0.7},
        "seed": {"mode": "fixed", "seed": 7},
        "output": {"fps": 12, "quality": "low"},
    }
    return [json.dumps({"version": 1, **one}).encode() for one in (parts, others, {"timeline": None})]


def _read_setup(data: bytes) -> None:
    """What is taken is saved as what is taken again."""
    setup = decode_setup(data)
    setup.commands("fuzz")
    decode_setup(encode_setup(setup))


def _frames() -> list[bytes]:
    picture = {"skipped": 1, "sequence": 7, "timestamp_us": 99}
    return [
        MediaFrame(Kind.JPEG, payload=b"\xff\xd8\xff", **picture).encode(),
        MediaFrame(Kind.VP8, payload=b"\x10\x00\x00\x9d\x01\x2a", **picture).encode(),
        MediaFrame(Kind.CREDIT, skipped=0, sequence=3, timestamp_us=0, payload=b"").encode(),
        MediaFrame(Kind.CODEC_REQUEST, skipped=0, sequence=2, timestamp_us=0, payload=b"").encode(),
    ]


def _offers() -> list[bytes]:
    """Of a browser that publishes with a bundle, and of a small sender without."""
    transport = (
        "a=ice-ufrag:EsAw",
        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=rtcp-mux",
    )
    candidate = "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0"
    video = (
        "c=IN IP4 0.0.0.0",
        "a=rtpmap:96 VP8/90000",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        "a=rtpmap:98 H264/90000",
        "a=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=ssrc-group:FID 1 2",
        "a=ssrc:1 cname:x",
        "a=ssrc:2 cname:x",
    )
    head = ("v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0")
    browser = (
        *(*head, "a=group:BUNDLE 0 1 2", "a=extmap-allow-mixed", "a=msid-semantic: WMS x"),
        *("m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", *transport, "a=mid:0", "a=sendonly"),
        *("a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1", candidate),
        *("m=video 9 UDP/TLS/RTP/SAVPF 96 97 98", *video, *transport, "a=mid:1", "a=sendrecv", candidate),
        *("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", *transport, "a=mid:2"),
        *("a=sctp-port:5000", "a=max-message-size:262144", ""),
    )
    sender = (*head, "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98", *video, *transport, "a=mid:v", "a=sendonly", "")
    return ["\r\n".join(lines).encode() for lines in (browser, sender)]


def _answer(data: bytes) -> str:
    """As a publisher's, by aiortc, without a network."""
    offer = read_offer(_text(data), "publisher", ("h264", "vp8"), AddressRule(loopback=False, private=True))

    async def answer() -> str:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            with candidates_only_at(offer.addresses):
                await pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            return offer.answered((await pc.createAnswer()).sdp)
        finally:
            await pc.close()

    return asyncio.run(answer())


def _fragments() -> list[bytes]:
    lines = (
        "a=ice-ufrag:EsAw",
        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        "a=mid:0",
        "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0",
        "a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ srflx raddr 192.0.2.1 rport 9",
        "a=candidate:473322822 1 tcp 1518280447 2001:db8::1 9 typ host tcptype active",
        "a=end-of-candidates",
        "",
    )
    return ["\r\n".join(lines).encode(), "\r\n".join(lines[:2]).encode()]


def _pictures() -> list[bytes]:
    image, coded = Image.fromarray(picture()), []
    for form, options in (
        ("PNG", {}),
        ("JPEG", {"exif": _exif()}),
        ("WEBP", {}),
        ("GIF", {}),
        ("PNG", {"icc_profile": b"x" * 200}),
        ("WEBP", {"save_all": True, "append_images": [image.rotate(90)]}),
    ):
        out = io.BytesIO()
        image.save(out, form, **options)
        coded.append(out.getvalue())
    grey = io.BytesIO()
    Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(SIZE)).save(grey, "PNG")
    return [*coded, grey.getvalue()]


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    return exif


def _jpegs() -> list[bytes]:
    out = io.BytesIO()
    Image.fromarray(picture()).save(out, "JPEG")
    return [out.getvalue()]


def _vp8() -> list[bytes]:
    """A key frame and one that builds on it, each behind its length."""
    from av import VideoFrame

    encoder = Vp8Encoder()
    frames = [VideoFrame.from_ndarray(np.roll(picture(), n, 0), "rgb24") for n in range(2)]
    coded = [encoder.encode(frame, 500_000, key=not n) for n, frame in enumerate(frames)]
    return [b"".join(struct.pack(">I", len(one)) + one for one in coded)]


def _h264() -> list[bytes]:
    """The beginning of an access unit, as it is before a decoder sees it: its parameter sets."""
    import av

    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.height, codec.width = SIZE
    codec.pix_fmt, codec.time_base = "yuv420p", Fraction(1, 25)
    packets = [*codec.encode(av.VideoFrame.from_ndarray(picture(), "rgb24")), *codec.encode(None)]
    return [bytes(packets[0])[:PARAMETER_SETS_BYTES]]


def _read_vp8(data: bytes) -> None:
    decoder = Vp8Decoder()
    while len(data) > 4:
        length = min(struct.unpack(">I", data[:4])[0], len(data) - 4)
        decoder.decode(data[4 : 4 + length], 0)
        data = data[4 + length :]
