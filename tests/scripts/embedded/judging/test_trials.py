"""The trials with a model that paints the truth, or something else: do the figures say so?"""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from scripts.embedded.judging import findings, trials
from scripts.embedded.judging.findings import QUICK, Effort, Finding, Subject
from scripts.embedded.judging.streams import chunk_starts, held_out_scene, num_frames, play
from scripts.embedded.scenes.looks import LOOKS, Paint, paint
from scripts.eval_embedded import table
from streaming.checkpoints.presets import EMBEDDED

SIZE = (32, 48)
SMALL = replace(
    QUICK,
    looks=LOOKS[::3],
    scenes=1,
    other_columns_every=30,
    phrasings_every=200,
    still_clips=1,
    switches=range(1),
    guided_clips=1,
    referred_clips=2,
    masked_clips=1,
)


class Painter:
    """Stands for a pipeline: paints the look that the prompt names over the depth that it is given."""

    def __init__(self, worsen: Callable[[Tensor], Tensor] = lambda frames: frames, *, lag: int = 0) -> None:
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.preset = SimpleNamespace(
            height=SIZE[0], width=SIZE[1], sampler=None, control_videos=EMBEDDED.control_videos
        )
        self.worsen, self.lag = worsen, lag
        self.calls: list[dict[str, Any]] = []

    def open_session(self, *, seed: int) -> SimpleNamespace:
        return SimpleNamespace(prompt="", since=0, chunk=0)

    def generate(self, session: Any, prompts: Any, **options: Any) -> Tensor:
        self.calls.append(options)
        prompt = prompts[0][0]
        starts_over = options["transition"] == "cut" and session.chunk
        if starts_over:
            session.prompt, session.chunk = "", 0
        if prompt != session.prompt:
            session.old, session.prompt, session.since = session.prompt or prompt, prompt, 0
        look: str = session.prompt if session.since >= self.lag or session.chunk == 0 else session.old
        session.since += 1
        session.chunk += 1
        shown = options["vace_input"][0].picture[0]
        depth, gray, _ = (shown[:, -9:] if starts_over else shown) * 0.5 + 0.5
        kind = next(Paint(name) for name in LOOKS if name == look)
        frames = self.worsen(marked(paint(depth[None], [kind], gray[None])[0] * 0.5 + 0.5, look))
        if options["vace_input_masks"] is not None:
            painted_here = options["vace_input_masks"][0, 0, :, None] > 0.5
            frames = torch.where(painted_here, frames, options["vace_source"][0].movedim(0, 1) * 0.5 + 0.5)
        return frames.movedim(1, -1)


def marked(frames: Tensor, look: str) -> Tensor:
    """The look's number in a corner, for judges that do not learn."""
    frames = frames.clone()
    frames[..., :1, -1] = (LOOKS.index(look) + 1) / 100
    return frames


class Judges:
    figures: dict[str, float] = {}

    def looks(self, frames: Tensor) -> list[str]:
        numbers = ((frames[:, 0, 0, -1] * 0.5 + 0.5) * 100).round().long() - 1
        return [LOOKS[n] for n in numbers.clamp(0, len(LOOKS) - 1).tolist()]

    def depth(self, frames: Tensor) -> Tensor:
        return 1 - frames.mean(1)  # of the looks in SMALL, on the whole, what is near is darker


def subject_of(painter: Painter, judges: Any = Judges) -> Subject:
    engine: Any = SimpleNamespace(pipeline=painter, info=SimpleNamespace(depth="edges"), estimator=None)
    return Subject(engine, judges and judges(), Path("nowhere"))


rendered_once = cache(held_out_scene)


@pytest.fixture(autouse=True)
def scenes_are_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (findings, trials):
        monkeypatch.setattr(module, "held_out_scene", rendered_once)


