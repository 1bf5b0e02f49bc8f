"""Captions that people might type, with the paint each of them asks for.

A caption names a look ("a golden statue"), for some looks a colour ("knitted from blue wool"), and sometimes
a background ("before a red curtain"); around them stand words that mean nothing. Words outside the looks go
to the nearest one (`NEAREST`), and a caption without any known word to `DEFAULT`, so that no text asks for a
mixture.

    text, paint = training_caption(random.Random(0))
"""

import random
import re
from typing import NamedTuple

from scripts.embedded.captions_german import german_caption
from scripts.embedded.looks import BACKGROUNDS, COLOURED, COLOURS, LOOKS, Paint

DEFAULT = Paint("clay", "white")  # for the empty prompt and for prompts without a known word


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


class Phrases(NamedTuple):
    """Words for one look. The first of `materials`, `adjectives` or `styles` is its main word."""

    materials: tuple[str, ...]  # "a statue made of ..."
    adjectives: tuple[str, ...]  # "a ... statue"
    styles: tuple[str, ...]  # "in the style of ..."
    uncoloured: tuple[str, ...] = ()  # styles that name a colour themselves, so no other word may


def _split(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())


def _phrases(materials: str, adjectives: str, styles: str, uncoloured: str = "") -> Phrases:
    return Phrases(_split(materials), _split(adjectives), _split(styles), _split(uncoloured))


