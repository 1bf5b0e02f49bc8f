"""Delayed sound, block by block: the test says at which place it is to be heard."""

import numpy as np
import pytest

from server.session.sound.delay import BEGIN, SKIP, STRETCH, DelayedSound
from server.session.sound.opus import BLOCK, Samples
from server.session.sound.packets import SoundPacket
from tests.server.session.sound.sounds import click, loudest, packets, roughness, tone

CLICK = 100.0  # of roughness: a soft end of these tones has a third of it, an abrupt one thousands


def rendered(sound: list[SoundPacket], targets: list[int | None]) -> Samples:
    """What is heard for each target in turn."""
    delayed, waiting, blocks = DelayedSound(), list(sound), []
    for target in targets:
        given = []
        if target is not None:
            before = delayed.needs(target)
            given = [one for one in waiting if one.position < before]
            waiting = waiting[len(given) :]
        blocks.append(delayed.render(target, given))
        assert blocks[-1].shape == (BLOCK, 2) and blocks[-1].dtype == np.int16
    return np.concatenate(blocks)


def line(count: int, begin: int = 0) -> list[int | None]:
    return [begin + n * BLOCK for n in range(count)]


def test_law_what_lies_at_a_place_is_heard_there():
    heard = rendered(packets(click(2.0, at=1.0)), line(80, begin=12_345))
    assert abs(loudest(heard) + 12_345 - 48_000) < 600  # the codec takes 6.5 ms


def test_law_at_the_right_place_the_sound_is_what_was_decoded():
    """Whatever small error there is changes nothing: no sample is made anew."""
    sound = packets(tone(2.0))
    exact = rendered(sound, line(60))
    jittered = rendered(sound, [n * BLOCK + (-1) ** n * (BEGIN - 1) * bool(n) for n in range(60)])
    assert np.array_equal(exact, jittered)


@pytest.mark.parametrize("error", [1800, -1800])
def test_law_a_small_change_of_delay_is_followed_without_a_click(error):
    sound = packets(click(8.0, at=6.5) // 2 + tone(8.0, 200.0, 4000.0))
    heard = rendered(sound, [20_000, *line(320, begin=20_000 + BLOCK + error)])
    calm = rendered(sound, line(321, begin=20_000))
    assert roughness(heard[: 200 * BLOCK]) < 1.5 * roughness(calm[: 200 * BLOCK])
    assert abs(loudest(heard) - (loudest(calm) - error)) < 60, "it has got there"


@pytest.mark.parametrize("error", [1800, -1800])
def test_law_nothing_is_played_more_than_one_percent_faster_or_slower(error):
    heard = rendered(packets(tone(4.0, 1000.0)), [20_000, *line(40, begin=20_000 + BLOCK + error)])
    crossings = np.flatnonzero(np.diff(np.signbit(heard[2 * BLOCK : 40 * BLOCK, 0])))
    assert np.diff(crossings[::200]) == pytest.approx(4800, rel=0.0095)
    assert STRETCH / BLOCK < 0.01


def test_law_a_skip_forwards_does_not_click():
    sound = packets(tone(4.0, 200.0, 8000.0))
    heard = rendered(sound, [*line(20, begin=20_000), *line(20, begin=20_000 + 20 * BLOCK + 30_000)])
    assert roughness(heard[2 * BLOCK :]) < CLICK


def test_law_backwards_it_is_silent_until_the_time_has_come_and_says_nothing_twice():
    sound = packets(click(4.0, at=1.0))
    early = SKIP + 5000
    heard = rendered(sound, [*line(40, begin=20_000), *line(40, begin=20_000 + 40 * BLOCK - early)])
    found = np.flatnonzero(np.abs(heard[:, 0]) > 9000)
    assert len(found) and found[-1] - found[0] < 480, "once"
    assert abs(found[0] + 20_000 - 48_000) < 600
    sound = packets(tone(4.0, 200.0))
    heard = rendered(sound, [*line(40, begin=20_000), *line(40, begin=20_000 + 40 * BLOCK - early)])
    silent = np.flatnonzero(~heard[40 * BLOCK : 60 * BLOCK].any(1))
    assert abs(len(silent) - (early - 240)) < 20
    assert roughness(heard[2 * BLOCK :]) < CLICK


def test_law_a_gap_is_silence_with_soft_ends():
    sound = packets(tone(2.0, 200.0))
    whole = rendered(sound, line(60, begin=9600))
    holed = rendered([*sound[:30], *sound[35:]], line(60, begin=9600))
    begin = 30 * BLOCK - 9600
    assert not holed[begin : begin + 5 * BLOCK].any()
    assert roughness(holed[2 * BLOCK :]) < CLICK
    assert len(holed) == len(whole) and np.array_equal(holed[: begin - 240], whole[: begin - 240])


def test_law_without_a_place_it_is_silent_and_both_ends_are_soft():
    sound = packets(tone(4.0, 200.0))
    targets = [*line(30, begin=9600), *[None] * 10, *line(30, begin=9600 + 40 * BLOCK)]
    heard = rendered(sound, targets)
    assert not heard[31 * BLOCK : 40 * BLOCK].any() and heard[45 * BLOCK :].any()
    assert roughness(heard[2 * BLOCK :]) < CLICK


def test_nothing_but_silence_of_nothing():
    assert not rendered([], [None, *line(5), None]).any()


def test_packets_that_cannot_be_decoded_are_counted_and_the_others_are_heard():
    delayed = DelayedSound()
    sound = [
        SoundPacket(n * BLOCK, b"\xff" * 30 if n % 2 else data)
        for n, (_, data) in enumerate(packets(tone(1.0)))
    ]
    delayed.render(0, sound[:3])
    heard = [delayed.render(n * BLOCK, [sound[n + 2]]) for n in range(1, 38)]
    assert delayed.rejected == 20 and np.concatenate(heard).any()


def test_law_of_packets_on_top_of_one_another_one_is_decoded(monkeypatch):
    delayed, decoded = DelayedSound(), []
    (_, data), *_ = packets(tone(0.1))
    decode = delayed._decoder.decode
    delayed._begin(0)
    monkeypatch.setattr(delayed._decoder, "decode", lambda one: decoded.append(one) or decode(one))
    delayed.render(0, [SoundPacket(n, data) for n in range(1000)])
    assert len(decoded) <= 2 and delayed.rejected >= 998


def test_law_it_holds_no_more_than_what_is_still_to_be_heard():
    delayed = DelayedSound()
    for n, packet in enumerate(packets(tone(20.0))):
        delayed.render(n * BLOCK - 2 * BLOCK, [packet])
    assert len(delayed._samples) < 10 * BLOCK
