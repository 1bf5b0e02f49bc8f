import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from streaming.blocks.vace_encoding import (
    ControlState,
    VaceEncodingBlock,
    mask_latents,
    reference_control,
    split_by_mask,
)
from streaming.config import ConfigError, TaehvConfig
from streaming.controls.control_videos import ControlVideo
from streaming.modules.taehv import TAEHV
from streaming.modules.wan_vae import WanVAE, WanVaeConfig

SIZE = (16, 32)


@pytest.fixture(scope="module", params=["wan", "taehv"])
def block(request: pytest.FixtureRequest) -> VaceEncodingBlock:
    return make_block(request.param)


def make_block(kind: str = "wan", **options: int) -> VaceEncodingBlock:
    torch.manual_seed(0)
    if kind == "wan":
        model = WanVAE(WanVaeConfig(dim=2, num_res_blocks=1))
    else:
        model = TAEHV(TaehvConfig(encoder_channels=(4, 4, 4, 4), decoder_channels=(4, 4, 4, 4)))
    model = model.double().eval().requires_grad_(False)
    return VaceEncodingBlock(model, height=SIZE[0], width=SIZE[1], **options)


def clip(channels: int, frames: int, seed: int = 0, low: float = -1.0) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    return low + (1 - low) * torch.rand(1, channels, frames, *SIZE, generator=noise, dtype=torch.float64)


DEPTH = clip(1, 33)
REFERENCES = [clip(3, 1, seed)[0, :, 0] for seed in (7, 8, 9)]


def chunks(video: Tensor) -> list[Tensor]:
    """33 frames as a stream gives them."""
    return list(video.split([9, 12, 12], dim=2))


def run(block: VaceEncodingBlock, parts: list[Tensor], state: ControlState | None = None) -> Tensor:
    controls = []
    for part in parts:
        control, state = block.encode_depth(part, state)
        controls.append(control)
    return torch.cat(controls, dim=1)


def offline(block: VaceEncodingBlock, depth: Tensor) -> Tensor:
    """Both videos encoded in one call each."""
    video = depth.transpose(1, 2).expand(-1, -1, 3, -1, -1)
    latents = [block.autoencoder.encode(part, None)[0] for part in (torch.zeros_like(video), video)]
    return torch.cat([*latents, latents[0].new_ones(1, latents[0].shape[1], 64, 2, 4)], dim=2)


def close(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=0, atol=1e-9)


# --- depth


def test_a_stream_of_depth_equals_one_offline_encode(block: VaceEncodingBlock) -> None:
    control = run(block, chunks(DEPTH))
    assert control.shape == (1, 9, 96, 2, 4)
    close(control, offline(block, DEPTH))


def test_the_first_call_uses_the_newest_9_of_12_frames(block: VaceEncodingBlock) -> None:
    """So that chunk 1 goes on with the very next frame."""
    extra = clip(1, 3, seed=5)
    first, *later = chunks(DEPTH)
    close(run(block, [torch.cat([extra, first], dim=2), *later]), offline(block, DEPTH))


def test_12_frames_give_3_latents_of_96_channels(block: VaceEncodingBlock) -> None:
    control, state = block.encode_depth(DEPTH[:, :, :12], None)
    assert control.shape == (1, 3, 96, 2, 4) and state.chunk == 1
    control, state = block.encode_depth(DEPTH[:, :, 12:24], state)
    assert control.shape == (1, 3, 96, 2, 4) and state.chunk == 2


def test_one_channel_stands_for_three(block: VaceEncodingBlock) -> None:
    assert torch.equal(
        run(block, chunks(DEPTH)), run(block, [part.expand(-1, 3, -1, -1, -1) for part in chunks(DEPTH)])
    )


def test_a_state_is_a_value(block: VaceEncodingBlock) -> None:
    _, state = block.encode_depth(DEPTH[:, :, :9], None)
    once, _ = block.encode_depth(DEPTH[:, :, 9:21], state)
    again, _ = block.encode_depth(DEPTH[:, :, 9:21], state)
    assert torch.equal(once, again)