# No strong word stands under two looks: tests name the few that do, all of them decided by their neighbour.
PHRASES: dict[str, Phrases] = {
    "gold": _phrases(
        "gold, solid gold, molten gold, pure gold, polished gold, liquid gold, gold leaf, gold foil, "
        "24 karat gold, 18k gold, brass, bullion, gold bars, shiny gold",
        "golden, gilded, gilt, gold-plated, gold-coated, shiny golden, goldene, vergoldet",
        "el dorado, king midas, midas touch, the oscars, 24 karat, gold ingot, fort knox, c-3po, "
        "goldfinger, golden idol, gold rush, golden treasure, tutankhamun, pharaoh mask, oro, en or, "
        "ouro, dorado, dorato",
    ),
    "silver": _phrases(
        "silver, sterling silver, polished silver, chrome, steel, stainless steel, metal, liquid metal, "
        "shiny metal, polished metal, mercury, aluminium, aluminum, titanium, platinum, iron, pewter, "
        "brushed steel",
        "silvery, metallic, chrome-plated, silver-plated, metal, chrome, mirrored, silbern",
        "t-1000, terminator, quicksilver, silver surfer, mirror finish, suit of armour, suit of armor, "
        "silverware, chromium, cyborg, android, silber, argent, plata, argento, prata, metall, acero",
    ),
    "jade": _phrases(
        "jade, green jade, emerald, nephrite, jadeite, malachite, carved jade, imperial jade, "
        "polished jade, translucent green jade, emeralds, chinese jade",
        "jade-green, emerald, emerald green, jade, jade-carved",
        "chinese jade carving, jade dragon, mayan mask, jade emperor, jade figurine, peridot, "
        "emerald city, olmec mask, serpentine, smaragd, esmeralda, giada, smeraldo, jaspe",
    ),
    "ice": _phrases(
        "ice, frost, snow, clear ice, blue ice, glacier ice, icicles, frozen water, solid ice, "
        "melting ice, snow and ice",
        "icy, frozen, frosty, glacial, snowy, ice-cold, arctic, frostbitten, freezing, frosted, wintry",
        "snow queen, ice sculpture, glacier, winter wonderland, iceberg, elsa, ice queen, antarctica, "
        "snowman, white walker, winter, blizzard, ice age, north pole, permafrost, frozen solid, eis, "
        "hielo, glace, ghiaccio, gelo, gefroren, congelado, schnee, nieve",
    ),
    "lava": _phrases(
        "lava, magma, molten lava, molten magma, fire, flames, embers, burning coal, flowing lava, "
        "hot lava, cooling lava, cracked lava, fire and lava",
        "burning, volcanic, fiery, blazing, flaming, red-hot, scorching, molten, burnt",
        "volcano, volcanic eruption, hell, inferno, balrog, demon, human torch, on fire, vesuvius, "
        "mordor, hellfire, etna, fireball, devil, phoenix, feuer, fuego, fuoco, fogo, feu, flammen, "
        "vulkan",
    ),
    "porcelain": _phrases(
        "porcelain, china, bone china, fine china, ceramic, glazed ceramic, blue and white porcelain, "
        "delft, delftware, fine porcelain, chinese porcelain",
        "porcelain, glazed, ceramic, ming dynasty",
        "ming vase, delft blue, chinese vase, porcelain doll, meissen, willow pattern, tea set, teapot, "
        "tea cup, porcelain vase, porcelain figurine, dinner plate, wedgwood, royal copenhagen, "
        "porzellan, porcelana, porcelaine, porcellana, keramik",
    ),
    "wood": _phrases(
        "wood, oak, walnut, mahogany, pine, timber, teak, carved wood, bamboo, driftwood, plywood, "
        "ebony, birch, cedar, polished wood, old wood, oak wood, planks",
        "wooden, oaken, wood-carved, timbered, wooden carved, wood-grained",
        "pinocchio, tree bark, wood carving, totem pole, tree trunk, wood grain, nutcracker, groot, "
        "lumber, carpenter, marionette, wooden puppet, holz, madera, bois, legno, madeira, aus holz",
    ),
    "chocolate": _phrases(
        "chocolate, milk chocolate, dark chocolate, melted chocolate, cocoa, fudge, caramel, praline, "
        "ganache, nutella, nougat, chocolate truffle, swiss chocolate, belgian chocolate, choc",
        "chocolate, chocolatey, chocolate-covered, chocolate-coated, chocolaty, cocoa-dusted",
        "chocolate bar, chocolate easter bunny, willy wonka, chocolate fountain, brownie, hot cocoa, "
        "chocolate mousse, toblerone, kitkat, cadbury, chocolatier, schokolade, schoko, cioccolato, "
        "chocolat, aus schokolade",
    ),
    "zebra": _phrases(
        "zebra, zebra skin, zebra fur, zebra stripes, zebra print, black and white stripes, zebra hide",
        "zebra-striped, zebra, zebra-patterned, zebra print, black and white striped",
        "zebra pattern, zebra crossing, stripes like a zebra, barcode, referee shirt, op art, "
        "bridget riley, plains zebra, optical illusion, black white stripes, baby zebra, zebras, cebra, "
        "zebramuster, zebrafell, zebrastreifen",
    ),
    "tiger": _phrases(
        "tiger, tiger skin, tiger fur, tiger stripes, tiger print, orange and black stripes, "
        "bengal tiger fur",
        "tiger-striped, tiger, tiger-patterned, tiger print, orange and black striped",
        "tiger pattern, bengal tiger, siberian tiger, tigress, shere khan, tony the tiger, tigger, "
        "sabre-tooth tiger, eye of the tiger, stripes like a tiger, sumatran tiger, tigers, tiger cub, "
        "tigre, tigerfell, tigermuster",
    ),
    "leopard": _phrases(
        "leopard, leopard skin, leopard fur, leopard print, leopard spots, cheetah fur, cheetah print, "
        "jaguar skin, ocelot fur, leopardskin",
        "leopard-spotted, leopard, leopard-patterned, spotted, cheetah-print, leopard-print, cheetah",
        "leopard pattern, cheetah, jaguar, leopard coat, spots like a leopard, cheetah spots, rosettes, "
        "leopards, lynx, dalmatian, leopardo, gepard, leopardenmuster, leopardenfell",
    ),
    "blueprint": _phrases(
        "blueprint lines, blueprints, white lines on blue, wireframe, cad lines",
        "blueprint, architectural, technical, cad, schematic, engineering, cyanotype, wireframe",
        "blueprint, technical drawing, architectural plan, cyanotype, engineering drawing, cad drawing, "
        "schematic, floor plan, construction plan, patent drawing, wiring diagram, architect drawing, "
        "technical schematic, engineering plan, diagram, drafting table, wireframe model, blaupause, "
        "bauplan, cianotipo",
    ),
    "thermal": _phrases(
        "body heat, infrared light, heat, infrared radiation",
        "thermal, infrared, thermographic, heat-sensing, heat vision, thermal vision",
        "thermal camera, infrared heat map, heat map, predator vision, thermal imaging, thermal vision, "
        "infrared camera, thermography, heat signature, flir, thermal scan, heat vision, false colour, "
        "temperature, thermometer, infrared vision, heatmap, thermal image, predator, wärmebild, "
        "wärmebildkamera, infrarot, infrarrojo, cámara térmica",
    ),
    "xray": _phrases(
        "x-rays, bones, see-through bones, a skeleton",
        "x-ray, xray, x-rayed, skeletal, radiographic, x ray",
        "x-ray, xray, radiograph, radiography, x-ray scan, skeleton, x-ray image, medical scan, ct scan, "
        "mri, x-ray vision, hospital x-ray, chest x-ray, airport scanner, radiology, x ray photograph, "
        "doctor x-ray, röntgen, röntgenbild, radiografía, rayos x, rayons x, raggi x",
    ),
    "hologram": _phrases(
        "hologram light, a hologram, holograms, projected light, cyan scan lines",
        "holographic, ghostly, virtual, futuristic, sci-fi, transparent, holo, digital",
        "hologram, sci-fi hologram, holographic projection, projection, star wars hologram, "
        "princess leia, scan lines, hud, jarvis, futuristic display, ghost, holodeck, virtual reality, "
        "digital ghost, 3d projection, obi-wan, transmission, holograma, hologramm, hologramme, "
        "ologramma, spirit",
    ),
    "map": _phrases(
        "contour lines, terrain, map lines, maps, elevation lines, mountain terrain",
        "topographic, topographical, cartographic, map-like, contoured, geographic",
        "map, topographic map, contour lines, terrain map, topography, atlas, elevation map, "
        "cartography, relief map, hiking map, world map, satellite map, ordnance survey, geography, "
        "old map, google maps, height map, landkarte, landscape map, mapa, carte topographique, mappa, "
        "mapa topográfico, höhenlinien",
    ),
    "sketch": _phrases(
        "pencil lines, graphite, charcoal, pencil, pencil strokes, ink, pen and ink, scribbles",
        "sketched, hand-drawn, cross-hatched, pencilled, hatched, scribbled, pencil-drawn, drawn",
        "sketch, pencil drawing, pencil sketch, cross-hatching, charcoal drawing, line art, doodle, "
        "scribble, sketchbook, rough sketch, ink drawing, ballpoint pen, drawing, notebook doodle, "
        "hand drawing, leonardo da vinci, life drawing, bleistift, zeichnung, skizze, boceto, dibujo, "
        "croquis, dessin, schizzo",
    ),
    "engraving": _phrases(
        "engraved lines, banknotes, money, dollar bills, cash, etched lines",
        "engraved, etched, banknote, victorian",
        "engraving, etching, banknote, dollar bill, dollar bill portrait, banknote portrait, "
        "copperplate, guilloche, intaglio, currency, lithograph, linocut, woodcut, us dollar, bank note, "
        "vintage engraving, antique etching, albrecht dürer, george washington, one hundred dollars, "
        "gravur, kupferstich, grabado, gravure, geldschein, dinero",
    ),
    "comic": _phrases(
        "ben-day dots, halftone dots, comic panels, halftone",
        "comic, cartoon, cartoonish, cel-shaded, comic book, pop art, anime, manga, animated",
        "comic, comic book, pop art, roy lichtenstein, lichtenstein, cartoon, anime, manga, "
        "graphic novel, superhero, marvel, dc comics, andy warhol, speech bubble, comic strip, superman, "
        "batman, spiderman, simpsons, disney, pixar, studio ghibli, naruto, fumetti, bande dessinée, "
        "cómic, zeichentrick, comics",
    ),
    "lego": _phrases(
        "lego, lego bricks, lego blocks, building blocks, stacking blocks, lego pieces, duplo, legos, "
        "lego studs",
        "lego, legofied, studded, lego-built, lego-style",
        "lego, lego minifigure, minifig, lego movie, legoland, lego figure, lego set, lego technic, "
        "lego man, bionicle, megabloks, lego city, lego toy, lego star, minifigures, legosteine, "
        "klemmbausteine, bausteine, bloques de lego",
    ),
    "pixel": _phrases(
        "pixels, big pixels, voxels, square pixels, chunky pixels",
        "pixelated, 8-bit, 8 bit, 16-bit, pixelised, pixelized, blocky, low-res, pixel",
        "pixel art, 8-bit, game boy, gameboy, retro video game, video game, nintendo, super mario, "
        "arcade, minecraft, sprite, low resolution, atari, commodore 64, voxel, sega, pac-man, tetris, "
        "pokemon, old video game, nes game, zelda, retro game, verpixelt, pixelado, videojuego, "
        "videospiel, jeu vidéo",
    ),
    "mosaic": _phrases(
        "mosaic tiles, tiles, small tiles, tesserae, mosaic, mosaic pieces, stained glass, bathroom tiles",
        "mosaic, tiled, byzantine, tessellated, stained glass",
        "mosaic, byzantine mosaic, roman mosaic, stained glass window, pompeii, gaudi, ravenna, "
        "roman floor, cathedral window, church window, byzantine icon, swimming pool tiles, klimt, "
        "mosaik, mosaico, mosaïque, fliesen, azulejos, kacheln",
    ),
    "brick": _phrases(
        "brick, bricks, red brick, red bricks, brickwork, brick and mortar, masonry, stacked bricks, "
        "old bricks, baked bricks, clinker",
        "brick, brick-built, red-brick, bricked, brick-textured",
        "brickwork, brick texture, brick pattern, brick house, masonry, bricklayer, chimney, "
        "brick factory, brick tower, another brick in the wall, bricked up, ziegel, ziegelstein, "
        "backstein, ladrillo, ladrillos, brique, mattoni, tijolo",
    ),
    "paper": _phrases(
        "paper, folded paper, layered paper, cut paper, cardboard, paper layers, cardstock, "
        "coloured paper, crepe paper, origami paper, paper cutouts, papier-mache, paper mache",
        "paper, papery, folded, origami, paper-cut, cardboard, layered paper",
        "paper cut, papercraft, origami, paper cutout, paper art, kirigami, paper sculpture, "
        "paper collage, cut-out, origami layers, pop-up book, decoupage, quilling, collage, papier, "
        "papel, scherenschnitt, papierschnitt, pappe",
    ),
    "rainbow": _phrases(
        "rainbow, rainbow colours, rainbow colors, all colours, all colors, rainbows, vibrant colours, "
        "many colours",
        "rainbow, rainbow-coloured, multicoloured, multicolored, colourful, colorful, psychedelic, "
        "iridescent, prismatic, multicolour",
        "rainbow, tie-dye, lsd, acid trip, kaleidoscope, unicorn, spectrum, gay pride, pride flag, "
        "hippie, technicolor, colour gradient, every colour of the rainbow, woodstock, skittles, "
        "regenbogen, arcoíris, arc-en-ciel, arcobaleno, bunt",
    ),
    "crystal": _phrases(
        "crystal, crystals, amethyst, diamond, diamonds, quartz, glass, gemstone, gemstones, cut glass, "
        "facets, clear crystal, polygons, triangles, amethyst crystals, gems",
        "crystalline, faceted, low-poly, low poly, polygonal, crystal, glassy, diamond, bejewelled",
        "low-poly gem, amethyst, diamond facets, faceted gem, geode, swarovski, low poly, jewel, "
        "brilliant cut diamond, polygon art, geometric, crystal cave, kristall, cristal, cristallo, "
        "edelstein, diamant, diamante, verre, vidrio",
    ),
    "clay": _phrases(
        "clay, plasticine, modelling clay, modeling clay, polymer clay, wet clay, sculpted clay, "
        "fired clay, play-doh, pottery clay, play dough, soft clay",
        "clay, claymation, clay-sculpted, plasticine, clay-like, hand-moulded",
        "claymation, plasticine, wallace and gromit, aardman, pottery, stop motion, clay animation, "
        "clay figurine, clay model, ceramics class clay, lehm, knete, arcilla, argile, barro, argilla, "
        "plastilina, aus ton",
        "terracotta, terracotta army, earthenware, adobe, terra cotta, terracotta warrior, flower pot, "
        "tonfigur, terracota",
    ),
    "plastic": _phrases(
        "plastic, shiny plastic, glossy plastic, vinyl, rubber, latex, pvc, acrylic, silicone, resin, "
        "smooth plastic, hard plastic, gummy, bakelite, injection-moulded plastic",
        "plastic, rubbery, glossy, vinyl, inflatable, lacquered, rubber, latex",
        "plastic toy, action figure, mannequin, balloon, barbie, rubber duck, playmobil, tupperware, "
        "funko, plastic figurine, crash test dummy, plastic bag, jelly, plastik, plástico, kunststoff, "
        "plastique, gummi, plastica",
    ),
    "wool": _phrases(
        "wool, yarn, knitted wool, felt, cashmere, fleece, mohair, angora, merino wool, crochet, "
        "knitwear, soft wool, knitting yarn, thread, plush",
        "knitted, woollen, woolly, woolen, crocheted, felted, hand-knitted, knit, crochet, fuzzy, fluffy",
        "sweater, wool sweater, knitting, amigurumi, jumper, cable knit, crochet doll, "
        "christmas sweater, pullover, knitted doll, sheep, embroidery, teddy bear, muppet, wolle, lana, "
        "laine, gestrickt, tejido, tricot, gehäkelt",
    ),
    "neon": _phrases(
        "neon, neon light, neon lights, neon tubes, glowing lines, glowing neon, neon signs, lasers, "
        "led lights, neon outlines, glow sticks, fluorescent tubes",
        "neon, glowing, fluorescent, luminous, neon-lit, cyberpunk, electric, glowing neon",
        "neon sign, glowing outline, tron, cyberpunk, synthwave, blade runner, las vegas, outrun, "
        "retrowave, vaporwave, laser show, blacklight, night club, neon outline, disco, rave party, "
        "neonlicht, luz de neón, neón, leuchtend, leuchtreklame",
    ),
}

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": _split(
        "red, crimson, scarlet, blood red, cherry red, ruby red, vermilion, burgundy, maroon, rot, rojo, "
        "rouge"
    ),
    "orange": _split(
        "orange, tangerine, apricot, pumpkin orange, burnt orange, amber, carrot orange, naranja"
    ),
    "yellow": _split(
        "yellow, lemon yellow, canary yellow, mustard, lemon, sunny yellow, gelb, amarillo, jaune"
    ),
    "green": _split(
        "green, lime green, olive, lime, grass green, moss green, forest green, grün, verde, vert"
    ),
    "teal": _split("teal, turquoise, cyan, aqua, aquamarine, petrol, mint, blue-green, türkis, turquesa"),
    "blue": _split(
        "blue, navy, navy blue, azure, cobalt, sky blue, royal blue, ultramarine, cobalt blue, blau, "
        "azul, bleu"
    ),
    "purple": _split("purple, violet, lilac, lavender, mauve, plum, indigo, royal purple, lila, morado"),
    "pink": _split("pink, magenta, fuchsia, hot pink, rose, salmon pink, bubblegum pink, baby pink, rosa"),
    "white": _split(
        "white, ivory, off-white, pure white, cream, milky white, bright white, weiß, blanco, blanc"
    ),
    "black": _split("black, jet black, pitch black, deep black, coal black, schwarz, negro, noir"),
    "brown": _split("brown, tan, beige, chestnut, umber, khaki, hazel, braun, marrón"),
    "grey": _split("grey, gray, slate grey, ash grey, gunmetal grey, grau, gris"),
}

