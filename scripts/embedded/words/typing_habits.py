"""Captions as people type them: articles, case, full stops, and slips of the finger."""

import random
import re
from typing import NamedTuple


class Habits(NamedTuple):
    """How people type: shares of captions."""

    typos: float = 0.06  # with a letter swapped, dropped or doubled
    more_typos: float = 0.0  # of those with one typo: with another, of any kind
    odd_colours: float = 0.03  # for a look without colours: with a colour all the same
    plain_letters: float = 0.0  # without accents: "weiss gehaekelt"
    german: float = 0.0  # whole captions


AS_TYPED = Habits()  # what the trials ask for
# Training meets slips much more often: seen as seldom as they are made, they are not learnt.
IN_TRAINING = Habits(typos=0.22, more_typos=0.25, odd_colours=0.1, plain_letters=0.3, german=0.06)
CAREFUL = Habits(typos=0.0, odd_colours=0.06)

_PLAIN_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "é": "e", "í": "i", "ó": "o", "á": "a", "ñ": "n", "ï": "i"}
)
_ROWS = ("qwertzuiop", "asdfghjkl", "yxcvbnm")  # of a keyboard
_KEYS = {key: row[max(0, at - 1) : at] + row[at + 1 : at + 2] for row in _ROWS for at, key in enumerate(row)}
_ARTICLE_BEFORE_VOWEL = re.compile(r"\b(a)(?= [aeiou])")


def with_typo(text: str, rng: random.Random) -> str:
    """One letter inside a word swapped with the next, dropped or doubled; first letters stay."""
    at = [
        i
        for i in range(1, len(text) - 1)
        if text[i - 1].isalpha() and text[i].isalpha() and text[i + 1].isalpha()
    ]
    if not at:
        return text
    i = rng.choice(at)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text[:i] + text[i + 1 :] if kind == 1 else text[: i + 1] + text[i:]


def with_slip(text: str, rng: random.Random) -> str:
    """A typo, or a letter hit that lies beside the right one on the keyboard."""
    at = [i for i in range(1, len(text)) if text[i] in _KEYS and text[i - 1].isalpha()]
    if not at or rng.random() < 0.5:
        return with_typo(text, rng)
    i = rng.choice(at)
    return text[:i] + rng.choice(_KEYS[text[i]]) + text[i + 1 :]


def written(text: str, rng: random.Random, habits: Habits = AS_TYPED) -> str:
    """`text` as somebody typed it: articles, case, full stops, typos."""
    if habits.plain_letters and rng.random() < habits.plain_letters:
        text = text.translate(_PLAIN_LETTERS)
    if " a " in text or text.startswith("a "):
        text = _ARTICLE_BEFORE_VOWEL.sub("an", text)
    chance = rng.random()
    if chance < 0.12:
        text = text.upper() if chance < 0.02 else text.title() if chance < 0.04 else text.capitalize()
    if rng.random() < 0.08:
        text += rng.choice((".", ".", "!", "...", "?", "!!"))
    if rng.random() < habits.typos:
        text = with_typo(text, rng)
        if habits.more_typos and rng.random() < habits.more_typos:
            text = with_slip(text, rng)
    return text
