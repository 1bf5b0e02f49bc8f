"""What headers say of a picture's size is what it is decoded to, and nothing that they say does harm."""

import re
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest
from aiortc.codecs.h264 import H264Encoder, h264_depayload
from av import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from server.media.coded_size import (
    EXPECTED,
    SizeRejected,
    check_camera_size,
    h264_sizes,
    is_h264_entry,
    is_vp8_key,
    vp8_size,
)
from server.media.images import ImageRejected
from server.media.rtp_decoder import RtpDecoder
from server.media.vp8 import Vp8Encoder

START = b"\0\0\0\1"


def h264(width: int, height: int, pixels: str = "yuv420p", **parameters: str) -> bytes:
    """An IDR picture with its parameter sets, as x264 codes it."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, pixels
    codec.time_base = Fraction(1, 30)
    words = ":".join(f"{name}={value}" for name, value in parameters.items())
    codec.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": words}
    frame = VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
    frame = frame.reformat(format=pixels)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in codec.encode(frame))


def sps_of(picture: bytes) -> bytes:
    """The NAL unit of its sequence parameter set, with the start code."""
    start = picture.index(START + b"\x67")
    return picture[start : picture.index(b"\0\0\1", start + 4)].rstrip(b"\0")


class Bits:
    """For bit streams made by hand."""

    def __init__(self) -> None:
        self.text = ""

    def put(self, value: int, count: int) -> "Bits":
        self.text += f"{value:0{count}b}"
        return self

    def golomb(self, *values: int) -> "Bits":
        for value in values:
            digits = f"{value + 1:b}"
            self.text += "0" * (len(digits) - 1) + digits
        return self

    def bytes(self) -> bytes:
        text = self.text + "1"
        return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def made_sps(width_mbs: int, height_mbs: int, *crop: int, fields: bool = False) -> bytes:
    bits = Bits().put(66, 8).put(0, 8).put(31, 8).golomb(0, 0, 0, 0, 1).put(0, 1)
    bits.golomb(width_mbs - 1, height_mbs - 1).put(int(not fields), 1)
    bits.put(0, 2 if fields else 1).put(int(bool(crop)), 1).golomb(*crop).put(0, 1)
    return START + b"\x67" + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", bits.bytes())


@pytest.mark.parametrize("size", [(16, 16), (320, 240), (322, 246), (1920, 1080), (2560, 1440), (3440, 1440)])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_law_an_h264_picture_is_as_large_as_its_sps_says(size, pixels):
    assert h264_sizes(h264(*size, pixels)) == [size]


@pytest.mark.parametrize("parameters", [{"interlaced": "1"}, {"cqm": "jvt"}, {"bframes": "0", "ref": "4"}])
def test_law_fields_scaling_lists_and_references_change_nothing_of_it(parameters):
    picture = h264(320, 244, **parameters)
    (frame,) = RtpDecoder().decode("H264", picture, 0)
    assert h264_sizes(picture) == [(frame.width, frame.height)] == [(320, 244)]


@pytest.mark.parametrize("kind", ["single", "aggregated", "fragmented"])
def test_law_however_an_sps_is_packed_it_is_read(kind, monkeypatch):
    units = [bytes(unit) for unit in H264Encoder._split_bitstream(h264(3840, 2160))]
    match kind:
        case "single":
            payloads = units
        case "aggregated":
            payloads = H264Encoder._packetize(units)
            assert payloads[0][0] & 0x1F == 24
        case _:
            monkeypatch.setattr("aiortc.codecs.h264.PACKET_MAX", 12)
            payloads = [part for unit in units for part in H264Encoder._packetize_fu_a(unit)]
            assert {payload[0] & 0x1F for payload in payloads} == {28}
    data = b"".join(map(h264_depayload, payloads))
    assert h264_sizes(data) == [(3840, 2160)] and is_h264_entry(data)


def test_law_of_several_sps_each_is_read():
    small, large = sps_of(h264(320, 240)), made_sps(1000, 1000)
    assert h264_sizes(small + large + small) == [(320, 240), (16000, 16000), (320, 240)]
    with pytest.raises(SizeRejected, match="16000x16000"):
        RtpDecoder().decode("H264", h264(320, 240) + large, 0)
    with pytest.raises(ImageRejected, match="33 H.264 parameter sets in one picture: expected at most 32"):
        h264_sizes(small * 33)


def test_law_bytes_that_keep_start_codes_apart_are_no_part_of_it():
    data = made_sps(1 << 30, 1 << 20)
    assert b"\0\0\3" in data
    assert h264_sizes(data) == [(1 << 34, 1 << 24)]


def test_law_cropping_hides_no_large_picture():
    assert h264_sizes(made_sps(40, 30, 0, 1, 0, 4)) == [(638, 472)]
    assert h264_sizes(made_sps(40, 15, 0, 1, 0, 1, fields=True)) == [(638, 476)]
    assert h264_sizes(made_sps(1000, 1000, 0, 7900, 0, 7900)) == [(16000, 16000)]


def test_only_a_picture_with_a_parameter_set_or_an_idr_is_an_entry():
    encoder = H264Encoder()
    frames = [VideoFrame.from_ndarray(np.full((48, 64, 3), n, np.uint8), format="rgb24") for n in range(3)]
    coded = []
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = 3000 * number, Fraction(1, 90_000)
        coded.append(b"".join(map(h264_depayload, encoder.encode(frame)[0])))
    assert [is_h264_entry(data) for data in coded] == [True, False, False]
    assert [h264_sizes(data) for data in coded] == [[(64, 48)], [], []]


@given(st.integers(0, 0x3FFF), st.integers(0, 0x3FFF), st.integers(0, 3), st.binary(max_size=30))
def test_law_a_vp8_key_frame_says_its_size(width, height, scale, rest):
    sides = [(side | scale << 14).to_bytes(2, "little") for side in (width, height)]
    data = b"\x10\0\0\x9d\x01\x2a" + b"".join(sides) + rest
    assert is_vp8_key(data) and vp8_size(data) == (width, height)


def test_a_vp8_picture_is_as_large_as_its_header_says():
    frame = VideoFrame.from_ndarray(np.zeros((246, 322, 3), np.uint8), format="rgb24")
    assert vp8_size(Vp8Encoder().encode(frame, 500_000, key=True)) == (322, 246)


@given(st.binary(max_size=200))
def test_law_garbage_is_refused_or_says_nothing(data):
    for read in (h264_sizes, vp8_size, lambda data: h264_sizes(START + b"\x67" + data)):
        try:
            read(data)
        except ImageRejected:
            pass
    assert is_h264_entry(data) in (True, False) and is_vp8_key(data) in (True, False)


@given(st.integers(0, 40), st.integers(0, 255), st.integers(0, 40))
def test_law_a_broken_sps_is_refused_or_read_and_never_passed_over(at, value, cut):
    whole = sps_of(h264_small())
    data = bytearray(whole)
    data[5 + at % (len(whole) - 5)] = value
    try:
        assert len(h264_sizes(bytes(data)[: max(6, len(data) - cut)])) >= 1
    except ImageRejected as error:
        assert str(error) == "no H.264 that can be read: a sequence parameter set is broken"


@cache
def h264_small() -> bytes:
    return h264(322, 246)


def test_law_a_truncated_sps_is_refused():
    whole = sps_of(h264_small())
    assert len(h264_sizes(whole)) == 1
    for length in range(5, 12):
        with pytest.raises(ImageRejected):
            h264_sizes(whole[:length])


def test_a_size_that_is_not_taken_is_told_with_the_limit():
    for size in [(16, 16), (2560, 1440), (128, 16)]:
        check_camera_size(size)
    for size in [(8, 8), (2560, 1600), (129, 16), (16000, 16000)]:
        with pytest.raises(SizeRejected) as refusal:
            check_camera_size(size)
        assert str(refusal.value) == f"{size[0]}x{size[1]}: expected {EXPECTED}"
        assert "3686400" in EXPECTED


def test_law_a_decoder_that_reads_an_sps_in_another_way_allocates_no_more(monkeypatch):
    """FFmpeg tries again without unescaping where it cannot read one."""
    monkeypatch.setattr("server.media.rtp_decoder.check_camera_size", lambda size: None)
    with pytest.raises(ImageRejected, match="no H264 that can be read"):
        RtpDecoder().decode("H264", h264(3840, 2160), 0)
