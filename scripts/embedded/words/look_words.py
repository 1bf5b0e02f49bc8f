"""Words for every look: what it is made of, what it is like, what it is called.

Data alone; `captions` puts them together.
"""

from typing import NamedTuple


class Phrases(NamedTuple):
    """Words for one look. The first of `materials`, `adjectives` or `styles` is its main word."""

    materials: tuple[str, ...]  # "a statue made of ..."
    adjectives: tuple[str, ...]  # "a ... statue"
    styles: tuple[str, ...]  # "in the style of ..."
    uncoloured: tuple[str, ...] = ()  # styles that name a colour themselves, so no other word may


def split(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())


def _phrases(materials: str, adjectives: str, styles: str, uncoloured: str = "") -> Phrases:
    return Phrases(split(materials), split(adjectives), split(styles), split(uncoloured))


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