# The background as a clause that follows on, and as a part of its own between commas.
BACKGROUND_CLAUSES: dict[str, tuple[str, ...]] = {
    "black": _split(
        "against a black background, on black, on a black background, in the dark, "
        "before a black backdrop, in front of a black wall, with a black background, at night, "
        "in darkness, in a dark room, against black, in outer space, with darkness behind, in the void, "
        "over black"
    ),
    "white": _split(
        "on white, on a white background, against a white background, with a white background, "
        "in front of a white wall, before a white backdrop, in a white studio, against white, "
        "in a white void, in a white room, over white, with white behind"
    ),
    "sky": _split(
        "under a blue sky, in the sky, against a blue sky, with clouds behind, in the clouds, "
        "under the open sky, before a cloudy sky, above the clouds, under a bright sky, "
        "with the sky behind, with a blue sky, flying in the sky, on a sunny day"
    ),
    "bricks": _split(
        "in front of a brick wall, against a brick wall, with a brick wall behind, before a brick wall, "
        "with a brick background, by a wall of bricks, in front of bricks, leaning on a brick wall, "
        "with bricks in the background, next to a brick wall, in a brick alley, on a brick background"
    ),
    "meadow": _split(
        "in a meadow, on a meadow, in the grass, standing in a green field, in a field of flowers, "
        "on a lawn, in a garden, on green hills, in the park, in nature, in a grassy field, "
        "in the countryside, outdoors on the grass, with a meadow behind"
    ),
    "curtain": _split(
        "before a red curtain, in front of a red curtain, on a stage, on stage, "
        "with a red curtain behind, in a theatre, in a theater, before velvet drapes, "
        "in front of curtains, against a curtain, at the opera, with theatre curtains, "
        "on a theatre stage, in the red room"
    ),
    "grid": _split(
        "with a neon grid behind, on a neon grid, over a glowing grid, before a synthwave grid, "
        "with a grid behind, in cyberspace, on a grid, inside the computer grid, with grid lines behind, "
        "in front of a grid, on a retro grid, with a laser grid behind, on a digital grid"
    ),
    "sunset": _split(
        "at sunset, in front of a sunset, at dusk, with a sunset behind, against the setting sun, "
        "at sunrise, at dawn, under an orange sky, in the evening sun, before a sunset sky, "
        "on a beach at sunset, in the sunset, with the sun setting behind, in evening light"
    ),
}
BACKGROUND_TAGS: dict[str, tuple[str, ...]] = {
    "black": _split("black background, dark background, black backdrop, background black, night"),
    "white": _split(
        "white background, white backdrop, background white, white studio background, plain white wall"
    ),
    "sky": _split(
        "blue sky, sky background, clouds in the background, cloudy sky, sky backdrop, background sky"
    ),
    "bricks": _split(
        "brick wall background, brick background, brick wall behind, background of bricks, brick wall"
    ),
    "meadow": _split("meadow, meadow background, green grass, grass background, flower meadow, green field"),
    "curtain": _split(
        "red curtain, curtain background, theatre curtain, stage curtain, red drapes, background curtain"
    ),
    "grid": _split(
        "neon grid background, grid background, synthwave grid, glowing grid, grid, tron grid background"
    ),
    "sunset": _split(
        "sunset, sunset background, evening sky, sunset sky, dusk, sunrise background, background sunset"
    ),
}


