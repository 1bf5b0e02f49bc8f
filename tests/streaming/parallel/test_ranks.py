"""Laws of ranks: they say the same as one process alone, whatever a stream is asked for."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from streaming.api import WeightedPrompts
from streaming.blocks.text_conditioning import parse_prompts
from streaming.controls.control_videos import ControlVideo
from streaming.depth.estimators import EdgesDepth
from streaming.parallel.launch import launched
from streaming.parallel.ranks import Ranks
from streaming.pipeline import LongLivePipeline
from streaming.session import StreamSession
from tests.streaming.parallel import led

GOLD, ICE = parse_prompts("gold"), parse_prompts("ice")
NAMES = (
    "guided by depth",
    "guided by depth and gray",
    "prompt switch",
    "reference",
    "reference repeated",
    "unguided",
    "blend",
    "after a cut",
    "after a reset",
    "turned",
    "turned with a reference",
)


def picture(salt: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(salt)) * 2 - 1


class Stream:
    """What one user asks for, chunk by chunk; latents and pictures of each."""

    def __init__(self, pipeline: LongLivePipeline, salt: int) -> None:
        self.pipeline, self.salt, self.index = pipeline, salt, 0
        self.session: StreamSession = pipeline.open_session(seed=salt)
        self.size = (32, 48)

    def chunk(self, prompts: WeightedPrompts = GOLD, **asked: object) -> tuple[Tensor, Tensor]:
        self.index += 1
        frames = self.pipeline.generate(self.session, prompts, **asked)  # pyright: ignore[reportArgumentType]
        assert self.session.recent is not None
        return self.session.recent[:, -3:].clone(), frames

    @property
    def depth(self) -> dict[str, object]:
        video = picture(100 * self.salt + self.index, 1, 1, 12, *self.size)
        return {"guidance_mode": "depth", "vace_input": video}

    @property
    def depth_and_gray(self) -> dict[str, object]:
        shown = (picture(100 * self.salt + self.index + n, 1, 3, 12, *self.size) for n in (30, 60))
        return {"guidance_mode": "depth", "vace_input": [ControlVideo(video, 0.5) for video in shown]}

    @property
    def reference(self) -> dict[str, object]:
        return self.depth | {
            "guidance_mode": "depth+r2v",
            "ref_images": [picture(self.salt, 3, *self.size)],
            "references_every_chunk": True,
        }


def chunks_of(pipeline: LongLivePipeline) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """All that streams may be asked for, of two that take turns: the clean pass of each comes after the
    other's chunk. Both have gone round their rings by the end."""
    streams = Stream(pipeline, 1), Stream(pipeline, 2)
    made: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in NAMES}
    plan = [
        ("guided by depth", lambda s: s.chunk(**s.depth)),
        ("guided by depth", lambda s: s.chunk(**s.depth)),
        ("guided by depth and gray", lambda s: s.chunk(**s.depth_and_gray)),
        ("guided by depth", lambda s: s.chunk(**s.depth)),
        ("prompt switch", lambda s: s.chunk(ICE, **s.depth)),
        ("reference", lambda s: s.chunk(ICE, **s.reference)),
        ("reference repeated", lambda s: s.chunk(ICE, **s.reference)),
        ("unguided", lambda s: s.chunk(ICE)),
        ("blend", lambda s: s.chunk(GOLD, transition="blend", blend_chunks=2, **s.depth)),
        ("blend", lambda s: s.chunk(GOLD, **s.depth)),
        ("after a cut", lambda s: s.chunk(ICE, transition="cut", **s.depth)),
        ("after a cut", lambda s: s.chunk(ICE, **s.depth)),
    ]
    for name, ask in plan:
        made[name] += [ask(stream) for stream in streams]
    streams[0].session.reset()
    made["after a reset"] += [streams[0].chunk(**streams[0].depth) for _ in range(2)]
    del streams  # the next stream has one of their rings
    last = Stream(pipeline, 3)
    made["after a reset"] += [last.chunk(**last.depth) for _ in range(2)]
    last.size = (48, 32)
    made["turned"] += [last.chunk(ICE, orientation="upright", **last.depth) for _ in range(4)]
    made["turned"] += [last.chunk(GOLD, **last.depth)]
    made["turned with a reference"] += [last.chunk(GOLD, **last.reference)]
    return made


@pytest.fixture(scope="module")
def alone() -> dict[str, list[tuple[Tensor, Tensor]]]:
    return chunks_of(led.built())


@pytest.fixture(scope="module", params=[2, 3, 4], ids="{}_ranks".format)
def led_by(request: pytest.FixtureRequest) -> Iterator[tuple[Ranks, dict[str, list[tuple[Tensor, Tensor]]]]]:
    """Of 2 ranks passes over a full window are recorded."""
    records = request.param == 2
    follow = led.follow_records if records else led.follow_plain
    with launched(request.param, "cpu", follow) as ranks:
        pipeline = led.built(ranks, records=records)
    yield ranks, chunks_of(pipeline)
    assert ranks.followers is not None
    ranks.followers.close()


@pytest.mark.parametrize("name", NAMES)
def test_ranks_agree_with_one_process(
    led_by: tuple[Ranks, dict[str, list[tuple[Tensor, Tensor]]]],
    alone: dict[str, list[tuple[Tensor, Tensor]]],
    name: str,
) -> None:
    for got, wanted in zip(led_by[1][name], alone[name], strict=True):
        for mine, theirs in zip(got, wanted, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("frames", "size"), [(9, (32, 48)), (12, (48, 32)), (1, (32, 48))])
def test_ranks_share_a_chunks_depth(
    led_by: tuple[Ranks, dict[str, list[tuple[Tensor, Tensor]]]], frames: int, size: tuple[int, int]
) -> None:
    """Each rank sees its own pictures alone, of either shape: edges are those of each picture, whichever
    rank's."""
    camera = picture(frames, frames, 3, *size)
    wanted = EdgesDepth(torch.device("cpu")).estimate(camera)
    torch.testing.assert_close(led.shared_edges(led_by[0]).estimate(camera), wanted, atol=1e-5, rtol=1e-5)


def test_another_prompt_control_or_reference_is_another_picture(
    alone: dict[str, list[tuple[Tensor, Tensor]]],
) -> None:
    """Else agreeing on them would say nothing."""
    first = alone["guided by depth"][-2][1]
    for name in ("prompt switch", "reference", "unguided", "guided by depth and gray"):
        assert (alone[name][0][1] - first).abs().mean() > 1e-3, name
