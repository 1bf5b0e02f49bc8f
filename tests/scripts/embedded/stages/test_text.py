"""Laws of the text stage: its reader tells looks apart, and a plain caption is read as itself."""

import pytest
import torch

from scripts.embedded.scenes.looks import LOOKS, Paint
from scripts.embedded.stages.text import JUDGED, Reader, attentions, wanted_reading
from scripts.embedded.words.captions import plain_caption
from streaming.checkpoints.models import Models, load_models
from streaming.checkpoints.presets import EMBEDDED


@pytest.fixture(scope="module")
def shipped() -> Models:
    return load_models(EMBEDDED, EMBEDDED.files, device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="module")
def reader(shipped: Models) -> Reader:
    places = attentions(shipped.transformer)
    drawn = torch.Generator().manual_seed(0)
    size = shipped.transformer.config
    queries = [torch.randn(96, size.num_heads, size.head_dim, generator=drawn) for _ in places]
    return Reader(shipped.transformer, queries)


@torch.no_grad()
def test_what_is_read_is_measured_by_its_spread(shipped: Models, reader: Reader) -> None:
    texts = [plain_caption(Paint(look)) for look in LOOKS]
    reader.measure(shipped.text_encoder, texts)
    read = reader.read(shipped.text_encoder, texts)
    assert read.shape[:2] == (len(attentions(shipped.transformer)), len(LOOKS))
    torch.testing.assert_close(read.std((1, 2, 3)), torch.ones(len(read)))
    again = reader.read(shipped.text_encoder, texts[:1])  # alone as among others
    torch.testing.assert_close(again, read[:, :1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_plain_caption_is_read_most_like_itself(shipped: Models, reader: Reader) -> None:
    texts = [plain_caption(Paint(look)) for look in LOOKS]
    plain = reader.read(shipped.text_encoder, texts, JUDGED)
    assert reader.nearest(shipped.text_encoder, texts, plain) == list(range(len(LOOKS)))
    other = [f"a statue made of {LOOKS[n]}" for n in range(3)]
    assert reader.nearest(shipped.text_encoder, other, plain) == [0, 1, 2]


@torch.no_grad()
def test_a_caption_stays_as_it_is_read_unless_for_another_look(shipped: Models, reader: Reader) -> None:
    asked = slice(8)
    meant = ["a statue made of gold", "blue wool", "a robot of chocolate"]
    paints = [Paint("gold"), Paint("wool", "blue"), Paint("lego")]  # the last is taken for another look
    found = wanted_reading(reader, shipped.text_encoder, meant, paints, asked)
    own = reader.read(shipped.text_encoder, meant, asked)
    torch.testing.assert_close(found[:, :2], own[:, :2])
    plain = reader.read(shipped.text_encoder, [plain_caption(paint) for paint in paints], asked)
    chosen = [(found[:, 2] - other[:, 2]).abs().max() < 1e-4 for other in (own, plain)]
    assert sum(bool(choice) for choice in chosen) == 1
