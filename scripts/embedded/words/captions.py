"""Captions that people might type, with the paint each of them asks for.

A caption names a look ("a golden statue"), for some looks a colour ("knitted from blue wool"), and sometimes
a background ("before a red curtain"); around them stand words that mean nothing. Words outside the looks go
to the nearest one (`NEAREST`), and a caption without any known word to `DEFAULT`, so that no text asks for a
mixture.

    text, paint = training_caption(random.Random(0))
"""

import random

from scripts.embedded.scenes.looks import BACKGROUNDS, COLOURED, COLOURS, LOOKS, Paint
from scripts.embedded.words.captions_german import german_caption
from scripts.embedded.words.filler_words import (
    ADJECTIVE,
    ARTICLES,
    CHATTER,
    COLOUR_ALONE,
    EMPTY_ADJECTIVES,
    MATERIAL,
    ONSETS,
    PLURALS,
    PREFIXES,
    RHYMES,
    SHADES,
    STYLE,
    SUBJECTS,
    SUFFIXES,
)
from scripts.embedded.words.look_words import PHRASES
from scripts.embedded.words.nearest_words import NEAREST
from scripts.embedded.words.setting_words import BACKGROUND_CLAUSES, BACKGROUND_TAGS, COLOUR_WORDS
from scripts.embedded.words.typing_habits import (
    AS_TYPED,
    CAREFUL,
    IN_TRAINING,
    Habits,
    with_slip,
    with_typo,
    written,
)

DEFAULT = Paint("clay", "white")  # for the empty prompt and for prompts without a known word

_Entry = tuple[str, tuple[str, ...]]  # a look's words and the templates they fit


def _entries(look: str, *, coloured: bool) -> tuple[_Entry, ...]:
    words = PHRASES[look]
    rows = ((words.materials, MATERIAL), (words.adjectives, ADJECTIVE), (words.styles, STYLE))
    entries = [(phrase, templates) for phrases, templates in rows for phrase in phrases]
    if not coloured:
        entries += [(phrase, STYLE) for phrase in words.uncoloured]
    return tuple(entries)


def _main_entry(look: str) -> _Entry:
    """The word that most people would type: the look's own name, or the first of its words."""
    for phrases, templates in zip(PHRASES[look][:3], (MATERIAL, ADJECTIVE, STYLE), strict=True):
        if look in phrases:
            return look, templates
    return PHRASES[look].styles[0], STYLE


_ENTRIES = {
    (look, coloured): _entries(look, coloured=coloured) for look in LOOKS for coloured in (False, True)
}
_MAIN = {look: _main_entry(look) for look in LOOKS}
_LOOKS, _COLOURS, _BACKGROUNDS = tuple(LOOKS), tuple(COLOURS), tuple(BACKGROUNDS)
_NEAREST_ROWS = tuple(NEAREST.items())

_KNOWN = {
    word
    for phrases in (
        *(phrase for look in PHRASES.values() for phrase in look),
        *COLOUR_WORDS.values(),
        *BACKGROUND_CLAUSES.values(),
        *BACKGROUND_TAGS.values(),
        tuple(NEAREST),
    )
    for phrase in phrases
    for word in phrase.split()
}


def _article(rng: random.Random) -> str:
    article = rng.choice(ARTICLES)
    return f"{article} {rng.choice(EMPTY_ADJECTIVES)}" if rng.random() < 0.25 else article


