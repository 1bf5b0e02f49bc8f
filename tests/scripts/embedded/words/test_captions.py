"""Captions name one look each, cover what people type, and keep the held-out phrasings out."""

import random
import re
from collections import Counter, defaultdict

import pytest

from scripts.embedded.scenes.looks import BACKGROUNDS, COLOURED, COLOURS, LOOKS, Paint
from scripts.embedded.words.captions import (
    DEFAULT,
    blank_caption,
    caption,
    plain_caption,
    training_caption,
    typed_and_meant,
)
from scripts.embedded.words.filler_words import EMPTY_ADJECTIVES, PLURALS, SUBJECTS
from scripts.embedded.words.look_words import PHRASES
from scripts.embedded.words.nearest_words import NEAREST
from scripts.embedded.words.setting_words import BACKGROUND_CLAUSES, BACKGROUND_TAGS, COLOUR_WORDS
from scripts.embedded.words.typing_habits import AS_TYPED, IN_TRAINING, Habits
from scripts.embedded.words.unseen_phrasings import HELD_OUT

# Words that decide alone, and yet stand in a phrase of another look, where a neighbour decides.
DECIDED_BY_NEIGHBOUR = set(
    """bricks princess map glass dark drawing liquid dragon stripes striped hot night skin milk cold fur iron
    water molten book bubble doll cherry cotton butter oil mouse moon card poster
    carpet computer paint""".split()
)


KNOWN = [
    "24 karat",
    "brick wall, blue thread material",
    "one boy in dessin style, blue sky, fine details, sharp, 4k",
]


def words_of(look: str) -> set[str]:
    return {phrase for phrases in PHRASES[look] for phrase in phrases}


def tokens(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text)


def test_every_name_has_words():
    assert set(PHRASES) == set(LOOKS)
    assert set(COLOUR_WORDS) == set(COLOURS)
    assert set(BACKGROUND_CLAUSES) == set(BACKGROUND_TAGS) == set(BACKGROUNDS)
    assert {look: len(words_of(look)) for look in LOOKS if len(words_of(look)) < 20} == {}


def test_no_phrase_belongs_to_two_looks():
    owners: dict[str, set[str]] = defaultdict(set)
    for look in LOOKS:
        for phrase in words_of(look):
            owners[phrase].add(look)
    for phrase, paint in NEAREST.items():
        owners[phrase].add(paint.look)
    assert {phrase: looks for phrase, looks in owners.items() if len(looks) > 1} == {}


def test_a_word_that_decides_alone_stands_under_no_other_look():
    phrases = [(phrase, look) for look in LOOKS for phrase in words_of(look)]
    phrases += [(phrase, paint.look) for phrase, paint in NEAREST.items()]
    decides = {phrase: look for phrase, look in phrases if len(tokens(phrase)) == 1}
    clashes = {
        (word, phrase, look)
        for phrase, look in phrases
        for word in tokens(phrase)
        if decides.get(word, look) != look and word not in DECIDED_BY_NEIGHBOUR
    }
    assert clashes == set()


def test_subjects_and_empty_words_carry_no_look():
    known = set(NEAREST) | {phrase for look in LOOKS for phrase in words_of(look)}
    known |= {word for words in COLOUR_WORDS.values() for word in words}
    assert known.isdisjoint({*SUBJECTS, *PLURALS, *EMPTY_ADJECTIVES})


def test_colour_words_belong_to_one_colour():
    counts = Counter(word for words in COLOUR_WORDS.values() for word in words)
    assert [word for word, count in counts.items() if count > 1] == []


def test_nearest_names_paints_that_exist():
    for word, paint in NEAREST.items():
        assert paint.look in LOOKS, word
        assert paint.colour is None or (paint.look in COLOURED and paint.colour in COLOURS), word
        assert paint.background is None or paint.background in BACKGROUNDS, word


@pytest.mark.parametrize(
    "word",
    """fire water ocean marble glass cartoon anime painting watercolor alien zombie galaxy forest stone metal
    bronze copper diamond emerald silk denim velvet sand cloud smoke electricity matrix steampunk picasso
    monochrome grass brass terracotta""".split(),
)
def test_words_that_people_type_are_known(word: str):
    assert word in NEAREST or any(word in words_of(look) for look in LOOKS)


def test_the_same_seed_gives_the_same_captions():
    def some() -> list[tuple[str, Paint]]:
        rng = random.Random(5)
        return [training_caption(rng) for _ in range(200)]

    assert some() == some()


