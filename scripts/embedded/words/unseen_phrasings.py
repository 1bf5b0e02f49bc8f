"""Phrasings for the trials: known words in sentences, orders and fillers that no template of training makes.

Never to be trained on.
"""

from scripts.embedded.scenes.looks import Paint


def _held_out(look: str, *texts: str) -> list[tuple[str, Paint]]:
    return [(text, Paint(look)) for text in texts]


HELD_OUT: list[tuple[str, Paint]] = [
    *_held_out(
        "gold",
        "I want to look like I am cast in gold",
        "could everybody here be gilded for once",
        "king midas has just touched me",
    ),
    *_held_out(
        "silver",
        "I would love to be forged from polished metal",
        "let me shine as if I were chrome",
        "silver is what my face should be",
    ),
    *_held_out(
        "jade",
        "pretend that I was cut from jade",
        "I wish to be an emerald idol",
        "somebody carved me from jade long ago",
    ),
    *_held_out(
        "ice",
        "suppose it is so cold that I am frozen",
        "let me be a block of ice",
        "my room as if frost had come over it",
    ),
    *_held_out(
        "lava",
        "what if my skin were flowing lava",
        "let flames burn all over me",
        "I am a volcano that wakes up",
    ),
    *_held_out(
        "porcelain",
        "show us as fragile porcelain",
        "I feel like a ming vase today",
        "could I become a porcelain doll",
    ),
    *_held_out(
        "wood",
        "somebody whittled me out of wood",
        "I want to be wooden like pinocchio",
        "may I be carved by a carpenter from oak",
    ),
    *_held_out(
        "chocolate",
        "dip me into chocolate",
        "I could be eaten, because I am dark chocolate",
        "let us all become chocolate",
    ),
    *_held_out(
        "zebra",
        "give my skin the stripes of a zebra",
        "I dress up as a zebra",
        "zebra stripes all over my body",
    ),
    *_held_out(
        "tiger",
        "give my skin the stripes of a tiger",
        "I dress up as a tiger",
        "tiger stripes all over my body",
    ),
    *_held_out(
        "leopard",
        "give my skin the spots of a leopard",
        "I dress up as a leopard",
        "leopard spots all over my body",
    ),
    *_held_out(
        "blueprint",
        "draw me as an architect would on a blueprint",
        "let this be a technical drawing of me",
        "I am only a schematic on drafting paper of the blueprint kind",
    ),
    *_held_out(
        "thermal",
        "show me how a thermal camera sees me",
        "what would the predator see with thermal vision",
        "I want my heat signature on the screen",
    ),
    *_held_out(
        "xray",
        "show my bones as an x-ray does",
        "let the doctor see my skeleton",
        "I step behind an x-ray machine",
    ),
    *_held_out(
        "hologram",
        "beam me here as a hologram",
        "I send a message as a holographic projection like princess leia",
        "let me flicker like a hologram from the future",
    ),
    *_held_out(
        "map",
        "draw contour lines on me as on a topographic map",
        "let my face become a topographic map",
        "I should look like terrain in an atlas",
    ),
    *_held_out(
        "sketch",
        "draw me with a pencil",
        "an artist would sketch me with charcoal like so",
        "let me be a pencil drawing by hand",
    ),
    *_held_out(
        "engraving",
        "print me on a dollar bill",
        "I belong on a banknote",
        "show us as an old engraving in copperplate",
    ),
    *_held_out(
        "comic",
        "put me into a comic book",
        "roy lichtenstein would have shown me so",
        "I want to be a cartoon hero of pop art",
    ),
    *_held_out(
        "lego",
        "rebuild me from lego",
        "what if we were all lego people",
        "can you put me together with lego bricks",
    ),
    *_held_out(
        "pixel",
        "put me in an 8-bit video game",
        "I want to be seen on a game boy",
        "let my pixels be as big as in pixel art",
    ),
    *_held_out(
        "mosaic",
        "lay me out as a roman mosaic",
        "I was put together from mosaic tiles",
        "could I be a byzantine mosaic in ravenna",
    ),
    *_held_out(
        "brick",
        "a mason built me brick by brick",
        "I want a body that is bricks only",
        "let me consist of brickwork",
    ),
    *_held_out(
        "paper",
        "cut me out from paper",
        "fold me like origami",
        "I want to be layers of paper",
    ),
    *_held_out(
        "rainbow",
        "let me have every colour the rainbow has",
        "paint all of us in rainbow colours",
        "I want to be a psychedelic rainbow",
    ),
    *_held_out(
        "crystal",
        "I want facets like a diamond",
        "grow crystals all over me",
        "could I be cut like an amethyst",
    ),
    *_held_out(
        "clay",
        "mould me from clay",
        "I could be one of the terracotta army",
        "let someone model us in plasticine",
    ),
    *_held_out(
        "plastic",
        "mould me from plastic",
        "I want a skin that is glossy vinyl",
        "could we be plastic toys now",
    ),
    *_held_out(
        "wool",
        "please make everything knitted",
        "my grandmother has knitted me from wool",
        "I would like to be a sweater",
    ),
    *_held_out(
        "neon",
        "bend neon tubes along my outline",
        "I want to glow as a neon sign does",
        "could we be in tron with neon outlines",
    ),
    ("my clay should be red", Paint("clay", "red")),
    ("model me in clay that is green", Paint("clay", "green")),
    ("knit me, and use blue wool", Paint("wool", "blue")),
    ("the wool that I am knitted from is yellow", Paint("wool", "yellow")),
    ("let pink neon glow on me", Paint("neon", "pink")),
    ("I want neon tubes, green ones", Paint("neon", "green")),
    ("could the plastic that I am made of be orange", Paint("plastic", "orange")),
    ("pour purple plastic over me", Paint("plastic", "purple")),
    ("gold, but with bricks behind me", Paint("gold", None, "bricks")),
    ("I sit before a red curtain and I am silver", Paint("silver", None, "curtain")),
    ("let me be ice while the sun sets behind me, a sunset", Paint("ice", None, "sunset")),
    ("lego, but I stand in a meadow with grass", Paint("lego", None, "meadow")),
    ("wooden me, and the blue sky over me", Paint("wood", None, "sky")),
    ("crystal, but keep the background black", Paint("crystal", None, "black")),
    ("I want a white background and be made of chocolate", Paint("chocolate", None, "white")),
    ("behind me a neon grid, I am gold", Paint("gold", None, "grid")),
    ("blue wool for me, a brick wall for the back", Paint("wool", "blue", "bricks")),
    ("red plastic is what I am, the background stays white", Paint("plastic", "red", "white")),
]