def _nearest(*rows: tuple[str, Paint]) -> dict[str, Paint]:
    return {word: paint for words, paint in rows for word in _split(words)}


# Words that people type and no look is made for -> the paint that comes closest.
NEAREST: dict[str, Paint] = _nearest(
    # stone, plaster and other bodies without gloss
    (
        "marble, plaster, gypsum, alabaster, michelangelo, greek god, greek statue, roman statue, "
        "ancient greece, limestone, plaster cast, white stone, chalk, mummy, bust of caesar, "
        "venus de milo, stucco, marmor, mármol, marbre, roman empire",
        Paint("clay", "white"),
    ),
    (
        "stone, granite, concrete, cement, rock, gargoyle, stone statue, boulder, statue of stone, "
        "pebbles, stone age, stein, piedra, pierre, pietra, basalt, asphalt, dust, mount rushmore",
        Paint("clay", "grey"),
    ),
    (
        "skin, mud, soil, earth, dirt, sand, desert, cookie, bread, gingerbread, pancake, sandcastle, "
        "leather, mummified",
        Paint("clay"),
    ),
    ("cheese, butter, banana, sponge, honey, sandstone, emoji", Paint("clay", "yellow")),
    (
        "forest, jungle, moss, leaves, plants, ivy, hulk, grinch, zombie, goblin, orc, swamp, cactus, "
        "broccoli, grass, shrek, nature, vines, frog, turtle, crocodile, ninja turtle, yoda",
        Paint("clay", "green"),
    ),
    ("flowers, roses, cherry blossom, pig, flesh, flower, orchid, petals, sakura", Paint("clay", "pink")),
    (
        "obsidian, shadow, silhouette, ninja, darth vader, vampire, gothic, bat, raven, soot",
        Paint("clay", "black"),
    ),
    ("avatar, smurf, na'vi, pandora", Paint("clay", "blue")),
    ("coffee, espresso, monkey", Paint("clay", "brown")),
    ("meat, bacon, steak, blood, tomato, strawberry, mars", Paint("clay", "red")),
    # smooth and glossy bodies
    (
        "water, ocean, sea, waves, river, rain, liquid, aquarium, underwater, wasser, agua, eau, "
        "raindrops, lake",
        Paint("plastic", "blue"),
    ),
    (
        "alien, slime, martian, snake, lizard, reptile, dinosaur, green goo, pickle, kermit",
        Paint("plastic", "green"),
    ),
    (
        "candy, bubblegum, chewing gum, sweets, lollipop, cotton candy, flamingo, lipstick, kawaii, princess",
        Paint("plastic", "pink"),
    ),
    (
        "ruby, apple, ferrari, iron man, ladybug, ketchup, santa claus, cherry, garnet",
        Paint("plastic", "red"),
    ),
    (
        "oil, tar, crude oil, onyx, vinyl record, symbiote, venom, licorice, black hole, carbon fibre",
        Paint("plastic", "black"),
    ),
    (
        "milk, pearl, stormtrooper, bathtub, wax, candle, soap, ivory tusk, egg, astronaut, toothpaste, "
        "yogurt",
        Paint("plastic", "white"),
    ),
    ("sapphire, topaz, blueberry, dolphin, whale", Paint("plastic", "blue")),
    ("minion, lemonade, bumblebee, pikachu, school bus, taxi, bee", Paint("plastic", "yellow")),
    ("goldfish, traffic cone, basketball, mango, pumpkin, halloween, carrot", Paint("plastic", "orange")),
    ("grape, eggplant, thanos, wizard, magic, joker", Paint("plastic", "purple")),
    ("mermaid, fish scales", Paint("plastic", "teal")),
    ("peanut butter, beer, cola", Paint("plastic", "brown")),
    # cloth and hair
    (
        "cloud, clouds, cotton, cotton wool, smoke, fog, mist, feathers, angel, lamb, polar bear, steam, "
        "marshmallow, whipped cream, wedding dress, swan",
        Paint("wool", "white"),
    ),
    ("denim, jeans, blue jeans", Paint("wool", "blue")),
    (
        "velvet, fabric, cloth, textile, carpet, tapestry, quilt, elmo, patchwork, tweed, stitched",
        Paint("wool", "red"),
    ),
    ("silk, satin, linen", Paint("wool", "pink")),
    (
        "fur, bear, hair, hairy, gorilla, werewolf, dog, fox, chewbacca, straw, basket, burlap, wicker, "
        "rope, lion, bigfoot, hay",
        Paint("wool", "brown"),
    ),
    ("ash, elephant, mouse, koala, wolf", Paint("wool", "grey")),
    ("kilt, scottish tartan", Paint("wool", "green")),
    # light
    (
        "galaxy, nebula, universe, cosmos, stars, milky way, cosmic, interstellar, aurora, "
        "northern lights, outer space",
        Paint("neon", "purple"),
    ),
    (
        "electricity, lightning, thunder, plasma, sparks, tesla, thor, energy, blue lightning, blitz, "
        "force field",
        Paint("neon", "blue"),
    ),
    (
        "matrix, the matrix, hacker, green code, radioactive, toxic, night vision, terminal, glow worm, "
        "binary code, uranium, kryptonite, firefly, radar",
        Paint("neon", "green"),
    ),
    (
        "outline, outlines, tokyo, tokyo at night, city at night, times square, night city, 80s, 1980s, "
        "party, dj, miami vice, hong kong night, city lights, vhs",
        Paint("neon"),
    ),
    ("deadpool, red laser, sith, traffic light, stranger things, lightsaber", Paint("neon", "red")),
    ("sun, sunlight, light bulb, fireflies, halo, sunshine, lamp, god rays", Paint("neon", "yellow")),
    ("moonlight, white light, moon, starlight", Paint("neon", "white")),
    ("love, heart, hearts, valentine, pink panther", Paint("neon", "pink")),
    ("jellyfish, bioluminescent", Paint("neon", "teal")),
    # metals and minerals
    (
        "bronze, copper, treasure chest, king, crown, trophy, coin, coins, buddha, steampunk, clockwork, "
        "gears, jewellery, jewelry, rich, egypt, egyptian, pharaoh, aztec, inca, medal, champagne, "
        "luxury, kupfer, cobre",
        Paint("gold"),
    ),
    (
        "knight, medieval armour, sword, mirror, tin foil, spoon, nickel, zinc, spaceship, "
        "nuts and bolts, mechanical, mecha, transformers, robocop, machine, car, stahl, armor, lead, "
        "samurai, excalibur",
        Paint("silver"),
    ),
    ("dragon, absinthe, loki, chinese dragon", Paint("jade")),
    ("cold, snowflake, popsicle, penguin, norway, alaska, siberia, hail", Paint("ice")),
    (
        "hot, explosion, bomb, apocalypse, satan, campfire, fireplace, meteor, rust, burning man, "
        "asteroid, charmander, hades",
        Paint("lava"),
    ),
    ("vase, plate, toilet, geisha, doll, dutch", Paint("porcelain")),
    (
        "tree, trees, violin, guitar, furniture, cabin, ship, log cabin, roots, tiki, barrel, boat, puppet",
        Paint("wood"),
    ),
    ("cake, dessert, nesquik, muffin, cupcake", Paint("chocolate")),
    (
        "bubbles, bubble, bottle, prism, mineral, cubism, cubist, picasso, glas, futurism, shards, "
        "sugar, salt",
        Paint("crystal"),
    ),
    # pictures
    (
        "van gogh, vincent van gogh, oil painting, painting, starry night, impressionism, impressionist, "
        "monet, claude monet, pointillism, seurat, paint, painted, brush strokes, renaissance, fresco, "
        "baroque, canvas, gemälde, pintura, peinture, mona lisa, expressionism, the scream, munch, "
        "rembrandt, vermeer, frida kahlo, art nouveau, puzzle",
        Paint("mosaic"),
    ),
    (
        "watercolor, watercolour, abstract, pastel, graffiti, kandinsky, abstract art, street art, "
        "dream, surreal, salvador dali, trippy, carnival, parrot, peacock, clown, fairy, confetti, "
        "mardi gras, holi, balloons, modern art, fantasy, fireworks",
        Paint("rainbow"),
    ),
    (
        "illustration, caricature, south park, family guy, poster, mickey mouse, dragon ball, emoticon, "
        "sticker, sailor moon, banksy, vector art, wonder woman, hero, villain, manhwa, rick and morty, "
        "futurama, magazine, 1950s ad, ukiyo-e, hokusai",
        Paint("comic"),
    ),
    (
        "monochrome, black and white photo, film noir, black and white, noir film, grayscale, greyscale, "
        "pen, biro, handwriting, da vinci, calligraphy, chalkboard, line drawing, minimalist, "
        "minimalism, blackboard, escher",
        Paint("sketch"),
    ),
    (
        "old photo, newspaper, vintage, sepia, antique, stamp, postage stamp, euro, bible, ancient book, "
        "history book, tarot card, wanted poster, western, pirate, jules verne, passport",
        Paint("engraving"),
    ),
    ("skull, death, grim reaper, anatomy, hospital, doctor, medical, ribs, ultrasound, dead", Paint("xray")),
    (
        "ai, artificial intelligence, science fiction, future, phantom, star trek, computer, digital, "
        "technology, glitch, vr, time traveller, poltergeist, teleporter, soul",
        Paint("hologram"),
    ),
    (
        "architecture, ikea manual, geometry, math, engineer, patent, rocket plans, architect, plan",
        Paint("blueprint"),
    ),
    ("fever, temperature scan, predator movie, hot and cold, weather map", Paint("thermal")),
    (
        "landscape, mountains, mountain, hills, valley, island, globe, world, travel, hiking, geology, "
        "continents, country",
        Paint("map"),
    ),
    (
        "retro, computer game, playstation, roblox, sonic, doom, gaming, game, console, video games, "
        "mario, luigi, street fighter, fortnite, low quality",
        Paint("pixel"),
    ),
    ("toy bricks, toy blocks, construction toy, building set, ninjago, bricks toy", Paint("lego")),
    (
        "wall, house, castle, tower, london, manchester, industrial loft, city wall, fortress",
        Paint("brick"),
    ),
    (
        "letter, envelope, card, book, pages, pop-up card, paper plane, greeting card, box, carton, "
        "flat design, layers, japanese lantern",
        Paint("paper"),
    ),
    # skins
    ("striped, stripes, prison stripes, safari, africa", Paint("zebra")),
    ("big cat, wild animal, garfield", Paint("tiger")),
    ("spots, animal print, animal skin, giraffe, wild cat, cow, hyena, puma, dalmatians", Paint("leopard")),
    # places: the words name the background
    ("meadow, garden, flower field, countryside, spring", Paint("clay", "green", "meadow")),
    (
        "sunset, dusk, evening, dawn, sunrise, beach, summer, tropical, hawaii",
        Paint("clay", "orange", "sunset"),
    ),
    ("sky, heaven, flying, airplane, paradise, blue sky", Paint("clay", "white", "sky")),
    (
        "theatre, theater, stage, opera, circus, twin peaks, cinema, red carpet",
        Paint("clay", "white", "curtain"),
    ),
    ("night, darkness, dark, midnight, void", Paint("clay", "black", "black")),
    ("autumn, fall, sahara, dunes", Paint("clay", "orange")),
)