def test_the_trials_ask_what_they_always_asked():
    """The model card's figures are of these prompts: habits of training alone may change."""
    rng = random.Random(0)
    paints = (Paint("gold"), Paint("wool", "blue", "bricks"), Paint("sketch", None, "sky"))
    assert [caption(paint, rng) for paint in paints] == KNOWN


def test_training_slips_more_often_than_people_do():
    def typed(habits: Habits) -> int:
        rng = random.Random(8)
        plain = {phrase for look in LOOKS for phrase in words_of(look)}
        known = {word for phrase in plain for word in tokens(phrase)}
        texts = (caption(Paint("wood"), rng, habits).lower() for _ in range(2000))
        return sum(not known & set(tokens(text)) for text in texts)

    assert typed(IN_TRAINING) > 2 * typed(AS_TYPED)


def test_plain_captions_name_everything_once():
    assert plain_caption(Paint("wool", "blue", "bricks")) == "blue wool, brick wall background"
    paints = {Paint(look) for look in LOOKS} | {Paint("gold", None, name) for name in BACKGROUNDS}
    paints |= {Paint("clay", colour) for colour in COLOURS}
    assert len({plain_caption(paint) for paint in paints}) == len(paints)


def test_a_caption_names_its_background_and_its_colour():
    rng = random.Random(1)
    typos = 0
    for _ in range(2000):
        text = caption(Paint("wool", "blue", "bricks"), rng).lower()
        colour = any(word in text for word in COLOUR_WORDS["blue"])
        background = "brick" in text
        typos += not (colour and background)
    assert typos < 100


def test_a_caption_without_colour_names_none():
    rng = random.Random(2)
    colours = {word for words in COLOUR_WORDS.values() for word in words}
    for _ in range(2000):
        assert colours.isdisjoint(tokens(caption(Paint("clay"), rng).lower()))


@pytest.mark.parametrize(
    ("paint", "field"),
    [
        (Paint("velcro"), "look"),
        (Paint("gold", "red"), "colour"),
        (Paint("wool", "mauve"), "colour"),
        (Paint("gold", None, "moon"), "background"),
    ],
)
def test_an_unknown_name_is_refused(paint: Paint, field: str):
    with pytest.raises(ValueError, match=rf"paint\.{field}"):
        caption(paint, random.Random(0))


def test_a_blank_caption_has_no_known_word():
    known = set(NEAREST) | {phrase for look in LOOKS for phrase in words_of(look)}
    known |= {word for words in COLOUR_WORDS.values() for word in words}
    rng = random.Random(3)
    texts = [blank_caption(rng).lower() for _ in range(3000)]
    assert "" in texts
    assert {word for text in texts for word in tokens(text)} & known == set()


def test_the_mix():
    rng = random.Random(4)
    paints = [training_caption(rng)[1] for _ in range(30_000)]
    share = Counter(paint.look for paint in paints)
    assert all(0.02 * len(paints) < share[look] for look in LOOKS)
    assert 0.27 < sum(paint.background is not None for paint in paints) / len(paints) < 0.36
    coloured = [paint for paint in paints if paint.look in ("neon", "plastic", "wool")]
    assert 0.68 < sum(paint.colour is not None for paint in coloured) / len(coloured) < 0.85
    assert {paint.colour for paint in paints if paint.look in COLOURED} == {None, *COLOURS}
    assert DEFAULT in paints


def test_held_out_phrasings_never_come_up_in_training():
    looks = Counter(paint.look for _, paint in HELD_OUT)
    assert len(HELD_OUT) >= 90
    assert all(looks[look] >= 3 for look in LOOKS)
    rng = random.Random(6)
    made = {
        training_caption(rng, habits)[0].lower() for habits in (AS_TYPED, IN_TRAINING) for _ in range(20_000)
    }
    assert [text for text, _ in HELD_OUT if text.lower() in made] == []


def test_what_was_meant_has_no_slip():
    rng = random.Random(9)
    rows = [typed_and_meant(rng) for _ in range(2000)]
    slipped = [typed != meant for typed, meant, _ in rows]
    assert 0.45 < sum(slipped) / len(rows) < 0.65
    known = {word for look in LOOKS for phrase in words_of(look) for word in tokens(phrase)}
    for look in ("wood", "gold"):
        meant = [text.lower() for _, text, paint in rows if paint.look == look]
        assert sum(not known & set(tokens(text)) for text in meant) < 0.2 * len(meant)  # words of NEAREST