def test_interleaved_sessions_do_not_touch_each_other(block: VaceEncodingBlock) -> None:
    videos, states = (DEPTH, clip(1, 33, seed=4)), [None, None]
    parts: list[list[Tensor]] = [[], []]
    for pair in zip(*map(chunks, videos), strict=True):
        for session, part in enumerate(pair):
            control, states[session] = block.encode_depth(part, states[session])
            parts[session].append(control)
    for session, video in enumerate(videos):
        assert torch.equal(torch.cat(parts[session], dim=1), run(block, chunks(video)))


def test_an_unguided_chunk_keeps_later_depth_aligned(block: VaceEncodingBlock) -> None:
    first, second, third = chunks(DEPTH)
    _, state = block.encode_depth(first, None)
    control, _ = block.encode_depth(third, block.skip(state))
    close(control, offline(block, torch.cat([first, torch.zeros_like(second), third], dim=2))[:, 6:])
    control, _ = block.encode_depth(third, block.skip(block.skip(None)))
    close(control, offline(block, torch.cat([DEPTH[:, :, :21] * 0, third], dim=2))[:, 6:])


def test_the_block_computes_in_the_type_of_its_weights(block: VaceEncodingBlock) -> None:
    control, _ = block.encode_depth(DEPTH[:, :, :9].float(), None)
    assert control.dtype == torch.float64


def test_after_warm_up_the_empty_video_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    block, state = make_block("taehv"), None
    block.warm_up()
    monkeypatch.delattr(TAEHV, "encode")
    for _ in range(20):
        control, state = block.encode_empty(state)
        assert control.shape == (1, 3, 96, 2, 4)


# --- messages


def error(block: VaceEncodingBlock, depth: Tensor, state: ControlState | None = None, **options) -> str:
    with pytest.raises(ValueError) as caught:
        block.encode_depth(depth, state, **options)
    return str(caught.value)


@pytest.mark.parametrize("frames", [1, 8, 10, 11, 13])
def test_a_wrong_frame_count_is_refused_in_the_documents_words(block: VaceEncodingBlock, frames: int) -> None:
    assert error(block, clip(1, frames)) == (
        "VaceEncodingBlock._encode_depth: Expected 12 depth frames "
        f"(num_frame_per_block=3 * vae_temporal_downsample_factor=4), got {frames} frames"
    )


def test_9_frames_are_for_the_first_chunk_only(block: VaceEncodingBlock) -> None:
    _, state = block.encode_depth(DEPTH[:, :, :9], None)
    assert "Expected 12 depth frames" in error(block, DEPTH[:, :, :9], state)


def test_a_wrong_size_is_refused_in_the_documents_words(block: VaceEncodingBlock) -> None:
    assert error(block, DEPTH[:, :, :12, :8]) == (
        "VaceEncodingBlock._encode_depth: Depth resolution 8x32 does not match target resolution 16x32"
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (float("nan"), "Expected finite depth values within [-1, 1], got nan ... nan"),
        (float("inf"), "got -0.99"),
        (-1.5, "got -1.5 ..."),
        (1.01, "... 1.01"),
    ],
)
def test_values_out_of_range_are_refused(block: VaceEncodingBlock, spoil: float, said: str) -> None:
    depth = DEPTH[:, :, :12].clone()
    depth[0, 0, 7, 3, 3] = spoil
    assert said in error(block, depth)


def test_wrong_shapes_and_types_are_refused(block: VaceEncodingBlock) -> None:
    assert "(B, 1 or 3, T, H, W) in floating point, got (1, 2, 12, 16, 32)" in error(block, clip(2, 12))
    assert "got (12, 16, 32)" in error(block, DEPTH[0, 0, :12])
    assert "torch.uint8" in error(block, DEPTH[:, :, :12].to(torch.uint8))
    assert "Mask resolution 16x16" in error(block, DEPTH[:, :, :12], mask=DEPTH[:, :, :12, :, :16].abs())
    assert "mask values within [0, 1]" in error(block, DEPTH[:, :, :12], mask=DEPTH[:, :, :12])
    assert "source needs a mask" in error(block, DEPTH[:, :, :12], source=DEPTH[:, :, :12])


