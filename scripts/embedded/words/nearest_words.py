"""Words that people type and no look is made for, each with the paint that comes closest."""

from scripts.embedded.scenes.looks import Paint
from scripts.embedded.words.look_words import split


def _nearest(*rows: tuple[str, Paint]) -> dict[str, Paint]:
    return {word: paint for words, paint in rows for word in split(words)}


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
