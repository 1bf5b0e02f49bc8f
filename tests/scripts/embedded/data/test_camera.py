import torch

from scripts.embedded.data.camera import camera_pictures, gray_of
from scripts.embedded.data.photographs import Photographs
from scripts.embedded.scenes.procedural import render, sample_scenes
from streaming.checkpoints.presets import EMBEDDED
from streaming.controls import gray as served


def test_gray_of_training_is_the_gray_that_a_stream_shows() -> None:
    camera = torch.rand(1, 5, 3, 16, 24, generator=torch.Generator().manual_seed(0)).mul(255).round()
    camera = camera / 127.5 - 1
    shown = served.gray_of(camera[0], EMBEDDED.gray) * 0.5 + 0.5
    assert (gray_of(camera)[0] - shown).abs().max() < 1.01 / 255


def test_camera_pictures_are_decided_by_their_seed_and_move() -> None:
    def pictures() -> torch.Tensor:
        generator = torch.Generator().manual_seed(4)
        scenes = sample_scenes(2, generator, still=1.0)
        surface = render(scenes, torch.arange(5).expand(2, 5) / 16, height=48, width=64)
        return camera_pictures(surface, scenes, generator, Photographs.none(torch.device("cpu")))

    camera = pictures()
    assert camera.shape == (2, 5, 3, 48, 64) and camera.isfinite().all() and camera.abs().max() <= 1
    assert torch.equal(camera, pictures())
