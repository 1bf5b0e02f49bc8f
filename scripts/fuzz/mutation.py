"""Mutations of known inputs, from a seeded generator: of bytes, of lines and of JSON."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Mutate: TypeAlias = Callable[[bytes, random.Random], bytes]

MOST_CHANGES = 4
ODD_WORDS = (
    "",
    "-1",
    "0",
    "1",
    "65536",
    "4294967296",
    "99999999999999999999",
    "1e400",
    "NaN",
    "null",
    "%s%n",
    "../../x",
    "\u0000",
    "\ufeff",
    "ÿ",
    "😀",
    "a" * 300,
    "0.0.0.0",
    "::1",
    "255.255.255.255",
    "=",
    ":",
    " ",
    "\r",
    "*",
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1e308,
    -0.0,
    2**63,
    2**64,
    "",
    "a" * 2000,
    "\u0000",
    "😀",
    [],
    {},
    [[]],
    [None] * 99,
)


def bytes_of(data: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, cut out, repeated, or the end missing."""
    out = bytearray(data)
    for _ in range(draw.randint(1, MOST_CHANGES)):
        start = draw.randrange(len(out) + 1)
        length = draw.choice((1, 1, 2, 4, 16, 64))
        match draw.randrange(5):
            case 0 if start < len(out):
                out[start] ^= 1 << draw.randrange(8)
            case 1:
                out[start : start + length] = draw.randbytes(length)
            case 2:
                del out[start : start + length]
            case 3:
                out[start:start] = out[start : start + length] * draw.choice((1, 2, 50))
            case _:
                del out[start + draw.randrange(len(out) + 1) :]
    return bytes(out)


def lines_of(data: bytes, draw: random.Random) -> bytes:
    """Lines left out, repeated, exchanged, or with another word in them."""
    lines = data.decode("utf-8", "surrogateescape").split("\r\n")
    for _ in range(draw.randint(1, MOST_CHANGES)):
        place = draw.randrange(len(lines))
        match draw.randrange(6):
            case 0 if len(lines) > 1:
                del lines[place]
            case 1:
                lines[place:place] = [lines[place]] * draw.choice((1, 2, 40))
            case 2:
                other = draw.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            case 3:
                lines.insert(place, lines[draw.randrange(len(lines))])
            case 4:
                words = lines[place].split(" ")
                words[draw.randrange(len(words))] = draw.choice(ODD_WORDS)
                lines[place] = " ".join(words)
            case _:
                head, colon, tail = lines[place].partition(":")
                lines[place] = head + colon + draw.choice((draw.choice(ODD_WORDS), tail[::-1]))
    text = draw.choice(("\r\n", "\r\n", "\r\n", "\n")).join(lines)
    return text.encode("utf-8", "surrogateescape")


def json_of(data: bytes, draw: random.Random) -> bytes:
    """Values and names changed, left out or nested; now and then the text itself."""
    if not draw.randrange(8):
        return bytes_of(data, draw)
    value = json.loads(data)
    for _ in range(draw.randint(1, MOST_CHANGES)):
        value = _changed(value, draw)
    return json.dumps(value, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")


def _changed(value: Any, draw: random.Random) -> Any:
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(list(value))
        match draw.randrange(4):
            case 0:
                return {key: inner for key, inner in value.items() if key != name}
            case 1:
                return {**value, draw.choice(ODD_WORDS): draw.choice(ODD_VALUES)}
            case _:
                return {**value, name: _changed(value[name], draw)}
    if isinstance(value, list) and value and draw.random() < 0.7:
        place = draw.randrange(len(value))
        return [
            *value[:place],
            _changed(value[place], draw),
            *value[place : draw.choice((place + 1, len(value)))],
        ]
    return draw.choice(ODD_VALUES)


def any_of(*mutations: Mutate) -> Mutate:
    """One of these each time."""

    def mutate(data: bytes, draw: random.Random) -> bytes:
        return draw.choice(mutations)(data, draw)

    return mutate


def series(seeds: Sequence[bytes], mutate: Mutate, seed: int) -> Callable[[int], bytes]:
    """The input of each number: the first ones are the seeds themselves. The same for the same seed."""

    def at(number: int) -> bytes:
        if number < len(seeds):
            return seeds[number]
        draw = random.Random(f"{seed}/{number}")
        return mutate(draw.choice(seeds), draw)

    return at