def test_bad_input_leaves_the_state_usable(block: VaceEncodingBlock) -> None:
    first, second, _ = chunks(DEPTH)
    control, state = block.encode_depth(first, None)
    error(block, second * float("nan"), state)
    later, _ = block.encode_depth(second, state)
    close(torch.cat([control, later], dim=1), offline(block, DEPTH[:, :, :21]))


# --- masks


def test_a_mask_splits_what_is_kept_from_what_is_repainted() -> None:
    video = clip(3, 2).transpose(1, 2)
    mask = torch.zeros(1, 2, 1, *SIZE, dtype=torch.float64)
    mask[..., :8], mask[..., 8:16] = 0.51, 0.5
    inactive, reactive = split_by_mask(video, mask)
    assert torch.equal(reactive[..., :8], video[..., :8]) and (reactive[..., 8:] == 0).all()
    assert torch.equal(inactive[..., 8:], video[..., 8:]) and (inactive[..., :8] == 0).all()


def test_mask_channels_are_the_pixels_of_a_patch_row_by_row() -> None:
    mask = torch.arange(16 * 32, dtype=torch.float64).reshape(1, 1, 1, 16, 32)
    channels = mask_latents(mask, time_stride=4, space_stride=8)
    assert channels.shape == (1, 1, 64, 2, 4)
    for dy, dx, row, column in ((0, 0, 0, 0), (0, 5, 1, 2), (7, 0, 0, 3), (3, 6, 1, 1)):
        assert channels[0, 0, 8 * dy + dx, row, column] == 32 * (8 * row + dy) + 8 * column + dx


@pytest.mark.parametrize(
    ("frames", "picked"), [(1, [0]), (9, [1, 4, 7]), (12, [2, 6, 10]), (13, [1, 4, 8, 11])]
)
def test_mask_frames_are_picked_as_vace_picks_them(frames: int, picked: list[int]) -> None:
    mask = torch.arange(float(frames)).reshape(1, frames, 1, 1, 1).expand(-1, -1, -1, *SIZE)
    assert mask_latents(mask, time_stride=4, space_stride=8)[0, :, 0, 0, 0].tolist() == picked


def test_a_mask_of_ones_equals_no_mask(block: VaceEncodingBlock) -> None:
    state, parts = None, []
    for part in chunks(DEPTH):
        control, state = block.encode_depth(part, state, mask=torch.ones_like(part))
        parts.append(control)
    close(torch.cat(parts, dim=1), run(block, chunks(DEPTH)))


def test_a_mask_that_comes_and_goes_equals_streams_that_saw_it_all(block: VaceEncodingBlock) -> None:
    mask = clip(1, 33, seed=3, low=0.0)
    mask[:, :, :9] = mask[:, :, 21:] = 1
    state, parts = None, []
    for index, (part, region) in enumerate(zip(chunks(DEPTH), chunks(mask), strict=True)):
        control, state = block.encode_depth(part, state, mask=region if index == 1 else None)
        parts.append(control)
    videos = split_by_mask(DEPTH.transpose(1, 2).expand(-1, -1, 3, -1, -1), mask.transpose(1, 2))
    latents = torch.cat([block.autoencoder.encode(video, None)[0] for video in videos], dim=2)
    got = torch.cat(parts, dim=1)
    close(got[:, :, :32], latents)
    close(got[:, 3:6, 32:], mask_latents(mask[:, :, 9:21].transpose(1, 2), time_stride=4, space_stride=8))


def test_another_picture_can_be_kept_where_nothing_is_repainted(block: VaceEncodingBlock) -> None:
    camera, mask = clip(3, 9, seed=6), torch.zeros(1, 1, 9, *SIZE, dtype=torch.float64)
    mask[..., :16] = 1
    control, _ = block.encode_depth(DEPTH[:, :, :9], None, mask=mask, source=camera)
    kept = block.autoencoder.encode((camera * (1 - mask)).transpose(1, 2), None)[0]
    followed = (DEPTH[:, :, :9] * mask).expand(-1, 3, -1, -1, -1).transpose(1, 2)
    close(control[:, :, :16], kept)
    close(control[:, :, 16:32], block.autoencoder.encode(followed, None)[0])