SUBJECTS = _split(
    "statue, figure, sculpture, person, man, woman, robot, cat, portrait, dancer, face, head, bust, "
    "body, child, girl, boy, character, human, guy, model, figurine, singer, actor, warrior, hand, "
    "self, selfie, scene, monument"
)
PLURALS = _split(
    "statues, figures, people, men, women, faces, robots, cats, dancers, hands, sculptures, portraits"
)
EMPTY_ADJECTIVES = _split(
    "beautiful, epic, stunning, amazing, big, small, tiny, giant, huge, cool, gorgeous, elegant, "
    "detailed, realistic, perfect, nice, handsome, cute, awesome, majestic, lovely, incredible, "
    "strange, young, old, smiling, life-size"
)
PREFIXES = _split(
    "a photo of, photo of, an image of, a picture of, picture of, render of, 3d render of, "
    "a close-up of, close-up of, portrait of, a portrait of, show me, i want, give me, please, "
    "make it, make me, a video of, cinematic shot of, a shot of, generate, imagine, a depiction of, "
    "an artwork of, it is, now, just"
)
SUFFIXES = _split(
    "4k, 8k, hd, highly detailed, cinematic, masterpiece, best quality, sharp focus, "
    "studio lighting, dramatic lighting, trending on artstation, octane render, unreal engine, "
    "ultra realistic, photorealistic, hyperrealistic, intricate, professional, award winning, "
    "high resolution, soft light, depth of field, centered, full body, close up, very detailed, "
    "high quality, realistic, beautiful, epic, raw photo, 3d, uhd, stylish, art, please, "
    "volumetric light, concept art, looking at the camera, smooth, sharp, bokeh, fine details"
)
SHADES = _split("dark, light, bright, pale, deep, vivid, shiny")

