import asyncio
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, pack_remb_fci
from av import CodecContext, VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from server.media.bitrate import CEILINGS_BPS
from server.webrtc.aiortc_patches.bitrate import (
    HEADROOM,
    REST_S,
    RISE_AFTER_S,
    RUNGS_BPS,
    BitrateControl,
    BitrateLadder,
)

PLENTY = 10_000_000


class Sender:
    """As far as the control looks into it."""

    def __init__(self, encoder) -> None:
        self._RTCRtpSender__encoder = encoder


@pytest.fixture(params=[H264Encoder, Vp8Encoder])
def encoder(request):
    return request.param()


def test_rungs_are_worth_a_new_encoder_and_can_be_climbed():
    for lower, higher in pairwise(RUNGS_BPS):
        assert higher > 1.1 * lower, "aiortc would keep its encoder"
        assert HEADROOM * higher <= 1.5 * lower, "Chromium never estimates more than 1.5 times what it gets"


def test_the_ladder_falls_with_the_estimate_and_rises_with_headroom():
    ladder = BitrateLadder(1_000_000, 0.0)
    assert ladder.climb(600_000, PLENTY, REST_S) == 500_000
    assert ladder.climb(660_000, PLENTY, 100) == 500_000, "no headroom above 650 kbps"
    assert ladder.climb(round(650_000 * HEADROOM), PLENTY, 100) == 650_000


def test_an_estimate_that_wavers_around_a_rung_changes_it_once():
    ladder = BitrateLadder(1_000_000, 0.0)
    seen = [ladder.climb(980_000 + 60_000 * (n % 2), PLENTY, n) for n in range(100)]
    assert [new for old, new in pairwise(seen) if old != new] == [800_000]


def test_a_ceiling_holds_and_gives_way():
    ladder = BitrateLadder(1_000_000, 0.0)
    assert ladder.climb(PLENTY, CEILINGS_BPS["low"], 10) == 500_000
    assert ladder.climb(PLENTY, CEILINGS_BPS["high"], 20) == RUNGS_BPS[-1]


@pytest.mark.parametrize("quality", CEILINGS_BPS)
def test_who_is_at_the_ceiling_does_not_climb_beyond_it(quality):
    """However good the link is, and for how long: else a new encoder each time, there and back."""
    ceiling = CEILINGS_BPS[quality]
    ladder = BitrateLadder(ceiling, 0.0)
    for now in range(100):
        assert ladder.climb(PLENTY, ceiling, now) == max(rung for rung in RUNGS_BPS if rung <= ceiling)


def test_the_lowest_rung_is_the_least_that_is_sent():
    ladder = BitrateLadder(1, 0.0)
    assert ladder.bps == RUNGS_BPS[0]
    assert ladder.climb(0, PLENTY, 100) == RUNGS_BPS[0]


def test_the_ladder_falls_after_a_rest_and_climbs_after_a_longer_one():
    ladder = BitrateLadder(1_000_000, 0.0)
    assert ladder.climb(0, PLENTY, REST_S - 0.1) == 1_000_000
    assert ladder.climb(0, PLENTY, REST_S) == RUNGS_BPS[0]
    assert ladder.climb(PLENTY, PLENTY, REST_S + RISE_AFTER_S - 0.1) == RUNGS_BPS[0]
    assert ladder.climb(PLENTY, PLENTY, REST_S + RISE_AFTER_S) == RUNGS_BPS[-1]


@given(st.lists(st.tuples(st.integers(0, 5_000_000), st.floats(0, 3)), max_size=60))
def test_between_two_changes_the_ladder_rests(estimates):
    ladder, now, bps, changed_at = BitrateLadder(1_000_000, 0.0), 0.0, 1_000_000, 0.0
    for estimate, seconds in estimates:
        now += seconds
        new = ladder.climb(estimate, PLENTY, now)
        assert new in RUNGS_BPS
        if new != bps:
            assert now - changed_at >= (REST_S if new < bps else RISE_AFTER_S)
            bps, changed_at = new, now


def test_the_encoder_is_held_on_the_ladder(encoder):
    control = BitrateControl(Sender(encoder))
    encoder.target_bitrate = 700_000  # what the receiver says
    control.hold("high", 0)
    assert encoder.target_bitrate == 650_001
    control.hold("low", REST_S)
    assert encoder.target_bitrate == 500_001
    control.hold("high", 10)
    assert encoder.target_bitrate == 500_001, "the estimate was kept"
    encoder.target_bitrate = 1_200_000
    control.hold("high", 20)
    assert encoder.target_bitrate == 1_000_001


def test_law_a_line_that_carries_little_is_sent_the_lowest_rung_by_either_codec(encoder):
    control = BitrateControl(Sender(encoder))
    encoder.target_bitrate = 1
    control.hold("high", 0)
    assert encoder.target_bitrate == RUNGS_BPS[0] + 1