# --- references


def test_each_reference_is_encoded_as_a_picture_of_its_own(block: VaceEncodingBlock) -> None:
    control = block.encode_references(REFERENCES)
    assert control.shape == (1, 3, 96, 2, 4)
    for index, image in enumerate(REFERENCES):
        alone, _ = block.autoencoder.encode(image[None, None], None)
        torch.testing.assert_close(control[:, index : index + 1, :16], alone, rtol=0, atol=1e-5)
    assert (control[:, :, 16:] == 0).all()  # nothing to repaint, mask 0: keep this picture


def test_references_neither_shift_nor_cut_depth(block: VaceEncodingBlock) -> None:
    state, parts = None, []
    for part in chunks(DEPTH):
        control, state = block("depth+r2v", state, vace_input=part, ref_images=REFERENCES[:2])
        assert control is not None and control.references is not None
        assert control.references.shape[1] == 2
        parts.append(control.frames)
    close(torch.cat(parts, dim=1), offline(block, DEPTH))


def test_references_are_encoded_once_and_again_when_they_change(tmp_path: Path) -> None:
    block, path = make_block("taehv"), tmp_path / "ref.png"
    Image.new("RGB", (32, 16), "red").save(path)
    first = block.encode_references([path])
    assert block.encode_references([str(path)]) is first
    Image.new("RGB", (40, 16), "blue").save(path)
    assert not torch.equal(block.encode_references([path]), first)


def test_few_sets_of_references_are_kept() -> None:
    block = make_block("taehv")
    first = block.encode_references(REFERENCES)
    for shade in range(5):
        assert block.encode_references(REFERENCES) is first  # the newest used stay
        block.encode_references([REFERENCES[0] * shade / 5])
    for shade in range(4):
        block.encode_references([REFERENCES[1] * shade / 4])
    assert block.encode_references(REFERENCES) is not first


def test_a_reference_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    block = make_block("taehv")
    with pytest.raises(ValueError, match=r"ref_images: cannot read a picture.*missing\.png"):
        block.encode_references([tmp_path / "missing.png"])
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png"):
        block.encode_references([tmp_path / "text.png"])
    with pytest.raises(ValueError, match="1 to 3 images"):
        block.encode_references([])


def test_references_alone_come_with_an_empty_chunk_to_repaint(block: VaceEncodingBlock) -> None:
    state, parts = None, []
    for _ in range(3):
        control, state = block("r2v", state, ref_images=REFERENCES[:1])
        assert control is not None and control.references is not None
        parts.append(control.frames)
    close(torch.cat(parts, dim=1), offline(block, DEPTH * 0))


def test_reference_channels_are_filled_up_with_zeros() -> None:
    latents = torch.ones(1, 2, 16, 2, 4)
    control = reference_control(latents, 96)
    assert (control[:, :, :16] == 1).all() and (control[:, :, 16:] == 0).all()
    assert reference_control(latents, 16).shape == latents.shape


# --- modes and sizes