def _subject(rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.12:
        return rng.choice(PLURALS)
    if chance < 0.27:
        return rng.choice(SUBJECTS)
    return f"{_article(rng)} {rng.choice(SUBJECTS)}"


def _fill(template: str, words: str, rng: random.Random) -> str:
    if "#" in template:
        template = template.replace("#", _subject(rng))
    elif "~" in template:
        template = template.replace("~", rng.choice(SUBJECTS))
    elif "+" in template:
        template = template.replace("+", rng.choice(PLURALS))
    if "^" in template:
        template = template.replace("^", _article(rng))
    return template.replace("@", words)


def _colour(colour: str, rng: random.Random) -> str:
    words = COLOUR_WORDS[colour]
    word = words[0] if rng.random() < 0.6 else rng.choice(words)
    return f"{rng.choice(SHADES)} {word}" if rng.random() < 0.08 else word


def _look(paint: Paint, rng: random.Random, habits: Habits = AS_TYPED) -> str:
    """Words that ask for the paint's look and colour, without its background."""
    colour = paint.colour
    if paint.look == "plastic" and colour is not None and rng.random() < 0.2:
        return _fill(rng.choice(COLOUR_ALONE), _colour(colour, rng), rng)
    if rng.random() < 0.2:
        words, templates = _MAIN[paint.look]
    else:
        words, templates = rng.choice(_ENTRIES[paint.look, colour is not None])
    template = rng.choice(templates)
    if colour is not None:
        word = _colour(colour, rng)
        chance = rng.random()
        if chance < 0.80:
            words = f"{word} {words}"
        elif chance < 0.90:
            return f"{_fill(template, words, rng)} in {word}"
        elif chance < 0.97:
            return f"{_fill(template, words, rng)}, {word}"
        else:
            return f"{word}, {_fill(template, words, rng)}"
    elif paint.look not in COLOURED and rng.random() < habits.odd_colours:
        # "red lego": these looks have one colouring, and keep it
        words = f"{_colour(rng.choice(_COLOURS), rng)} {words}"
    return _fill(template, words, rng)


def _composed(main: str, background: str | None, rng: random.Random, habits: Habits = AS_TYPED) -> str:
    """`main`, the background's words and words without meaning, in any order."""
    if rng.random() < 0.15:
        main = f"{rng.choice(PREFIXES)} {main}"
    if background is not None and rng.random() < 0.55:  # one sentence: "gold in front of a brick wall"
        clause = rng.choice(BACKGROUND_CLAUSES[background])
        main = f"{clause} {main}" if rng.random() < 0.1 else f"{main} {clause}"
        background = None
    parts = [main]
    if background is not None:
        tables = BACKGROUND_CLAUSES if rng.random() < 0.5 else BACKGROUND_TAGS
        parts.append(rng.choice(tables[background]))
    if rng.random() < 0.25:
        parts += rng.sample(SUFFIXES, rng.choice((1, 1, 2, 3)))
    if len(parts) > 1:
        if rng.random() < 0.4:
            rng.shuffle(parts)
        main = (" " if rng.random() < 0.15 else ", ").join(parts)
    return written(main, rng, habits)


def caption(paint: Paint, rng: random.Random, habits: Habits = AS_TYPED) -> str:
    """One way to ask for `paint`. Raises ValueError for a look, colour or background that does not exist."""
    if paint.look not in PHRASES:
        raise ValueError(f"paint.look must be one of {_LOOKS}, got {paint.look!r}")
    if paint.colour is not None and (paint.look not in COLOURED or paint.colour not in COLOUR_WORDS):
        raise ValueError(
            f"paint.colour must be None, or one of {_COLOURS} for a look of {COLOURED}; "
            f"got {paint.colour!r} for {paint.look!r}"
        )
    if paint.background is not None and paint.background not in BACKGROUND_CLAUSES:
        raise ValueError(f"paint.background must be None or one of {_BACKGROUNDS}, got {paint.background!r}")
    if habits.german and rng.random() < habits.german:
        return written(german_caption(paint, rng), rng, habits)
    return _composed(_look(paint, rng, habits), paint.background, rng, habits)


def plain_caption(paint: Paint) -> str:
    """What most people would type for `paint`: "blue wool, brick wall background"."""
    words = [] if paint.colour is None else [COLOUR_WORDS[paint.colour][0]]
    words.append(_MAIN[paint.look][0])
    return " ".join(words) + (f", {BACKGROUND_TAGS[paint.background][0]}" if paint.background else "")


def typed_and_meant(rng: random.Random) -> tuple[str, str, Paint]:
    """What somebody typed, what they meant to type, and its paint: half of the texts have a slip; where the
    typed one is German, the plain caption is what was meant."""
    meant, paint = training_caption(rng, CAREFUL)
    chance = rng.random()
    if chance < 0.08:
        return written(german_caption(paint, rng), rng, IN_TRAINING), plain_caption(paint), paint
    typed = meant
    if chance < 0.6:
        typed = with_typo(meant, rng)
        if rng.random() < 0.2:
            typed = with_slip(typed, rng)
    return typed, meant, paint


def slips(count: int, rng: random.Random) -> list[tuple[str, str]]:
    """Phrases with a typo, and the look that each is for."""
    rows = [(phrase, look) for look in LOOKS for words in PHRASES[look] for phrase in words]
    return [(with_typo(phrase, rng), look) for phrase, look in rng.sample(rows, count)]


def _pseudo_word(rng: random.Random) -> str:
    while True:
        word = "".join(rng.choice(ONSETS) + rng.choice(RHYMES) for _ in range(rng.choice((1, 2, 2, 3))))
        if word not in _KNOWN:
            return word


def blank_caption(rng: random.Random) -> str:
    """A prompt without a known word, so for `DEFAULT`: empty, pseudo-words, filler, a bare subject."""
    chance = rng.random()
    if chance < 0.15:
        return ""
    if chance < 0.50:
        text = " ".join(_pseudo_word(rng) for _ in range(rng.choice((1, 1, 2, 3))))
        if rng.random() < 0.3:
            text = _fill(rng.choice(MATERIAL), text, rng)
    elif chance < 0.65:
        text = ", ".join(rng.sample(SUFFIXES, rng.choice((1, 2, 3))))
    elif chance < 0.85:
        text = _subject(rng)
        if rng.random() < 0.4:
            text = f"{rng.choice(PREFIXES)} {text}"
    else:
        text = rng.choice(CHATTER)
    return written(text, rng)


def training_caption(rng: random.Random, habits: Habits = AS_TYPED) -> tuple[str, Paint]:
    """A caption and its paint: 5 % ask for nothing, 8 % for something nearest, the others for a uniform look.

    Of these, 30 % name a background, and 75 % of those with a coloured look name a colour.
    """
    chance = rng.random()
    background = rng.choice(_BACKGROUNDS) if rng.random() < 0.3 else None
    if chance < 0.05:
        if background is None:
            return blank_caption(rng), DEFAULT
        subject = _fill("#", "", rng)  # a bare background: the default before it
        clause = rng.choice(BACKGROUND_CLAUSES[background])
        paint = Paint(DEFAULT.look, DEFAULT.colour, background)
        return written(clause if rng.random() < 0.4 else f"{subject} {clause}", rng, habits), paint
    if chance < 0.13:
        words, paint = rng.choice(_NEAREST_ROWS)
        template = "@" if rng.random() < 0.4 else rng.choice(STYLE if rng.random() < 0.6 else MATERIAL)
        if background is not None:
            paint = Paint(paint.look, paint.colour, background)
        return _composed(_fill(template, words, rng), background, rng, habits), paint
    look = rng.choice(_LOOKS)
    colour = rng.choice(_COLOURS) if look in COLOURED and rng.random() < 0.75 else None
    paint = Paint(look, colour, background)
    return caption(paint, rng, habits), paint