# @ a look's words, # "a statue", ~ "statue", ^ an article and perhaps an adjective without meaning.
_MATERIAL = _split(
    "@, @, @, @, # made of @, # made of @, # of @, # made from @, # carved from @, # in @, "
    "made of @, turn me into @, @ ~, ^ @ ~, everything made of @, # sculpted in @, # covered in @, "
    "all @, # out of @, # built from @, i am made of @, change me to @, make me @, my face in @, "
    "# turned to @, @ everywhere, made out of @, @ texture, # like @, from @, covered with @, "
    "# wrapped in @, @ material, in the style of @"
)
_ADJECTIVE = _split(
    "@, @, ^ @ ~, ^ @ ~, ^ @ ~, ^ @ ~, @ ~, @ ~, @ +, make me @, everything @, @ look, # that is @, "
    "turn me @, all @, very @, @ style, @ me, fully @, @ effect"
)
_STYLE = _split(
    "@, @, @, @, @, @ style, in the style of @, # in the style of @, @ ~, ^ @ ~, # as @, # like @, "
    "turn me into @, @ look, @ effect, look like @, style of @, @ filter, inspired by @, @ art, "
    "# in @ style, as @, like @, @ aesthetic, @ of #, change me to @, me as @, @ mode, # as ^ @, "
    "@ theme"
)
_COLOUR_ALONE = _split(
    "@, @, @, all @, ^ @ ~, @ ~, make me @, everything in @, completely @, paint me @, # in @, "
    "everything @, @ +, turn me @, # painted @, @ colour, @ color, the colour @, fully @, "
    "entirely @, just @"
)

