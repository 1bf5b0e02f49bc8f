"""The sample that the page sends of somebody without a camera, and the script that makes it."""

from pathlib import Path

import av
import pytest
import torch

from scripts.embedded import sample_clip
from scripts.embedded.sample_clip import AT_ONCE, FPS, HEIGHT, LOOP_S, WIDTH, looping, speaking, write_clip
from scripts.embedded.scenes.procedural import sample_scenes
from server.app import page_directory

MOST_BYTES = 500_000
SAMPLE = page_directory() / "sample.webm"


def frames_of(path: Path) -> tuple[torch.Tensor, list[float]]:
    """Pictures (T, H, W, 3) uint8 and when they are shown, in seconds."""
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    return (
        torch.stack([torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in frames]),
        [frame.time for frame in frames],
    )


@pytest.fixture(scope="module")
def shipped() -> torch.Tensor:
    return frames_of(SAMPLE)[0]


def test_the_sample_is_small_and_of_a_codec_that_every_browser_has():
    assert SAMPLE.stat().st_size <= MOST_BYTES
    with av.open(str(SAMPLE)) as file:
        (stream,) = file.streams
        assert stream.codec_context.name == "vp8" and "webm" in file.format.name
        assert (stream.width, stream.height) == (WIDTH, HEIGHT)


def test_the_sample_plays_for_as_long_as_the_loop(shipped):
    times = frames_of(SAMPLE)[1]
    assert len(times) == round(LOOP_S * FPS) == len(shipped)
    assert times == pytest.approx([n / FPS for n in range(len(times))], abs=0.001)


def test_the_sample_moves_evenly_over_its_end_too(shipped):
    luma = shipped.float().mean(-1)
    steps = (luma.roll(-1, 0) - luma).abs().mean((1, 2))
    assert steps.median() > 0.3
    assert steps[-1] < 1.5 * steps[:-1].max(), "from the last picture to the first"
    assert (luma[FPS] - luma[0]).abs().mean() > 3, "a second later it looks different"


def test_law_every_motion_of_the_scene_comes_full_circle():
    scenes = looping(sample_scenes(4, torch.Generator().manual_seed(0), webcam=1.0, still=0.0))
    for swing in (scenes.swing, scenes.sway, scenes.pan):
        turns = swing[..., 1] * LOOP_S / (2 * torch.pi)
        assert torch.allclose(turns, turns.round(), atol=1e-4) and turns.min() >= 1 - 1e-4


def test_law_the_face_comes_full_circle():
    at = torch.tensor([[0.0, 0.7, 1.9]])
    now, later = speaking(at), speaking(at + LOOP_S)
    assert torch.allclose(now.mouth, later.mouth, atol=1e-3)
    assert torch.allclose(now.eyes, later.eyes, atol=1e-3)
    whole = speaking(torch.linspace(0, LOOP_S, 240)[None])
    assert whole.eyes.min() < 0.1 and whole.mouth.max() > 0.7


def test_law_the_same_pictures_give_the_same_bytes(tmp_path):
    pictures = sample_clip.rendered(2 * AT_ONCE, width=48, height=32)
    assert pictures.shape == (2 * AT_ONCE, 32, 48, 3) and pictures.dtype == torch.uint8
    for name in ("one.webm", "other.webm"):
        write_clip(tmp_path / name, pictures)
    assert (tmp_path / "one.webm").read_bytes() == (tmp_path / "other.webm").read_bytes()
    assert torch.equal(sample_clip.rendered(2 * AT_ONCE, width=48, height=32), pictures)


def test_law_one_exposure_for_all_of_the_loop():
    """Parts are rendered one by one, and a camera exposes each for itself."""
    pictures = sample_clip.rendered(4 * AT_ONCE, width=96, height=54).float()
    light = pictures.mean((1, 2, 3))
    assert (light.roll(-1, 0) - light).abs().max() < 4
