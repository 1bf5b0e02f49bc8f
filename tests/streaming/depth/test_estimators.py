"""Depth estimators give larger = nearer from any model."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import BertConfig, DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

import streaming.depth.estimators
from streaming.depth.estimators import DptPreprocess, EdgesDepth, TransformersDepth, _is_metric, load_depth

HEIGHT, WIDTH = 40, 64
DEPTH_ANYTHING_V2 = {
    "size": {"height": 518, "width": 518},
    "keep_aspect_ratio": True,
    "ensure_multiple_of": 14,
    "resample": 3,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_pad": False,
}
DPT_LARGE = {"size": {"height": 384, "width": 384}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
DPT_HYBRID = {**DPT_LARGE, "keep_aspect_ratio": True, "ensure_multiple_of": 32, "resample": 3}
BUILT_IN = {**DPT_LARGE, "size": {"height": 72, "width": 128}, "ensure_multiple_of": 8, "resample": 2}
PROCESSORS = {
    "depth-anything-v2": DEPTH_ANYTHING_V2,
    "dpt-large": DPT_LARGE,
    "dpt-hybrid-midas": DPT_HYBRID,
    "built-in": BUILT_IN,
}


def pictures(height: int = HEIGHT, width: int = WIDTH, count: int = 2) -> torch.Tensor:
    levels = np.random.default_rng(0).integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    return torch.from_numpy(levels)


def frames_of(levels: torch.Tensor) -> torch.Tensor:
    return levels / 127.5 - 1


def pil_images(levels: torch.Tensor) -> list[Image.Image]:
    return [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in levels]


def save_tiny_model(folder: Path, *, kind: str = "relative", **processor: object) -> str:
    """A Depth-Anything of random weights, with the processor of Depth-Anything-V2 at a small size."""
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=70,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20 if kind == "metric" else 1,
    )
    model = DepthAnythingForDepthEstimation(config)
    # The stock initialisation gives the same depth for every picture.
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.2)
    torch.nn.init.constant_(model.head.conv3.bias, 1.0)  # clear of the final relu
    model.save_pretrained(folder)
    small = {**DEPTH_ANYTHING_V2, "size": {"height": 70, "width": 70}, **processor}
    DPTImageProcessorPil(**small).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("depth"))


# ---- models of transformers ----


def processed(settings: dict, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network sees of the same pictures, by our preprocessing and by its own processor."""
    levels = pictures(height, width)
    processor = DPTImageProcessorPil(**settings)
    preprocess = DptPreprocess.of(processor)
    assert preprocess is not None
    expected = processor(images=pil_images(levels), return_tensors="pt")["pixel_values"]
    return preprocess(levels), expected.float()


@pytest.mark.parametrize("settings", PROCESSORS.values(), ids=PROCESSORS)
@pytest.mark.parametrize(("height", "width"), [(144, 256), (480, 832), (241, 427), (640, 480), (90, 110)])
def test_the_network_sees_what_its_own_processor_would_give_it(settings, height, width):
    """To 1e-5 of normalised values; 1e-3 is what would be good enough."""
    torch.testing.assert_close(*processed(settings, height, width), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 832), (518, 896)),
        ((320, 576), (294, 518)),
        ((512, 512), (518, 518)),
        ((480, 640), (518, 686)),
        ((720, 1280), (518, 924)),
        ((640, 480), (686, 518)),
    ],
)
def test_sizes_of_depth_anything_v2(size, expected):
    preprocess = DptPreprocess.of(DPTImageProcessorPil(**DEPTH_ANYTHING_V2))
    assert preprocess is not None and preprocess.size_of(*size) == expected


@pytest.mark.parametrize(
    "change",
    [{"do_pad": True, "size_divisor": 14}, {"do_normalize": False}, {"do_resize": False}, {"resample": 0}],
)
def test_a_processor_that_does_anything_else_is_called_itself(change):
    assert DptPreprocess.of(DPTImageProcessorPil(**{**DEPTH_ANYTHING_V2, **change})) is None