@pytest.mark.parametrize(
    ("mode", "given", "said"),
    [
        ("edges", {}, "guidance_mode must be depth, r2v, depth+r2v or None, got 'edges'"),
        ("depth", {}, "guidance_mode 'depth' needs vace_input"),
        ("r2v", {}, "guidance_mode 'r2v' needs ref_images"),
        ("depth+r2v", {"vace_input": DEPTH[:, :, :9]}, "needs ref_images"),
        ("depth", {"vace_input": DEPTH[:, :, :9], "ref_images": REFERENCES}, "takes no ref_images"),
        (None, {"vace_input": DEPTH[:, :, :9]}, "guidance_mode None takes no vace_input"),
        (
            "r2v",
            {"ref_images": REFERENCES, "vace_input_masks": DEPTH},
            "vace_input_masks needs the vace_input",
        ),
    ],
)
def test_modes_take_what_is_theirs(block: VaceEncodingBlock, mode, given: dict, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        block(mode, None, **given)


def test_the_unguided_chunk_has_no_control_and_time_goes_on(block: VaceEncodingBlock) -> None:
    control, state = block(None, None)
    assert control is None and state == ControlState(chunk=1)


def test_the_mode_depth_is_encode_depth(block: VaceEncodingBlock) -> None:
    mask = clip(1, 12, seed=3, low=0.0)
    control, state = block("depth", None, vace_input=DEPTH[:, :, :12], vace_input_masks=mask)
    assert control is not None and control.references is None
    assert torch.equal(control.frames, block.encode_depth(DEPTH[:, :, :12], None, mask=mask)[0])
    assert state.chunk == 1


def test_16_channels_are_the_depth_latents_alone() -> None:
    block = make_block(vace_in_dim=16)
    control = run(block, chunks(DEPTH))
    close(control, offline(block, DEPTH)[:, :, 16:32])
    assert block.encode_references(REFERENCES).shape == (1, 3, 16, 2, 4)
    assert "vace_in_dim = 16" in error(block, DEPTH[:, :, :9], mask=DEPTH[:, :, :9].abs())


@pytest.mark.parametrize("vace_in_dim", [0, 32, 80, 97])
def test_other_channel_counts_are_refused(vace_in_dim: int) -> None:
    with pytest.raises(ConfigError, match=f"must be 96 .* or 16 .*, got {vace_in_dim}"):
        make_block(vace_in_dim=vace_in_dim)


def test_sizes_must_fit_the_autoencoder() -> None:
    with pytest.raises(ConfigError, match="multiples of 8, got 20x32"):
        VaceEncodingBlock(make_block().autoencoder, height=20, width=32)


def test_other_chunk_lengths_follow_the_same_rule() -> None:
    block = make_block(num_frame_per_block=2)
    close(run(block, [DEPTH[:, :, :5], DEPTH[:, :, 5:13]]), offline(block, DEPTH[:, :, :13]))
    assert "Expected 8 depth frames (num_frame_per_block=2 *" in error(block, DEPTH[:, :, :12])


# --- several control videos


def both(depth: Tensor | None, gray: Tensor | None) -> tuple[ControlVideo | None, ControlVideo | None]:
    shown = [None if each is None else ControlVideo(each, 1.0) for each in (depth, gray)]
    return shown[0], shown[1]


GRAY = clip(3, 33, seed=11)


def test_each_video_is_encoded_as_it_would_be_alone(block: VaceEncodingBlock) -> None:
    state, parts = None, []
    for depth, gray in zip(chunks(DEPTH), chunks(GRAY), strict=True):
        control, state = block.encode_videos(both(depth, gray), state)
        assert control.shape == (2, 3, 96, 2, 4)
        parts.append(control)
    got = torch.cat(parts, dim=1)
    assert torch.equal(got[:1], run(block, chunks(DEPTH)))
    assert torch.equal(got[1:], run(block, chunks(GRAY)))


def test_law_frame_k_of_a_video_that_comes_and_goes_is_output_frame_k(block: VaceEncodingBlock) -> None:
    """While it is away it was mid-grey, however long, and the other one does not feel it."""
    shown = [(0, 1, 0), (1, 0, 1)]
    parts, state = [list[Tensor](), list[Tensor]()], None
    for index, pair in enumerate(zip(chunks(DEPTH), chunks(GRAY), strict=True)):
        videos = both(*(each if shown[n][index] else None for n, each in enumerate(pair)))
        control, state = block.encode_videos(videos, state)
        parts[0 if shown[0][index] else 1].append(control)
    for n, video in enumerate((DEPTH, GRAY)):
        seen = [part * on for part, on in zip(chunks(video), shown[n], strict=True)]
        wanted = offline(block, torch.cat(seen, dim=2))
        of_chunk = [wanted[:, 3 * index : 3 * index + 3] for index in range(3) if shown[n][index]]
        close(torch.cat(parts[n], dim=1), torch.cat(of_chunk, dim=1))


def test_an_unguided_chunk_keeps_all_videos_aligned(block: VaceEncodingBlock) -> None:
    first, second, third = zip(chunks(DEPTH), chunks(GRAY), strict=True)
    _, state = block.encode_videos(both(*first), None)
    control, _ = block.encode_videos(both(*third), block.skip(state))
    for n in range(2):
        video = torch.cat([first[n], torch.zeros_like(second[n]), third[n]], dim=2)
        close(control[n : n + 1], offline(block, video)[:, 6:])


def test_references_alone_leave_every_video_aligned(block: VaceEncodingBlock) -> None:
    first, second, third = zip(chunks(DEPTH), chunks(GRAY), strict=True)
    _, state = block.encode_videos(both(*first), None)
    guided, state = block("r2v", state, ref_images=REFERENCES[:1])
    assert guided is not None and len(guided.frames) == 1
    control, _ = block.encode_videos(both(*third), state)
    for n in range(2):
        video = torch.cat([first[n], torch.zeros_like(second[n]), third[n]], dim=2)
        close(control[n : n + 1], offline(block, video)[:, 6:])


def test_interleaved_streams_of_two_videos_do_not_touch_each_other(block: VaceEncodingBlock) -> None:
    clips = [(DEPTH, GRAY), (clip(1, 33, seed=4), clip(3, 33, seed=5))]
    states: list[ControlState | None] = [None, None]
    parts: list[list[Tensor]] = [[], []]
    for index in range(3):
        for stream, pair in enumerate(clips):
            videos = both(*(chunks(video)[index] for video in pair))
            control, states[stream] = block.encode_videos(videos, states[stream])
            parts[stream].append(control)
    for stream, pair in enumerate(clips):
        got = torch.cat(parts[stream], dim=1)
        for n, video in enumerate(pair):
            assert torch.equal(got[n : n + 1], run(block, chunks(video)))


def test_a_mask_is_for_all_videos_and_keeps_one_picture(block: VaceEncodingBlock) -> None:
    camera, mask = clip(3, 9, seed=6), torch.zeros(1, 1, 9, *SIZE, dtype=torch.float64)
    mask[..., :16] = 1
    given = both(DEPTH[:, :, :9], GRAY[:, :, :9])
    control, _ = block.encode_videos(given, None, mask=mask, source=camera)
    for n, video in enumerate((DEPTH, GRAY)):
        alone, _ = block.encode_depth(video[:, :, :9], None, mask=mask, source=camera)
        close(control[n : n + 1], alone)
    unnamed, _ = block.encode_videos(given, None, mask=mask)
    close(unnamed, block.encode_videos(given, None, mask=mask, source=DEPTH[:, :, :9])[0])


def test_videos_bring_their_scales_and_depth_alone_the_calls(block: VaceEncodingBlock) -> None:
    videos = (None, ControlVideo(GRAY[:, :, :9], 0.25, "gray"), ControlVideo(DEPTH[:, :, :9], 2.0))
    control, _ = block("depth", None, vace_input=videos)
    assert control is not None and control.scales == (0.25, 2.0)
    control, _ = block("depth", None, vace_input=DEPTH[:, :, :9], vace_context_scale=0.5)
    assert control is not None and control.scales == (0.5,)


def test_the_video_at_fault_is_named(block: VaceEncodingBlock) -> None:
    bad = ControlVideo(GRAY[:, :, :9] * float("nan"), 1.0, "gray")
    with pytest.raises(ValueError, match="Expected finite gray values within"):
        block.encode_videos((ControlVideo(DEPTH[:, :, :9], 1.0), bad), None)
    short = ControlVideo(GRAY[:, :, :8], 1.0, "gray")
    with pytest.raises(ValueError, match=r"Expected 12 gray frames .* got 8 frames"):
        block.encode_videos((ControlVideo(DEPTH[:, :, :9], 1.0), short), None)
    with pytest.raises(ValueError, match="control videos: expected at least one, got none"):
        block.encode_videos((None, None), None)
