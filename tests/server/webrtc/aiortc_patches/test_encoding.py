"""What a sender encodes is converted without threads of its own, and comes out as by aiortc's encoder."""

import sys
from pathlib import Path

import aiortc.codecs
import numpy as np
import pytest
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from server.media.frames import to_video_frame
from server.webrtc.aiortc_patches.encoding import convert_in_one_thread

AIORTCS_OWN = aiortc.codecs.Vp8Encoder
VP8 = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90_000)
RGB = np.random.default_rng(0).integers(0, 255, (480, 832, 3), np.uint8)


@pytest.fixture(autouse=True)
def unpatched(monkeypatch):
    monkeypatch.setattr(aiortc.codecs, "Vp8Encoder", AIORTCS_OWN)


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_law_a_senders_picture_is_converted_without_threads_of_its_own():
    convert_in_one_thread()
    encoder = aiortc.codecs.get_encoder(VP8)
    encoder.encode(to_video_frame(RGB, pts=0), True)  # the codec's own threads stay
    before, frame = threads(), to_video_frame(RGB, pts=3000)
    encoder.encode(frame)
    assert threads() == before


def test_it_gives_what_aiortcs_gives():
    theirs = aiortc.codecs.get_encoder(VP8).encode(to_video_frame(RGB, pts=9000), True)
    convert_in_one_thread()
    ours = aiortc.codecs.get_encoder(VP8).encode(to_video_frame(RGB, pts=9000), True)
    assert ours[1] == theirs[1] == 9000
    assert [len(data) for data in ours[0]] == [len(data) for data in theirs[0]]