@pytest.fixture(autouse=True)
def prompts_are_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def caption(kind: Paint, _rng: random.Random) -> str:
        return kind.look

    def painted(depth: Tensor, kind: Paint, gray: Tensor | None = None) -> Tensor:
        shown = None if gray is None else gray[None]
        return marked(paint(depth[None], [kind], shown)[0] * 0.5 + 0.5, kind.look)

    for module in (findings, trials):
        monkeypatch.setattr(module, "caption", caption)
        monkeypatch.setattr(module, "painted", painted)
    monkeypatch.setattr(trials, "OTHER_STEPS", {})
    monkeypatch.setattr(trials, "through_autoencoder", lambda _pipeline, frames: frames)


def values(finding: Finding) -> dict[str, float | None]:
    return {row.name: row.value for row in finding.rows}


def run(trial: str, painter: Painter, effort: Effort = SMALL) -> dict[str, float | None]:
    return values(trials.TRIALS[trial](subject_of(painter), effort))


@cache
def plain(trial: str) -> dict[str, float | None]:
    """What is found of a model that paints the truth, at once."""
    return run(trial, Painter())


def test_who_paints_the_truth_passes_every_figure_of_the_looks() -> None:
    finding = trials.try_looks(subject_of(Painter()), SMALL)
    assert all(row.passed is not False for row in finding.rows), table(finding.rows)
    found = values(finding)
    assert found["PSNR to truth"] == pytest.approx(100, abs=1)
    assert found["depth read off, fraction of truth's"] == pytest.approx(1)
    assert len(finding.sheets["looks"].rows) == len(SMALL.looks)


def test_grey_is_neither_sharp_nor_deep() -> None:
    found = run("looks", Painter(lambda frames: torch.full_like(frames, 0.5)))
    assert found["look accuracy"] == 0 or found["look accuracy"] == pytest.approx(1 / 30, abs=0.01)
    assert found["sharpness (Laplacian energy)"] == pytest.approx(0, abs=1e-6)
    assert found["depth read off, fraction of truth's"] == pytest.approx(0, abs=1e-6)


def test_noise_is_sharp_but_has_no_detail() -> None:
    found = run("looks", Painter(torch.rand_like))
    assert found["sharpness (Laplacian energy)"] == pytest.approx(1, abs=0.2)
    assert found["sharpness: true detail found"] == pytest.approx(0, abs=0.1)


def test_a_switch_that_lags_is_seen_in_the_chunk_where_it_lags() -> None:
    prompt, late = plain("switches"), run("switches", Painter(lag=1))
    for transition in ("recache", "cut"):
        assert prompt[f"switch by {transition}: accuracy in chunk 1"] == 1
        assert prompt[f"switch by {transition}: accuracy in chunk 3"] == 1
    assert late["switch by recache: accuracy in chunk 1"] == 0
    assert late["switch by recache: accuracy in chunk 3"] == 1
    assert late["switch by cut: accuracy in chunk 1"] == 1  # nothing is left that could lag


def test_guidance_that_changes_nothing_does_not_pass() -> None:
    assert plain("guidance")["guidance 0, 0.5, 1, 1.5: depth rises"] == 0


def test_who_ignores_references_keeps_the_palette_of_the_prompt() -> None:
    painter = Painter()
    found = run("references", painter)
    assert found["reference: palette nearer to it than to prompt's"] == 0
    assert found["reference: palette distance to prompt's own"] == pytest.approx(0, abs=1e-3)
    assert all(
        call["guidance_mode"] == "depth+r2v" and len(call["ref_images"]) == 1 for call in painter.calls
    )


def test_what_a_mask_keeps_is_measured_apart_from_what_it_paints() -> None:
    found = plain("masks")
    assert found["mask: PSNR of what is kept"] == pytest.approx(100, abs=10)
    whole = found["mask: PSNR of what is painted"]  # the painter sees the mask's border as an edge
    assert whole is not None and whole > 20
    found = run("masks", Painter(torch.rand_like))
    assert found["mask: PSNR of what is kept"] == pytest.approx(100, abs=10)
    painted_psnr = found["mask: PSNR of what is painted"]
    assert painted_psnr is not None and painted_psnr < 15


