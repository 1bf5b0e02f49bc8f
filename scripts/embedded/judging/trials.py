"""The trials on held-out scenes; `scripts/eval_embedded.py` runs them and prints the table.

finding = TRIALS["looks"](subject, QUICK)
"""

import random
import statistics
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from scripts.embedded.judging import figures
from scripts.embedded.judging.findings import (
    Case,
    Effort,
    Finding,
    Judged,
    Row,
    Subject,
    draw_cases,
    judge,
    judged,
    mean,
    painted,
    read_depth,
    summary,
)
from scripts.embedded.judging.sheets import Sheet
from scripts.embedded.judging.streams import (
    chunk_starts,
    held_out_scene,
    live_depth,
    num_frames,
    play,
    through_autoencoder,
)
from scripts.embedded.scenes.draws import HELD_OUT_SEED
from scripts.embedded.scenes.looks import LOOKS, Paint, duotone
from scripts.embedded.scenes.shape import shape_of
from scripts.embedded.words.captions import caption
from scripts.embedded.words.unseen_phrasings import HELD_OUT

# Denoising steps beside the served ones, warped as they are.
OTHER_STEPS = {"4 steps": (1000, 750, 500, 250), "1 step": (1000,)}
SCALES = (0.0, 0.5, 1.0, 1.5)


def try_looks(subject: Subject, effort: Effort) -> Finding:
    """The main figures: as served, by depth and gray, then with other steps, by depth alone, with the depth
    net's depth, and the autoencoder's own."""
    columns: dict[str, list[Judged]] = {}
    on_truth: list[float | None] = []
    seams: list[float] = []
    pictures = Sheet("depth given | truth | generated", columns=2)
    others = OTHER_STEPS if subject.steps is None else {}
    steps = Sheet(" | ".join(("truth", "as served", *others, "depth alone", "autoencoder alone")))
    live = Sheet("camera | true depth | the net's depth | truth for that | generated from that")
    estimated: dict[int, Tensor] = {}
    for index, case in enumerate(draw_cases(effort)):
        scene = subject.scene(case.scene, effort.chunks)
        prompts = [case.prompt] * effort.chunks
        truth = painted(scene.depth, case.paint, scene.gray)
        of_truth = read_depth(subject, truth, scene.depth)
        on_truth.append(subject.accuracy(truth, case.paint.look))

        def note(column: str, frames: Tensor, target: Tensor, case=case, scene=scene, r=of_truth) -> None:
            columns.setdefault(column, []).append(judge(subject, case, frames, target, scene.depth, r))

        frames = subject.play(prompts, scene.depth, gray=scene.gray, seed=index)
        note("as served", frames, truth)
        starts = chunk_starts(effort.chunks)[1:]
        if starts:
            seams.append(figures.seam(frames, starts) / figures.seam(truth, starts))
        label = f"{case.paint.look}: {case.prompt}"
        pictures.add(label, [scene.depth[-1], truth[-1], frames[-1]])
        if index % effort.other_columns_every:
            continue
        strip = [truth[-1], frames[-1]]
        for column, step_list in others.items():
            other = subject.play(prompts, scene.depth, gray=scene.gray, seed=index, steps=step_list)
            note(column, other, truth)
            strip.append(other[-1])
        alone = subject.play(prompts, scene.depth, seed=index)
        silent = painted(scene.depth, case.paint)
        note("depth alone", alone, silent, r=read_depth(subject, silent, scene.depth))
        strip.append(alone[-1])
        rebuilt = through_autoencoder(subject.pipeline, truth)
        note("autoencoder", rebuilt, truth)
        steps.add(label, [*strip, rebuilt[-1]])
        if subject.has_depth_net and scene.camera is not None:
            if case.scene not in estimated:
                estimated[case.scene] = live_depth(subject.engine.estimator, scene.camera)
            given = estimated[case.scene]
            target = painted(given, case.paint, scene.gray)
            frames = subject.play(prompts, given, gray=scene.gray, seed=index)
            note("net's depth", frames, target)
            camera = scene.camera[-1] * 0.5 + 0.5
            live.add(label, [camera, scene.depth[-1], given[-1], target[-1], frames[-1]])
    means = {column: summary(clips) for column, clips in columns.items()}
    served = means["as served"]
    count = f"{served['clips']:.0f} clips"
    rows = [
        judged("probe: look accuracy on truth", mean(on_truth), 0.98),
        judged("look accuracy", served["look accuracy"], 0.95, note=count),
        judged("depth read off, fraction of truth's", served["depth fraction"], 0.97),
        Row("sharpness (Laplacian energy)", served["sharpness"], 0.80, note=count),
        Row("sharpness: true detail found", served["detail"]),
        Row("PSNR to truth", served["psnr"], 22.0, unit="dB"),
        Row("seam, moving scenes, over truth's", mean(seams)),
    ]
    for name in ("colour accuracy", "background accuracy"):
        if served[name] is not None:
            rows.append(Row(name, served[name]))
    for column, values in means.items():
        if column != "as served":
            note_ = f"{values['clips']:.0f} clips"
            rows += [
                judged(f"{column}: {name}", values[name]) for name in ("look accuracy", "depth fraction")
            ]
            rows.append(Row(f"{column}: sharpness", values["sharpness"], note=note_))
            rows.append(Row(f"{column}: psnr", values["psnr"], unit="dB"))
    by_look = {look: summary([c for c in columns["as served"] if c.look == look]) for look in effort.looks}
    details = {
        "means": means,
        "by look": by_look,
        "clips": {column: [asdict(clip) for clip in clips] for column, clips in columns.items()},
    }
    return Finding(rows, details, {"looks": pictures, "steps": steps, "live": live})


