"""Words around those of a look: subjects, praise, templates, and prompts without any meaning."""

from scripts.embedded.words.look_words import split

SUBJECTS = split(
    "statue, figure, sculpture, person, man, woman, robot, cat, portrait, dancer, face, head, bust, "
    "body, child, girl, boy, character, human, guy, model, figurine, singer, actor, warrior, hand, "
    "self, selfie, scene, monument"
)
PLURALS = split(
    "statues, figures, people, men, women, faces, robots, cats, dancers, hands, sculptures, portraits"
)
EMPTY_ADJECTIVES = split(
    "beautiful, epic, stunning, amazing, big, small, tiny, giant, huge, cool, gorgeous, elegant, "
    "detailed, realistic, perfect, nice, handsome, cute, awesome, majestic, lovely, incredible, "
    "strange, young, old, smiling, life-size"
)
PREFIXES = split(
    "a photo of, photo of, an image of, a picture of, picture of, render of, 3d render of, "
    "a close-up of, close-up of, portrait of, a portrait of, show me, i want, give me, please, "
    "make it, make me, a video of, cinematic shot of, a shot of, generate, imagine, a depiction of, "
    "an artwork of, it is, now, just"
)
SUFFIXES = split(
    "4k, 8k, hd, highly detailed, cinematic, masterpiece, best quality, sharp focus, "
    "studio lighting, dramatic lighting, trending on artstation, octane render, unreal engine, "
    "ultra realistic, photorealistic, hyperrealistic, intricate, professional, award winning, "
    "high resolution, soft light, depth of field, centered, full body, close up, very detailed, "
    "high quality, realistic, beautiful, epic, raw photo, 3d, uhd, stylish, art, please, "
    "volumetric light, concept art, looking at the camera, smooth, sharp, bokeh, fine details"
)
SHADES = split("dark, light, bright, pale, deep, vivid, shiny")

# @ a look's words, # "a statue", ~ "statue", ^ an article and perhaps an adjective without meaning.
MATERIAL = split(
    "@, @, @, @, # made of @, # made of @, # of @, # made from @, # carved from @, # in @, "
    "made of @, turn me into @, @ ~, ^ @ ~, everything made of @, # sculpted in @, # covered in @, "
    "all @, # out of @, # built from @, i am made of @, change me to @, make me @, my face in @, "
    "# turned to @, @ everywhere, made out of @, @ texture, # like @, from @, covered with @, "
    "# wrapped in @, @ material, in the style of @"
)
ADJECTIVE = split(
    "@, @, ^ @ ~, ^ @ ~, ^ @ ~, ^ @ ~, @ ~, @ ~, @ +, make me @, everything @, @ look, # that is @, "
    "turn me @, all @, very @, @ style, @ me, fully @, @ effect"
)
STYLE = split(
    "@, @, @, @, @, @ style, in the style of @, # in the style of @, @ ~, ^ @ ~, # as @, # like @, "
    "turn me into @, @ look, @ effect, look like @, style of @, @ filter, inspired by @, @ art, "
    "# in @ style, as @, like @, @ aesthetic, @ of #, change me to @, me as @, @ mode, # as ^ @, "
    "@ theme"
)
COLOUR_ALONE = split(
    "@, @, @, all @, ^ @ ~, @ ~, make me @, everything in @, completely @, paint me @, # in @, "
    "everything @, @ +, turn me @, # painted @, @ colour, @ color, the colour @, fully @, "
    "entirely @, just @"
)

ARTICLES = ("a", "a", "a", "a", "the", "the", "my", "one", "this", "some")
CHATTER = split(
    "hello, hi, test, testing, asdf, qwerty, what is this, cool, wow, something, anything, "
    "surprise me, whatever, help, lol, how are you, good morning, do it, yes, no, ok, thanks, "
    "one two three, abc, why, random, i do not know, go, start, my name is, the, a, foo, bar, "
    "prompt, default, nothing, none, normal, me, myself, just me, who am i"
)
ONSETS = split(
    "b, br, ch, d, dr, f, fl, g, gr, h, j, k, kl, l, m, n, p, pr, qu, r, s, sh, st, t, tr, v, w, z, zw, th"
)
RHYMES = split(
    "a, e, i, o, u, ai, ou, an, en, in, or, ul, ex, ot, um, ib, az, oop, erg, ust, im, elk, ar, id"
)
