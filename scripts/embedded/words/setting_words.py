"""Words for colours and for backgrounds."""

from scripts.embedded.words.look_words import split

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": split(
        "red, crimson, scarlet, blood red, cherry red, ruby red, vermilion, burgundy, maroon, rot, rojo, "
        "rouge"
    ),
    "orange": split(
        "orange, tangerine, apricot, pumpkin orange, burnt orange, amber, carrot orange, naranja"
    ),
    "yellow": split(
        "yellow, lemon yellow, canary yellow, mustard, lemon, sunny yellow, gelb, amarillo, jaune"
    ),
    "green": split(
        "green, lime green, olive, lime, grass green, moss green, forest green, grün, verde, vert"
    ),
    "teal": split("teal, turquoise, cyan, aqua, aquamarine, petrol, mint, blue-green, türkis, turquesa"),
    "blue": split(
        "blue, navy, navy blue, azure, cobalt, sky blue, royal blue, ultramarine, cobalt blue, blau, "
        "azul, bleu"
    ),
    "purple": split("purple, violet, lilac, lavender, mauve, plum, indigo, royal purple, lila, morado"),
    "pink": split("pink, magenta, fuchsia, hot pink, rose, salmon pink, bubblegum pink, baby pink, rosa"),
    "white": split(
        "white, ivory, off-white, pure white, cream, milky white, bright white, weiß, blanco, blanc"
    ),
    "black": split("black, jet black, pitch black, deep black, coal black, schwarz, negro, noir"),
    "brown": split("brown, tan, beige, chestnut, umber, khaki, hazel, braun, marrón"),
    "grey": split("grey, gray, slate grey, ash grey, gunmetal grey, grau, gris"),
}

# The background as a clause that follows on, and as a part of its own between commas.
BACKGROUND_CLAUSES: dict[str, tuple[str, ...]] = {
    "black": split(
        "against a black background, on black, on a black background, in the dark, "
        "before a black backdrop, in front of a black wall, with a black background, at night, "
        "in darkness, in a dark room, against black, in outer space, with darkness behind, in the void, "
        "over black"
    ),
    "white": split(
        "on white, on a white background, against a white background, with a white background, "
        "in front of a white wall, before a white backdrop, in a white studio, against white, "
        "in a white void, in a white room, over white, with white behind"
    ),
    "sky": split(
        "under a blue sky, in the sky, against a blue sky, with clouds behind, in the clouds, "
        "under the open sky, before a cloudy sky, above the clouds, under a bright sky, "
        "with the sky behind, with a blue sky, flying in the sky, on a sunny day"
    ),
    "bricks": split(
        "in front of a brick wall, against a brick wall, with a brick wall behind, before a brick wall, "
        "with a brick background, by a wall of bricks, in front of bricks, leaning on a brick wall, "
        "with bricks in the background, next to a brick wall, in a brick alley, on a brick background"
    ),
    "meadow": split(
        "in a meadow, on a meadow, in the grass, standing in a green field, in a field of flowers, "
        "on a lawn, in a garden, on green hills, in the park, in nature, in a grassy field, "
        "in the countryside, outdoors on the grass, with a meadow behind"
    ),
    "curtain": split(
        "before a red curtain, in front of a red curtain, on a stage, on stage, "
        "with a red curtain behind, in a theatre, in a theater, before velvet drapes, "
        "in front of curtains, against a curtain, at the opera, with theatre curtains, "
        "on a theatre stage, in the red room"
    ),
    "grid": split(
        "with a neon grid behind, on a neon grid, over a glowing grid, before a synthwave grid, "
        "with a grid behind, in cyberspace, on a grid, inside the computer grid, with grid lines behind, "
        "in front of a grid, on a retro grid, with a laser grid behind, on a digital grid"
    ),
    "sunset": split(
        "at sunset, in front of a sunset, at dusk, with a sunset behind, against the setting sun, "
        "at sunrise, at dawn, under an orange sky, in the evening sun, before a sunset sky, "
        "on a beach at sunset, in the sunset, with the sun setting behind, in evening light"
    ),
}
BACKGROUND_TAGS: dict[str, tuple[str, ...]] = {
    "black": split("black background, dark background, black backdrop, background black, night"),
    "white": split(
        "white background, white backdrop, background white, white studio background, plain white wall"
    ),
    "sky": split(
        "blue sky, sky background, clouds in the background, cloudy sky, sky backdrop, background sky"
    ),
    "bricks": split(
        "brick wall background, brick background, brick wall behind, background of bricks, brick wall"
    ),
    "meadow": split("meadow, meadow background, green grass, grass background, flower meadow, green field"),
    "curtain": split(
        "red curtain, curtain background, theatre curtain, stage curtain, red drapes, background curtain"
    ),
    "grid": split(
        "neon grid background, grid background, synthwave grid, glowing grid, grid, tron grid background"
    ),
    "sunset": split(
        "sunset, sunset background, evening sky, sunset sky, dusk, sunrise background, background sunset"
    ),
}