def try_phrasings(subject: Subject, effort: Effort) -> Finding:
    """Sentences that no template of training makes; a stream's first chunk alone."""
    scene_frames = num_frames(1)
    clips: list[Judged] = []
    sheet = Sheet("unseen phrasings: first chunk", columns=6)
    chosen = [
        row
        for index, row in enumerate(HELD_OUT)
        if row[1] != Paint(row[1].look) or index % effort.phrasings_every == 0
    ]
    for index, (text, kind) in enumerate(chosen):
        case = Case(text, kind, index % effort.scenes)
        depth = subject.scene(case.scene, effort.chunks).depth[:scene_frames]
        truth = painted(depth, kind)
        frames = subject.play([text], depth, seed=index)
        clips.append(judge(subject, case, frames, truth, depth, read_depth(subject, truth, depth)))
        sheet.add(f"{kind.look}: {text}"[:44], [frames[-1]])
    means = summary(clips)
    rows = [
        judged("unseen phrasings: look accuracy", means["look accuracy"]),
        judged("unseen phrasings: colour accuracy", means["colour accuracy"]),
        judged("unseen phrasings: background accuracy", means["background accuracy"]),
        Row("unseen phrasings: PSNR to truth", means["psnr"], unit="dB", note=f"{len(clips)} prompts"),
    ]
    return Finding(rows, {"means": means, "clips": [asdict(clip) for clip in clips]}, {"phrasings": sheet})


def try_seam(subject: Subject, effort: Effort) -> Finding:
    """Nothing moves, so whatever changes is the model's doing."""
    chunks, found = 5, []
    rng = random.Random(HELD_OUT_SEED + 1)
    for index in range(effort.still_clips):
        look = LOOKS[index * 7 % len(LOOKS)]
        depth = subject.scene(500 + index % 2, 1, is_still=True).depth[:1]
        frames = subject.play([caption(Paint(look), rng)] * chunks, depth, seed=index)
        change = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3)) * 255
        starts = chunk_starts(chunks)[1:]
        across = change[[start - 1 for start in starts]].mean().item()
        found.append(
            {
                "look": look,
                "seam": figures.seam(frames, starts),
                "across, grey levels": across,
                "all, grey levels": change.mean().item(),
            }
        )
    worst = max(found, key=lambda clip: clip["seam"])
    value = statistics.fmean(clip["seam"] for clip in found)
    note = f"worst {worst['look']} {worst['seam']:.2f}"
    level = statistics.fmean(clip["across, grey levels"] for clip in found)
    rows = [
        Row("seam, still scenes", value, 1.3, at_most=True, note=note),
        Row("change at a seam, still scenes", level, unit="grey levels"),
    ]
    return Finding(rows, found)