def test_another_kind_of_processor_is_called_itself():
    assert DptPreprocess.of(object()) is None


def test_a_model_from_a_folder_estimates_as_its_pipeline_does(tiny_model):
    levels = pictures(count=3)
    estimator = load_depth(tiny_model, "cpu", torch.float32)
    depth = estimator.estimate(frames_of(levels))
    assert depth.shape == (3, HEIGHT, WIDTH) and depth.dtype == torch.float32 and not depth.requires_grad
    assert depth.std() > 0

    pipeline = transformers.pipeline("depth-estimation", model=tiny_model, device="cpu")
    for frame, picture in zip(depth, pil_images(levels), strict=True):
        with torch.no_grad():
            inputs = pipeline.image_processor(images=picture, return_tensors="pt")
            expected = pipeline.model(**inputs).predicted_depth[:, None]
        expected = torch.nn.functional.interpolate(expected, size=(HEIGHT, WIDTH), mode="bilinear")[0, 0]
        torch.testing.assert_close(frame, expected, atol=1e-5, rtol=1e-4)


def test_a_processor_of_its_own_is_asked_before_and_after(tmp_path):
    model = save_tiny_model(tmp_path, do_pad=True, size_divisor=28)
    levels = pictures()
    depth = load_depth(model, "cpu", torch.float32).estimate(frames_of(levels))
    pipeline = transformers.pipeline("depth-estimation", model=model, device="cpu")
    expected = [pipeline(picture)["predicted_depth"] for picture in pil_images(levels)]
    torch.testing.assert_close(depth, torch.stack(expected), atol=1e-5, rtol=1e-4)


def test_positions_are_stretched_once_for_each_size(tiny_model, monkeypatch):
    """Pictures of one size, of another and of the first again: as from a net that stretches every time."""
    sizes = [(HEIGHT, WIDTH), (HEIGHT, WIDTH), (HEIGHT, 2 * WIDTH), (HEIGHT, WIDTH)]
    monkeypatch.setattr(streaming.depth.estimators, "_keep_positions", lambda network: None)
    plain = load_depth(tiny_model, "cpu", torch.float32)
    monkeypatch.undo()
    kept, stretched = load_depth(tiny_model, "cpu", torch.float32), []
    original = kept._model.backbone.embeddings.interpolate_pos_encoding._function
    monkeypatch.setattr(
        kept._model.backbone.embeddings.interpolate_pos_encoding,
        "_function",
        lambda *given: stretched.append(given) or original(*given),
    )
    for size in sizes:
        frames = pictures(*size).float() / 127.5 - 1
        assert torch.equal(kept.estimate(frames), plain.estimate(frames))
    assert len(stretched) == 3


def test_half_precision_gives_float32_depth(tiny_model):
    depth = load_depth(tiny_model, "cpu", torch.bfloat16).estimate(frames_of(pictures()))
    assert depth.dtype == torch.float32 and depth.isfinite().all()


def test_a_model_that_estimates_metres_is_turned_round(tmp_path):
    frames = frames_of(pictures())
    estimator = load_depth(save_tiny_model(tmp_path, kind="metric"), "cpu", torch.float32)
    metres = transformers.AutoModelForDepthEstimation.from_pretrained(tmp_path)
    preprocess = DptPreprocess.of(DPTImageProcessorPil.from_pretrained(tmp_path))
    assert preprocess is not None
    with torch.no_grad():
        distance = metres(pixel_values=preprocess(pictures())).predicted_depth[:, None]
    distance = torch.nn.functional.interpolate(distance, size=(HEIGHT, WIDTH), mode="bilinear")[:, 0]
    torch.testing.assert_close(estimator.estimate(frames), 1 / distance, atol=0, rtol=1e-4)


def test_a_model_that_is_not_there_is_named(tmp_path):
    missing = str(tmp_path / "missing")
    with pytest.raises(OSError, match=f"depth model '{missing}': not found. Expected 'edges', the hub id"):
        load_depth(missing, "cpu", torch.float32)