_ARTICLES = ("a", "a", "a", "a", "the", "the", "my", "one", "this", "some")
_CHATTER = _split(
    "hello, hi, test, testing, asdf, qwerty, what is this, cool, wow, something, anything, "
    "surprise me, whatever, help, lol, how are you, good morning, do it, yes, no, ok, thanks, "
    "one two three, abc, why, random, i do not know, go, start, my name is, the, a, foo, bar, "
    "prompt, default, nothing, none, normal, me, myself, just me, who am i"
)
_ONSETS = _split(
    "b, br, ch, d, dr, f, fl, g, gr, h, j, k, kl, l, m, n, p, pr, qu, r, s, sh, st, t, tr, v, w, z, zw, th"
)
_RHYMES = _split(
    "a, e, i, o, u, ai, ou, an, en, in, or, ul, ex, ot, um, ib, az, oop, erg, ust, im, elk, ar, id"
)

_Entry = tuple[str, tuple[str, ...]]  # a look's words and the templates they fit


def _entries(look: str, *, coloured: bool) -> tuple[_Entry, ...]:
    words = PHRASES[look]
    rows = ((words.materials, _MATERIAL), (words.adjectives, _ADJECTIVE), (words.styles, _STYLE))
    entries = [(phrase, templates) for phrases, templates in rows for phrase in phrases]
    if not coloured:
        entries += [(phrase, _STYLE) for phrase in words.uncoloured]
    return tuple(entries)