def test_an_estimate_of_just_the_rung_is_heard():
    encoder = H264Encoder()
    control = BitrateControl(Sender(encoder))
    encoder.target_bitrate = 2_000_000
    control.hold("low", 0)
    control.hold("low", 10)
    encoder.target_bitrate = 500_000  # the receiver's link fails while the ceiling holds it there anyway
    control.hold("low", 20)
    control.hold("high", 30)
    assert encoder.target_bitrate == 500_001


@pytest.mark.parametrize(
    ("fps", "asked"), [(12, 1.0), (30, 1.0), (33, 1.0), (41, 2 / 3), (60, 0.5), (240, 0.25)]
)
def test_law_h264_is_asked_for_its_bits_by_as_many_pictures_as_are_coded(fps, asked):
    encoder = H264Encoder()
    control = BitrateControl(Sender(encoder))
    encoder.target_bitrate = 1_000_000
    for number in range(5 * fps):
        control.hold("high", number / fps)
    assert encoder.target_bitrate == pytest.approx(1_000_000 * asked, abs=2)


def test_vp8_is_asked_for_as_much_however_many_pictures_are_coded():
    """It looks at their times."""
    encoder = Vp8Encoder()
    control = BitrateControl(Sender(encoder))
    encoder.target_bitrate = 1_000_000
    for number in range(300):
        control.hold("high", number / 60)
    assert encoder.target_bitrate == 1_000_001


@pytest.mark.parametrize("codec", [H264Encoder, Vp8Encoder])
@pytest.mark.parametrize("fps", [30, 60])
def test_law_a_second_of_video_has_the_bits_that_it_was_allowed(codec, fps):
    """Real encoders, of noise that takes all they may use; `now` is the media's time."""
    encoder, random = codec(), np.random.default_rng(0)
    control = BitrateControl(Sender(encoder))
    encoder.target_bitrate = 380_000
    bits, seconds = 0, (4, 8)
    for number in range(seconds[1] * fps):
        frame = VideoFrame.from_ndarray(random.integers(100, 140, (96, 128, 3), np.uint8))
        frame.pts, frame.time_base = number * 90_000 // fps, Fraction(1, 90_000)
        control.hold("high", number / fps)
        payloads, _ = encoder.encode(frame)
        if number >= seconds[0] * fps:
            bits += 8 * sum(map(len, payloads))
    assert bits / (seconds[1] - seconds[0]) == pytest.approx(380_000, rel=0.25)


@pytest.mark.parametrize("fps", [30, 60])
def test_an_encoder_is_not_opened_anew_more_often_than_every_two_seconds(encoder, fps, monkeypatch):
    """Real encoders, under an estimate that jumps with every frame; `now` is the media's time."""
    opened: list[float] = []
    create = CodecContext.create

    class Counted:
        @staticmethod
        def create(*arguments):
            opened.append(now)
            return create(*arguments)

    monkeypatch.setattr(f"{type(encoder).__module__}.av.CodecContext", Counted)
    control = BitrateControl(Sender(encoder))
    frame = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
    frame.time_base = Fraction(1, 90_000)
    random = np.random.default_rng(0)
    for number in range(20 * fps):
        now = number / fps if number < 15 * fps else 15 + (number - 15 * fps) / 12
        frame.pts = round(90_000 * now)
        encoder.target_bitrate = int(random.integers(100_000, 4_000_000))
        control.hold("high", now)
        encoder.encode(frame)
    assert len(opened) > 2, "it does follow the estimate"
    assert min(after - before for before, after in pairwise(opened)) >= REST_S


def test_the_receivers_estimate_is_kept_while_it_says_nothing_new():
    """What the control has set itself is no estimate: from it the ladder could never climb."""
    encoder = H264Encoder()
    control = BitrateControl(Sender(encoder))
    encoder.target_bitrate = 2_700_000
    for now, quality, bps in ((0, "high", 2_600_001), (10, "low", 500_001), (20, "low", 500_001)):
        control.hold(quality, now)
        assert encoder.target_bitrate == bps
    control.hold("high", 30)
    assert encoder.target_bitrate == 2_100_001, "with headroom below the estimate of the beginning"


def test_nothing_happens_before_the_first_frame():
    BitrateControl(Sender(None)).hold("low", 0)


async def test_aiortc_still_keeps_its_encoder_where_the_control_looks():
    """And gives it the receiver's estimate as its target: all of aiortc that the ladder rests upon."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = pc.addTransceiver("video").sender
    assert vars(sender)["_RTCRtpSender__encoder"] is None
    sender._RTCRtpSender__encoder = encoder = H264Encoder()
    control = BitrateControl(sender)
    control.hold("high", 0)
    for now, estimate in ((10, 700_000), (20, 2_400_000)):
        fci = pack_remb_fci(estimate, [sender._ssrc])
        await sender._handle_rtcp_packet(
            RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=sender._ssrc, fci=fci)
        )
        assert encoder.target_bitrate == pytest.approx(estimate, rel=0.01)
        control.hold("high", now)
    assert encoder.target_bitrate == 2_100_001
    await pc.close()
    await asyncio.sleep(0)