def test_a_hub_without_network_is_explained(monkeypatch):
    def offline(name: str) -> None:
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", offline)
    with pytest.raises(OSError, match=r"'some/model'.*network access.*We couldn't connect to the hub"):
        load_depth("some/model", "cpu", torch.float32)


def test_a_model_of_another_kind_is_named(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a 'bert' model. Expected .* a depth-estimation model"):
        load_depth(str(tmp_path), "cpu", torch.float32)


def test_a_folder_without_a_known_config_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "no-such-thing"}')
    with pytest.raises(ValueError, match="of an unknown kind"):
        load_depth(str(tmp_path), "cpu", torch.float32)


@pytest.mark.parametrize("missing", ["model.safetensors", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_file_is_named(missing, tmp_path):
    model = save_tiny_model(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(OSError, match=f"depth model '{tmp_path}': incomplete or broken. .*{missing}"):
        load_depth(model, "cpu", torch.float32)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 4, 8, 8), (0, 3, 8, 8), (2, 3, 1, 8)])
def test_frames_of_another_shape_are_named(shape, tiny_model):
    for estimator in (EdgesDepth("cpu"), TransformersDepth(tiny_model, "cpu", torch.float32)):
        with pytest.raises(ValueError, match=r"frames: expected \(T, 3, H, W\).*got \("):
            estimator.estimate(torch.zeros(shape))


# ---- edges ----


def test_edges_are_far_and_flat_areas_near():
    frames = torch.full((1, 3, HEIGHT, WIDTH), -1.0)
    frames[:, :, :, WIDTH // 2 :] = 1
    [depth] = load_depth("edges", "cpu", torch.float32).estimate(frames)
    assert depth.shape == (HEIGHT, WIDTH) and depth.dtype == torch.float32
    assert depth[:, : WIDTH // 2 - 10].eq(1).all() and depth[:, WIDTH // 2 + 10 :].eq(1).all()
    assert depth[:, WIDTH // 2].max() < 0.5
    assert depth.min() >= 0


def test_faint_noise_is_no_edge():
    frames = frames_of(torch.full((1, 3, HEIGHT, WIDTH), 128.0)) + 0.02 * torch.randn(1, 3, HEIGHT, WIDTH)
    assert EdgesDepth("cpu").estimate(frames).eq(1).all()


def test_edges_look_at_each_frame_alone_and_at_any_size():
    frames = frames_of(pictures(41, 63, count=3))
    estimator = EdgesDepth("cpu")
    together = estimator.estimate(frames)
    alone = torch.cat([estimator.estimate(frame[None]) for frame in frames])
    torch.testing.assert_close(together, alone)


def test_edges_keep_their_scale_whatever_the_picture():
    frames = torch.zeros(1, 3, HEIGHT, WIDTH)
    estimator = EdgesDepth("cpu")
    control, after = estimator.new_range().normalise(estimator.estimate(frames))
    assert control.eq(1).all()  # a blank wall is near, not far
    control, _ = after.normalise(estimator.estimate(frames_of(pictures(count=1))))
    assert control.min() >= -1 and (after.far, after.near) == (0, 1)


@pytest.mark.parametrize(
    ("name", "backbone", "is_metric"),
    [
        ("facebook/dpt-dinov2-small-nyu", transformers.Dinov2Config(), True),
        ("/models/depth", transformers.Dinov2Config(), True),
        ("Intel/dpt-hybrid-kitti", None, True),
        ("/home/nyu/dpt-large", None, False),
        ("Intel/dpt-large", None, False),
        ("Intel/dpt-swinv2-tiny-256", transformers.Swinv2Config(), False),
    ],
)
def test_law_heads_of_dpt_that_estimate_metres_are_told_from_others(name, backbone, is_metric):
    """Their configurations say nothing of it, and near and far would be swapped."""
    config = SimpleNamespace(model_type="dpt", backbone_config=backbone)
    assert _is_metric(config, name) is is_metric
