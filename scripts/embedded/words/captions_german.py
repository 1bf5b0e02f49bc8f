"""Captions in German: whole phrases, with words for every look, colour and background.

    text = german_caption(Paint("wool", "blue"), random.Random(0))    # "eine Figur aus blauer Wolle"

For training alone; `captions` has the English ones, with single words of several languages among them.
"""

import random

from scripts.embedded.scenes.looks import Paint

# For each look: what something is made of, then what it is like, as words that follow on "ist" and "wie".
_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gold": (("gold", "purem gold", "messing", "goldbarren"), ("golden", "vergoldet", "goldig")),
    "silver": (
        ("silber", "metall", "stahl", "chrom", "eisen", "aluminium", "edelstahl"),
        ("silbern", "metallisch", "verchromt", "versilbert", "ein roboter aus metall"),
    ),
    "jade": (("jade", "smaragd", "grüner jade"), ("jadegrün", "smaragdgrün", "ein drache aus jade")),
    "ice": (
        ("eis", "schnee", "frost", "gletschereis"),
        ("eisig", "gefroren", "vereist", "verschneit", "winter"),
    ),
    "lava": (
        ("lava", "magma", "feuer", "flammen", "glut"),
        ("brennend", "feurig", "glühend", "ein vulkan", "die hölle"),
    ),
    "porcelain": (
        ("porzellan", "keramik", "meissner porzellan"),
        ("porzellan", "eine ming-vase", "eine teetasse"),
    ),
    "wood": (
        ("holz", "eiche", "eichenholz", "kiefer", "geschnitztem holz"),
        ("hölzern", "geschnitzt", "holzig", "pinocchio", "ein baumstamm"),
    ),
    "chocolate": (
        ("schokolade", "vollmilchschokolade", "zartbitterschokolade", "kakao", "nougat"),
        ("schokoladig", "ein schokoladenhase", "mit schokolade überzogen"),
    ),
    "zebra": (
        ("zebrafell", "zebrastreifen"),
        ("ein zebra", "schwarz-weiß gestreift", "zebra", "zebragestreift"),
    ),
    "tiger": (("tigerfell", "tigerstreifen"), ("ein tiger", "getigert", "tiger", "wie ein tiger gestreift")),
    "leopard": (("leopardenfell", "gepardenfell"), ("ein leopard", "ein gepard", "gefleckt", "leopard")),
    "blueprint": (
        ("blaupausenlinien", "weißen linien auf blau"),
        (
            "eine blaupause",
            "ein bauplan",
            "eine technische zeichnung",
            "ein grundriss",
            "technisch gezeichnet",
        ),
    ),
    "thermal": (
        ("wärme", "infrarotlicht"),
        ("ein wärmebild", "eine wärmebildkamera", "infrarot", "thermisch", "eine wärmekarte"),
    ),
    "xray": (("knochen", "röntgenstrahlen"), ("ein röntgenbild", "geröntgt", "ein skelett", "röntgen")),
    "hologram": (
        ("hologrammlicht", "projiziertem licht"),
        ("ein hologramm", "holografisch", "virtuell", "geisterhaft", "durchsichtig", "ein geist"),
    ),
    "map": (
        ("höhenlinien", "landkarten"),
        ("eine landkarte", "eine topografische karte", "ein atlas", "kartografisch"),
    ),
    "sketch": (
        ("bleistift", "bleistiftstrichen", "kohle", "tinte"),
        (
            "eine skizze",
            "eine bleistiftzeichnung",
            "skizziert",
            "gezeichnet",
            "schraffiert",
            "eine zeichnung",
        ),
    ),
    "engraving": (
        ("geldscheinen", "geld", "gravierten linien"),
        ("ein kupferstich", "eine gravur", "graviert", "ein geldschein", "eine banknote", "eine radierung"),
    ),
    "comic": (
        ("comicpunkten", "rasterpunkten"),
        ("ein comic", "ein zeichentrickfilm", "pop-art", "ein superheld"),
    ),
    "lego": (
        ("lego", "legosteinen", "klemmbausteinen", "bausteinen"),
        ("eine legofigur", "lego", "ein legomännchen"),
    ),
    "pixel": (
        ("pixeln", "großen pixeln", "klötzchen"),
        ("verpixelt", "pixelig", "ein altes videospiel", "ein computerspiel", "pixelkunst"),
    ),
    "mosaic": (
        ("mosaik", "mosaiksteinen", "fliesen", "kacheln", "buntglas"),
        ("ein mosaik", "ein kirchenfenster", "gefliest", "ein römisches mosaik"),
    ),
    "brick": (
        ("ziegeln", "ziegelsteinen", "backstein", "mauerwerk"),
        ("gemauert", "eine mauer", "aus stein gemauert"),
    ),
    "paper": (
        ("papier", "pappe", "karton", "gefaltetem papier", "buntpapier"),
        ("ein scherenschnitt", "gefaltet", "papieren", "ein origami", "eine papierfigur"),
    ),
    "rainbow": (
        ("regenbogenfarben", "allen farben"),
        ("ein regenbogen", "bunt", "kunterbunt", "mehrfarbig", "farbenfroh"),
    ),
    "crystal": (
        ("kristall", "diamant", "diamanten", "edelsteinen", "glas", "quarz"),
        ("kristallen", "gläsern", "ein edelstein", "ein diamant", "ein kristall"),
    ),
    "clay": (
        ("ton", "knete", "lehm", "knetmasse"),
        ("geknetet", "getöpfert", "eine tonfigur", "eine knetfigur"),
    ),
    "plastic": (
        ("plastik", "kunststoff", "gummi", "vinyl", "latex"),
        ("eine plastikfigur", "aufblasbar", "ein luftballon", "eine puppe aus plastik", "glänzend lackiert"),
    ),
    "wool": (
        ("wolle", "strick", "garn", "filz", "plüsch"),
        ("gestrickt", "gehäkelt", "wollig", "flauschig", "ein pullover", "ein teddybär", "gefilzt"),
    ),
    "neon": (
        ("neon", "neonlicht", "neonröhren", "leuchtlinien", "lasern"),
        ("leuchtend", "neonfarben", "eine leuchtreklame", "glühende umrisse", "ein neonschild"),
    ),
}

_COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("rot", "knallrot", "dunkelrot", "weinrot"),
    "orange": ("orange", "orangefarben"),
    "yellow": ("gelb", "zitronengelb", "hellgelb"),
    "green": ("grün", "hellgrün", "dunkelgrün", "grasgrün"),
    "teal": ("türkis", "blaugrün", "petrol"),
    "blue": ("blau", "hellblau", "dunkelblau", "himmelblau"),
    "purple": ("lila", "violett", "purpur"),
    "pink": ("rosa", "pink", "magenta"),
    "white": ("weiß", "schneeweiß", "cremeweiß"),
    "black": ("schwarz", "tiefschwarz", "pechschwarz"),
    "brown": ("braun", "hellbraun", "beige"),
    "grey": ("grau", "hellgrau", "dunkelgrau"),
}
_UNBENT = ("orange", "lila", "rosa", "pink", "türkis", "petrol", "beige", "magenta", "purpur")

_BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "black": (
        "vor schwarzem hintergrund",
        "im dunkeln",
        "bei nacht",
        "schwarzer hintergrund",
        "in der nacht",
    ),
    "white": ("vor weißem hintergrund", "weißer hintergrund", "vor einer weißen wand", "auf weiß"),
    "sky": ("unter blauem himmel", "vor blauem himmel", "im himmel", "mit wolken dahinter", "blauer himmel"),
    "bricks": ("vor einer ziegelmauer", "vor einer backsteinwand", "vor einer mauer", "mauer im hintergrund"),
    "meadow": ("auf einer wiese", "im gras", "im garten", "in der natur", "grüne wiese"),
    "curtain": ("vor einem roten vorhang", "auf der bühne", "im theater", "roter vorhang"),
    "grid": ("vor einem neongitter", "vor einem gitter", "gitter im hintergrund", "im cyberspace"),
    "sunset": ("bei sonnenuntergang", "vor einem sonnenuntergang", "in der abendsonne", "sonnenuntergang"),
}

_SUBJECTS = (
    "eine statue",
    "eine figur",
    "ein mensch",
    "ein mann",
    "eine frau",
    "ein gesicht",
    "ein kopf",
    "eine person",
    "eine katze",
    "ein kind",
    "ein portrait",
    "alles",
    "ich",
    "mein gesicht",
    "eine puppe",
    "wir",
    "ein roboter",
)
_OF_STUFF = (
    "@",
    "aus @",
    "# aus @",
    "# aus @",
    "# aus @",
    "mach mich aus @",
    "ganz aus @",
    "alles aus @",
    "@ stil",
)
_LIKE = ("@", "@", "@", "# wie @", "wie @", "im stil @", "mach mich @", "mach alles @", "# als @", "@, bitte")


def german_caption(paint: Paint, rng: random.Random) -> str:
    """One way to ask for `paint` in German, in lower case. Raises KeyError for names that do not exist."""
    stuff, like = _WORDS[paint.look]
    is_stuff = rng.random() < 0.55
    words = rng.choice(stuff if is_stuff else like)
    if paint.colour is not None:
        words = f"{_colour(paint.colour, rng, is_bent=is_stuff)} {words}"
    text = (
        rng.choice(_OF_STUFF if is_stuff else _LIKE).replace("#", rng.choice(_SUBJECTS)).replace("@", words)
    )
    if paint.background is not None:
        where = rng.choice(_BACKGROUNDS[paint.background])
        text = f"{where}, {text}" if rng.random() < 0.2 else f"{text}{rng.choice((' ', ', '))}{where}"
    return text


def _colour(colour: str, rng: random.Random, *, is_bent: bool) -> str:
    """A word for the colour; before a noun as nearly everybody bends it, in whatever case."""
    word = rng.choice(_COLOURS[colour])
    return word if word in _UNBENT or not is_bent else word + rng.choice(("", "e", "er", "em", "es", "en"))
