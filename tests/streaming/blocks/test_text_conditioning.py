import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streaming.blocks.text_conditioning import TextConditioning, blend, parse_prompts
from streaming.config import WanConfig
from streaming.modules.causal_model import CausalWanModel


@given(st.lists(st.tuples(st.text(), st.floats(0, 1e6)), min_size=1, max_size=5))
def test_weights_sum_to_one_and_keep_their_ratio(items: list[tuple[str, float]]) -> None:
    pairs = parse_prompts([{"text": text, "weight": weight} for text, weight in items])
    assert [text for text, _ in pairs] == [text for text, _ in items]
    assert sum(weight for _, weight in pairs) == pytest.approx(1)
    total = sum(weight for _, weight in items)
    if total:
        assert [w * total for _, w in pairs] == pytest.approx([w for _, w in items], rel=1e-6, abs=1e-300)


def test_every_form_of_the_same_prompt_is_the_same() -> None:
    forms = [
        "a cat",
        ["a cat"],
        [{"text": "a cat"}],
        [{"text": "a cat", "weight": 100}],
        [{"text": "a cat", "weight": 0}],
    ]
    assert {parse_prompts(form) for form in forms} == {(("a cat", 1.0),)}


@pytest.mark.parametrize(
    ("prompts", "named"),
    [
        ([], "at least one"),
        ([{"weight": 1}], r"prompts\[0\] must be a text"),
        (["a", {"text": "b", "weight": -1}], r"prompts\[1\].weight .* got -1"),
        ([{"text": "b", "weight": float("nan")}], r"prompts\[0\].weight .* got nan"),
        ([{"text": "b", "weight": "heavy"}], "got 'heavy'"),
        ([{"text": "b", "weight": True}], "got True"),
        ([{"text": "b", "weight": float("inf")}], "got inf"),
    ],
)
def test_bad_prompts_are_named(prompts: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_prompts(prompts)  # type: ignore[arg-type]


def test_a_blend_is_as_long_as_its_parts() -> None:
    """The plain mean of unlike embeddings would be shorter than anything the model was trained on."""
    a, b = torch.randn(2, 4, 8).unbind()
    mixed = blend([a, b], [0.25, 0.75])
    torch.testing.assert_close(mixed.norm(), 0.25 * a.norm() + 0.75 * b.norm())
    torch.testing.assert_close(mixed / mixed.norm(), (0.25 * a + 0.75 * b) / (0.25 * a + 0.75 * b).norm())
    assert torch.equal(blend([a], [1.0]), a)


def conditioning(asked: list[str]) -> TextConditioning:
    """Notes in `asked` what it has to encode."""
    torch.manual_seed(0)
    config = WanConfig(dim=24, ffn_dim=40, num_heads=2, num_layers=2, freq_dim=16, text_dim=10, text_len=5)

    def encode(prompts: list[str]) -> torch.Tensor:
        asked.extend(prompts)
        return torch.randn(len(prompts), 5, 10)

    return TextConditioning(encode, CausalWanModel(config))


def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    """4 contexts, 141 MB each at LongLive's size, and 32 embeddings."""
    asked: list[str] = []
    text = conditioning(asked)
    prompts = [parse_prompts(f"{number}") for number in range(5)]
    contexts = [text(prompt) for prompt in prompts]
    assert text(prompts[1]) is contexts[1] and text(prompts[0]) is not contexts[0]
    asked.clear()
    text.prefetch(f"more {number}" for number in range(28))
    text.prefetch(["4", "2"])
    assert len(asked) == 28, "the newest 32 are known"
    text.prefetch(["1"])
    assert asked[28:] == ["1"], "the one longest not asked for is gone"


def test_a_prompt_is_encoded_once() -> None:
    asked: list[str] = []
    text = conditioning(asked)
    first = text(parse_prompts("gold"))
    text(parse_prompts(["gold", "clay"]))
    assert text(parse_prompts([{"text": "gold", "weight": 3}])) is first
    assert asked == ["gold", "clay"]
    text.prefetch(["gold", "glass"])
    assert asked == ["gold", "clay", "glass"]
    text(parse_prompts("glass"))
    assert asked == ["gold", "clay", "glass"]
