"""Captions in German name what they are for."""

import random
from collections import defaultdict

from scripts.embedded.scenes.looks import BACKGROUNDS, COLOURED, COLOURS, LOOKS, Paint
from scripts.embedded.words.captions_german import german_caption


def some(paint: Paint, count: int = 60) -> set[str]:
    rng = random.Random(1)
    return {german_caption(paint, rng) for _ in range(count)}


def test_every_look_colour_and_background_has_words() -> None:
    for look in LOOKS:
        assert len(some(Paint(look))) > 20, look
    for look in COLOURED:
        for colour in COLOURS:
            assert some(Paint(look, colour)).isdisjoint(some(Paint(look))), (look, colour)
    for background in BACKGROUNDS:
        assert some(Paint("gold", None, background)).isdisjoint(some(Paint("gold"))), background


def test_no_caption_is_for_two_looks() -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    for look in LOOKS:
        for text in some(Paint(look), 300):
            owners[text].add(look)
    assert {text: looks for text, looks in owners.items() if len(looks) > 1} == {}