def try_long(subject: Subject, effort: Effort) -> Finding:
    """One prompt for long: what the last ten seconds look like against the first."""
    window, loop = 160, 41  # frames: ten seconds; a scene that goes to and fro in half of them
    rng = random.Random(HELD_OUT_SEED + 2)
    found: list[dict[str, Any]] = []
    sheet = Sheet("truth | start | a quarter | half | three quarters | end")
    for index, look in enumerate(effort.long_looks):
        kind = Paint(look)
        there = held_out_scene(700 + index, loop, size=subject.size, device=subject.device).depth
        depth = torch.cat([there, there[1:-1].flip(0)])  # 80 frames, so that any ten seconds hold it twice
        truth = painted(depth, kind)
        prompts = [caption(kind, rng)] * effort.long_chunks
        at, kept = 0, []
        sample: list[Tensor] = []
        total = num_frames(effort.long_chunks)
        for number, frames in enumerate(
            play(subject.pipeline, prompts, depth, seed=index, steps=subject.steps)
        ):
            true = truth[torch.arange(at, at + len(frames), device=truth.device) % len(truth)]
            if at < window or at + len(frames) > total - window:
                stats = figures.colour_statistics(frames).tolist()
                sharp = figures.sharpness(frames, true)
                hit = subject.accuracy(frames, look)
                kept.append((at, len(frames), hit, sharp, stats, figures.psnr(frames, true)))
            if number in {effort.long_chunks * quarter // 4 for quarter in (1, 2, 3)} | {0}:
                sample.append(frames[-1])
            if number == effort.long_chunks - 1:
                sheet.add(look, [true[-1], *sample, frames[-1]])
            at += len(frames)
        first = [row for row in kept if row[0] < window]
        last = [row for row in kept if row[0] + row[1] > total - window]
        ends = []
        for rows in (first, last):
            ends.append([mean([row[n] for row in rows]) for n in (2, 3, 5)])
            ends[-1] += [statistics.fmean(row[4][n] for row in rows) for n in range(6)]
        drifts = [None if a is None else figures.drift(a, b) for a, b in zip(*ends, strict=True)]
        found.append(
            {
                "look": look,
                "frames": total,
                "accuracy": drifts[0],
                "sharpness": drifts[1],
                "psnr": drifts[2],
                "colours": max(drifts[3:], key=lambda drift: abs(drift or 0)),
                "first": ends[0],
                "last": ends[1],
            }
        )
    seconds = num_frames(effort.long_chunks) / 16
    rows = []
    for name in ("accuracy", "sharpness", "colours"):
        worst = max(found, key=lambda clip: abs(clip[name] or 0))
        value = None if worst[name] is None else abs(worst[name])
        rows.append(
            judged(f"drift of {name} in {seconds:.0f} s", value, 5.0, True, "%", f"worst: {worst['look']}")
        )
    return Finding(rows, found, {"long": sheet})


def try_switches(subject: Subject, effort: Effort) -> Finding:
    """Another look by a changed prompt: with the window recomputed, and with a hard cut."""
    rng = random.Random(HELD_OUT_SEED + 3)
    found: list[dict[str, Any]] = []
    sheet = Sheet(
        "recache: before | chunk 1 first | chunk 1 last | chunk 3 last || cut: chunk 1 last | chunk 3 last"
    )
    for index in range(effort.switches.stop):
        old, new = rng.sample(LOOKS, 2)
        texts = [caption(Paint(look), rng) for look in (old, new)]
        if index not in effort.switches:
            continue
        strip: list[Tensor] = []
        outcome: dict[str, Any] = {"from": old, "to": new, "prompts": texts}
        # A window is three chunks long; a cut forgets it whatever it holds.
        for transition, before in (("recache", 3), ("cut", 1)):
            prompts = texts[:1] * before + texts[1:] * 3
            depth = subject.scene(index % effort.scenes, effort.chunks).depth
            loop = torch.cat([depth, depth[1:-1].flip(0)])
            chunks = list(
                play(
                    subject.pipeline,
                    prompts,
                    loop,
                    seed=index,
                    cut_at=before if transition == "cut" else None,
                    steps=subject.steps,
                )
            )
            after = chunks[before:]
            truth = painted(loop, Paint(new))
            ends = [num_frames(before + n) for n in (1, 2, 3)]  # a cut shows the newest of its chunk
            shown = [
                truth[torch.arange(end - len(frames), end, device=truth.device) % len(truth)]
                for end, frames in zip(ends, after, strict=True)
            ]
            outcome[f"{transition}, psnr"] = [
                figures.psnr(frames, true) for frames, true in zip(after, shown, strict=True)
            ]
            outcome[transition] = [subject.accuracy(frames, new) for frames in after]
            outcome[f"{transition}, old look"] = [subject.accuracy(frames, old) for frames in after]
            if transition == "recache":
                strip += [chunks[before - 1][-1], after[0][0]]
            strip += [after[0][-1], after[2][-1]]
        found.append(outcome)
        sheet.add(f"{old} -> {new}", strip)
    rows = [
        judged(
            f"switch by {transition}: accuracy in chunk {chunk}",
            mean([outcome[transition][chunk - 1] for outcome in found]),
            goal,
            note=f"{len(found)} switches",
        )
        for transition in ("recache", "cut")
        for chunk, goal in ((1, 0.85), (3, 0.95))
    ]
    rows += [
        Row(
            f"switch by {transition}: PSNR to the new look in chunk {chunk}",
            statistics.fmean(outcome[f"{transition}, psnr"][chunk - 1] for outcome in found),
            unit="dB",
            note=f"{len(found)} switches",
        )
        for transition in ("recache", "cut")
        for chunk in (1, 3)
    ]
    return Finding(rows, found, {"switches": sheet})


def try_guidance(subject: Subject, effort: Effort) -> Finding:
    """The strength of depth, from none to overdrawn."""
    rng = random.Random(HELD_OUT_SEED + 4)
    read: dict[float, list[float]] = {scale: [] for scale in SCALES}
    relief: dict[float, list[float]] = {scale: [] for scale in SCALES}
    sheet = Sheet(f"depth | truth | guidance scale {' | '.join(map(str, SCALES))}")
    for index in range(effort.guided_clips):
        look = LOOKS[index * 11 % len(LOOKS)]
        prompts = [caption(Paint(look), rng)] * effort.chunks
        depth = subject.scene(index % effort.scenes, effort.chunks).depth
        strip = [depth[-1], painted(depth, Paint(look))[-1]]
        for scale in SCALES:
            frames = subject.play(prompts, depth, seed=index, scale=scale)
            strip.append(frames[-1])
            seen = subject.read_depth(frames)
            if seen is not None:
                read[scale].append(figures.pearson(seen, depth).mean().item())
                relief[scale].append(figures.relief(seen, depth))
        sheet.add(look, strip)
    name = "guidance 0, 0.5, 1, 1.5: depth rises"
    if subject.probes is None:
        return Finding([judged(name, None, 1.0)], sheets={"guidance": sheet})
    means = [statistics.fmean(read[scale]) for scale in SCALES]
    reliefs = [statistics.fmean(relief[scale]) for scale in SCALES]
    # Beyond 1 the picture overdraws the depth, which cannot follow it any better than at 1.
    grows = all(
        figures.rises(values, slack=0.02) and values[2] > values[0] + 0.1 for values in (means, reliefs)
    )
    shown = " ".join(f"{value:.2f}" for value in means)
    forms = " ".join(f"{value:.2f}" for value in reliefs)
    rows = [Row(name, float(grows), 1.0, note=f"r {shown}; relief {forms}")]
    return Finding(rows, {"correlation": read, "relief": relief}, {"guidance": sheet})


def try_references(subject: Subject, effort: Effort) -> Finding:
    """A picture of another scene, in another look or in three colours, beside another prompt."""
    rng = random.Random(HELD_OUT_SEED + 5)
    drawn = torch.Generator().manual_seed(HELD_OUT_SEED + 5)
    found: list[dict[str, Any]] = []
    sheet = Sheet("reference | truth for the reference | truth for the prompt | generated")
    for index in range(effort.referred_clips):
        own, other = rng.sample(LOOKS, 2)
        depth = subject.scene(index % effort.scenes, effort.chunks).depth
        elsewhere = subject.scene((index + 1) % effort.scenes, effort.chunks).depth[:1]
        is_palette = index % 2 == 1
        if is_palette:
            colours = torch.rand(1, 3, 3, generator=drawn).to(subject.device)
            colours = colours.gather(1, colours.mean(2).argsort(1)[:, :, None].expand(-1, -1, 3))
            pictured, target = (
                duotone(shape_of(place[None]), colours)[0].clamp(0, 1) for place in (elsewhere, depth)
            )
            other = "three colours"
        else:
            pictured, target = painted(elsewhere, Paint(other)), painted(depth, Paint(other))
        own_truth = painted(depth, Paint(own))
        prompts = [caption(Paint(own), rng)] * effort.chunks
        frames = subject.play(prompts, depth, seed=index, references=[pictured[0] * 2 - 1])
        distances = [figures.palette_distance(frames, to) for to in (target, pictured, own_truth)]
        found.append(
            {
                "prompt": own,
                "reference": other,
                "to target": distances[0],
                "to reference": distances[1],
                "to the prompt's own": distances[2],
                "psnr": figures.psnr(frames, target),
                "look of the reference": None if is_palette else subject.accuracy(frames, other),
            }
        )
        sheet.add(f"{other} beside {own}", [pictured[0], target[-1], own_truth[-1], frames[-1]])
    moved = statistics.fmean(clip["to reference"] < clip["to the prompt's own"] for clip in found)
    rows = [
        Row("reference: palette nearer to it than to prompt's", moved, note=f"{len(found)} clips"),
        Row("reference: palette distance to it", mean([clip["to reference"] for clip in found])),
        Row("reference: palette distance to prompt's own", mean([c["to the prompt's own"] for c in found])),
        judged("reference: accuracy of its look", mean([clip["look of the reference"] for clip in found])),
        Row("reference: PSNR to truth", mean([clip["psnr"] for clip in found]), unit="dB"),
    ]
    return Finding(rows, found, {"references": sheet})


def try_masks(subject: Subject, effort: Effort) -> Finding:
    """One half painted, the other kept as the camera saw it."""
    rng = random.Random(HELD_OUT_SEED + 6)
    height, width = subject.size
    found: list[dict[str, Any]] = []
    sheet = Sheet("camera | truth | generated")
    for index in range(effort.masked_clips):
        look = LOOKS[(3 + index * 7) % len(LOOKS)]
        scene = subject.scene(index % effort.scenes, effort.chunks)
        assert scene.camera is not None
        # Halves, because the look probe then judges a picture of one kind: the painted half alone.
        mask = torch.zeros(height, width, device=subject.device)
        inside = slice(0, width // 2) if index % 2 else slice(width // 2, width)
        outside = slice(width // 2, width) if index % 2 else slice(0, width // 2)
        mask[:, inside] = 1
        camera = scene.camera * 0.5 + 0.5
        truth = torch.where(mask > 0.5, painted(scene.depth, Paint(look)), camera)
        prompts = [caption(Paint(look), rng)] * effort.chunks
        frames = subject.play(prompts, scene.depth, seed=index, mask=mask, kept=scene.camera)
        rebuilt = through_autoencoder(subject.pipeline, truth)
        found.append(
            {
                "look": look,
                "kept psnr": figures.psnr(frames[..., outside], camera[..., outside]),
                "kept psnr, autoencoder": figures.psnr(rebuilt[..., outside], camera[..., outside]),
                "painted psnr": figures.psnr(frames[..., inside], truth[..., inside]),
                "accuracy": subject.accuracy(frames[..., inside], look),
                "accuracy of truth": subject.accuracy(truth[..., inside], look),
            }
        )
        sheet.add(look, [camera[-1], truth[-1], frames[-1]])
    ceiling = mean([clip["kept psnr, autoencoder"] for clip in found])
    accuracy, on_truth = (mean([clip[key] for clip in found]) for key in ("accuracy", "accuracy of truth"))
    rows = [
        Row(
            "mask: PSNR of what is kept",
            mean([clip["kept psnr"] for clip in found]),
            unit="dB",
            note=f"the autoencoder's own {ceiling:.1f}",
        ),
        Row("mask: PSNR of what is painted", mean([clip["painted psnr"] for clip in found]), unit="dB"),
        judged("mask: look accuracy of what is painted", accuracy, note=f"truth's {on_truth or 0:.2f}"),
    ]
    return Finding(rows, found, {"masks": sheet})


TRIALS: dict[str, Callable[[Subject, Effort], Finding]] = {
    "looks": try_looks,
    "phrasings": try_phrasings,
    "seam": try_seam,
    "switches": try_switches,
    "guidance": try_guidance,
    "references": try_references,
    "masks": try_masks,
    "long": try_long,
}
