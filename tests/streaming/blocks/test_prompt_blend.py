import pytest
import torch

from streaming.api import BlendCurve
from streaming.blocks.prompt_blend import PromptBlend, between

CURVES: tuple[BlendCurve, ...] = ("linear", "slerp")


def embeddings(salt: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(salt)).unbind()


@pytest.mark.parametrize("curve", CURVES)
def test_the_last_step_is_the_target_itself(curve: BlendCurve) -> None:
    start, target = embeddings()
    for chunks in (1, 2, 7, 32):
        blend, places = PromptBlend(start, chunks, curve), []
        while not blend.has_arrived:
            blend = blend.advanced()
            places.append(blend.towards(target))
        assert len(places) == chunks and places[-1] is target
        assert not any(torch.equal(place, target) or torch.equal(place, start) for place in places[:-1])


def test_a_straight_blend_is_as_long_as_its_ends() -> None:
    start, target = embeddings()
    place = between(3 * start, target, 0.25, "linear")
    torch.testing.assert_close(place.norm(), 0.75 * 3 * start.norm() + 0.25 * target.norm())


def test_a_turning_blend_keeps_every_tokens_length_and_turns_evenly() -> None:
    start, target = embeddings()
    places = [between(start, target, step / 4, "slerp") for step in range(5)]
    for step, place in enumerate(places):
        torch.testing.assert_close(
            place.norm(dim=-1), torch.lerp(start.norm(dim=-1), target.norm(dim=-1), step / 4)
        )
    turns = [torch.cosine_similarity(a, b, dim=-1).acos() for a, b in zip(places, places[1:], strict=False)]
    for turn in turns[1:]:
        torch.testing.assert_close(turn, turns[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("curve", CURVES)
def test_a_token_that_one_prompt_lacks_grows_from_zero(curve: BlendCurve) -> None:
    start, target = embeddings()
    start[4:] = 0
    place = between(start, target, 0.5, curve)
    assert (place[4:].norm(dim=-1) > 0).all() and place.isfinite().all()
    torch.testing.assert_close(torch.cosine_similarity(place[4:], target[4:], dim=-1), torch.ones(2))


def test_a_token_that_one_prompt_lacks_grows_and_shrinks_evenly() -> None:
    start, target = embeddings()
    start[4:] = 0
    for one, other, share in ((start, target, 0.25), (target, start, 0.75)):
        place = between(one, other, 0.25, "slerp")
        torch.testing.assert_close(place[4:], share * target[4:])


def test_tokens_without_an_arc_go_straight() -> None:
    """The same direction has no turn, and the opposite one has too many."""
    start = embeddings()[0]
    torch.testing.assert_close(between(start, 3 * start, 0.5, "slerp"), 2 * start)
    torch.testing.assert_close(between(start, -start, 0.25, "slerp"), 0.5 * start)


@pytest.mark.parametrize("curve", CURVES)
def test_half_precision_is_kept_and_worked_out_in_full(curve: BlendCurve) -> None:
    start, target = (1000 * part for part in embeddings())
    place = between(start.bfloat16(), target.bfloat16(), 0.5, curve)
    assert place.dtype == torch.bfloat16
    wanted = between(start.bfloat16().float(), target.bfloat16().float(), 0.5, curve)
    torch.testing.assert_close(place.float(), wanted, rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("chunks", "curve", "named"),
    [
        (0, "slerp", "blend_chunks must be 1 ... 32, got 0"),
        (33, "slerp", "got 33"),
        (2.5, "slerp", "got 2.5"),
        (True, "slerp", "got True"),
        (4, "ease", "blend_curve must be linear or slerp, got 'ease'"),
    ],
)
def test_what_is_no_blend_is_named(chunks: int, curve: BlendCurve, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        PromptBlend(embeddings()[0], chunks, curve)