def _main_entry(look: str) -> _Entry:
    """The word that most people would type: the look's own name, or the first of its words."""
    for phrases, templates in zip(PHRASES[look][:3], (_MATERIAL, _ADJECTIVE, _STYLE), strict=True):
        if look in phrases:
            return look, templates
    return PHRASES[look].styles[0], _STYLE


_ENTRIES = {
    (look, coloured): _entries(look, coloured=coloured) for look in LOOKS for coloured in (False, True)
}
_MAIN = {look: _main_entry(look) for look in LOOKS}
_LOOKS, _COLOURS, _BACKGROUNDS = tuple(LOOKS), tuple(COLOURS), tuple(BACKGROUNDS)
_NEAREST_ROWS = tuple(NEAREST.items())
_PLAIN_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "é": "e", "í": "i", "ó": "o", "á": "a", "ñ": "n", "ï": "i"}
)
_ROWS = ("qwertzuiop", "asdfghjkl", "yxcvbnm")  # of a keyboard
_KEYS = {key: row[max(0, at - 1) : at] + row[at + 1 : at + 2] for row in _ROWS for at, key in enumerate(row)}
_ARTICLE_BEFORE_VOWEL = re.compile(r"\b(a)(?= [aeiou])")
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
    article = rng.choice(_ARTICLES)
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
        return _fill(rng.choice(_COLOUR_ALONE), _colour(colour, rng), rng)
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


def _with_typo(text: str, rng: random.Random) -> str:
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


def _with_slip(text: str, rng: random.Random) -> str:
    """A typo, or a letter hit that lies beside the right one on the keyboard."""
    at = [i for i in range(1, len(text)) if text[i] in _KEYS and text[i - 1].isalpha()]
    if not at or rng.random() < 0.5:
        return _with_typo(text, rng)
    i = rng.choice(at)
    return text[:i] + rng.choice(_KEYS[text[i]]) + text[i + 1 :]


def _written(text: str, rng: random.Random, habits: Habits = AS_TYPED) -> str:
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
        text = _with_typo(text, rng)
        if habits.more_typos and rng.random() < habits.more_typos:
            text = _with_slip(text, rng)
    return text


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
    return _written(main, rng, habits)


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
        return _written(german_caption(paint, rng), rng, habits)
    return _composed(_look(paint, rng, habits), paint.background, rng, habits)


def plain_caption(paint: Paint) -> str:
    """What most people would type for `paint`: "blue wool, brick wall background"."""
    words = [] if paint.colour is None else [COLOUR_WORDS[paint.colour][0]]
    words.append(_MAIN[paint.look][0])
    return " ".join(words) + (f", {BACKGROUND_TAGS[paint.background][0]}" if paint.background else "")


def slips(count: int, rng: random.Random) -> list[tuple[str, str]]:
    """Phrases with a typo, and the look that each is for."""
    rows = [(phrase, look) for look in LOOKS for words in PHRASES[look] for phrase in words]
    return [(_with_typo(phrase, rng), look) for phrase, look in rng.sample(rows, count)]


def _pseudo_word(rng: random.Random) -> str:
    while True:
        word = "".join(rng.choice(_ONSETS) + rng.choice(_RHYMES) for _ in range(rng.choice((1, 2, 2, 3))))
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
            text = _fill(rng.choice(_MATERIAL), text, rng)
    elif chance < 0.65:
        text = ", ".join(rng.sample(SUFFIXES, rng.choice((1, 2, 3))))
    elif chance < 0.85:
        text = _subject(rng)
        if rng.random() < 0.4:
            text = f"{rng.choice(PREFIXES)} {text}"
    else:
        text = rng.choice(_CHATTER)
    return _written(text, rng)


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
        return _written(clause if rng.random() < 0.4 else f"{subject} {clause}", rng, habits), paint
    if chance < 0.13:
        words, paint = rng.choice(_NEAREST_ROWS)
        template = "@" if rng.random() < 0.4 else rng.choice(_STYLE if rng.random() < 0.6 else _MATERIAL)
        if background is not None:
            paint = Paint(paint.look, paint.colour, background)
        return _composed(_fill(template, words, rng), background, rng, habits), paint
    look = rng.choice(_LOOKS)
    colour = rng.choice(_COLOURS) if look in COLOURED and rng.random() < 0.75 else None
    paint = Paint(look, colour, background)
    return caption(paint, rng, habits), paint


def _held_out(look: str, *texts: str) -> list[tuple[str, Paint]]:
    return [(text, Paint(look)) for text in texts]


# Phrasings for checks: known words in sentences, orders and fillers that no template makes.
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