def test_a_still_scene_has_no_seam_and_a_flickering_model_has() -> None:
    assert run("seam", Painter())["seam, still scenes"] == pytest.approx(1)

    calls = 0

    def brighter_each_chunk(frames: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return frames * (0.5 if calls % 2 else 1)

    found = run("seam", Painter(brighter_each_chunk))["seam, still scenes"]
    assert found is not None and found > 5


def test_who_fades_drifts(monkeypatch: pytest.MonkeyPatch) -> None:
    strength = 1.0

    def fading(frames: Tensor) -> Tensor:
        nonlocal strength
        strength *= 0.98
        faded = 0.5 + (frames - 0.5) * strength
        faded[..., :1, -1] = frames[..., :1, -1]
        return faded

    steady, fades = plain("long"), run("long", Painter(fading))
    assert [steady[f"drift of {name} in 20 s"] for name in ("accuracy", "sharpness", "colours")] == (
        pytest.approx([0, 0, 0], abs=1)
    )
    assert fades["drift of accuracy in 20 s"] == 0
    for name in ("sharpness", "colours"):
        drift = fades[f"drift of {name} in 20 s"]
        assert drift is not None and drift > 5


@pytest.mark.parametrize(
    "trial", sorted(trials.TRIALS.keys() - {"phrasings"})
)  # this painter cannot read them
def test_without_judges_the_rest_is_measured_and_says_so(trial: str) -> None:
    finding = trials.TRIALS[trial](subject_of(Painter(), None), SMALL)
    unknown = [row for row in finding.rows if row.value is None]
    assert all(row.note == findings.NO_JUDGES and row.passed is None for row in unknown), table(finding.rows)
    with_judges = plain(trial)
    kinds = ("accuracy", "depth read", "depth rises", "depth fraction")
    read = [name for name in with_judges if any(kind in name for kind in kinds)]
    assert [row.name for row in unknown] == read
    assert {row.name for row in finding.rows} == with_judges.keys()
    assert finding.sheets.keys() or trial == "seam"


def test_a_switch_is_held_to_the_pictures_of_the_new_look() -> None:
    prompt, late = plain("switches"), run("switches", Painter(lag=1))
    name = "switch by {}: PSNR to the new look in chunk {}"
    for transition in ("recache", "cut"):
        for chunk in (1, 3):
            assert prompt[name.format(transition, chunk)] == pytest.approx(100, abs=1)
    in_time, lagging = late[name.format("recache", 3)], late[name.format("recache", 1)]
    assert in_time is not None and lagging is not None and lagging < 30 < in_time


def test_a_stream_shows_gray_beside_depth_or_says_nothing_there() -> None:
    pipeline: Any = Painter()
    depth, gray = torch.rand(2, 9, *SIZE)
    list(play(pipeline, ["gold"], depth, gray=gray))
    list(play(pipeline, ["gold"], depth))
    both, alone = (call["vace_input"][0].picture[0] for call in pipeline.calls)
    torch.testing.assert_close(both, torch.stack([depth, gray, gray]) * 2 - 1)
    torch.testing.assert_close(alone, torch.stack([depth * 2 - 1, *torch.zeros(2, 9, *SIZE)]))


def test_a_stream_gives_nine_frames_then_twelve_and_nine_after_a_cut() -> None:
    pipeline: Any = Painter()
    depth = torch.rand(5, *SIZE)
    chunks = list(play(pipeline, ["gold", "gold", "lego"], depth, cut_at=2))
    assert [len(frames) for frames in chunks] == [9, 12, 9]
    shown = [call["vace_input"][0].picture for call in pipeline.calls]
    assert [len(picture[0, 0]) for picture in shown] == [9, 12, 12]
    assert chunk_starts(3) == [0, 9, 21] and num_frames(3) == 33
    torch.testing.assert_close(shown[1][0, 0, 0], depth[9 % 5] * 2 - 1)
