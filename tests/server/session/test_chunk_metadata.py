from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from server.media.frames import Picture
from server.protocol.requests import WeightedPrompt
from server.session.chunk_metadata import ChunkMetadata
from server.session.parameters import Parameters
from tests.server.fakes import INFO

PROMPTS = (WeightedPrompt(text="gold", weight=2), WeightedPrompt(text="clay"))


def test_a_picture_tells_what_its_chunk_was_made_with():
    """The seed of its generation and the strength in effect, not those asked for."""
    asked = Parameters(prompts=PROMPTS, seed=3, current_seed=8, scale=1.5)
    rgb = np.zeros((4, 6, 3), np.uint8)
    picture = Picture(rgb=rgb, chunk=5, frame=77, sequence=9, captured=0.0, made=0.0)
    before = datetime.now(UTC)
    told = ChunkMetadata(asked, guidance_scale=0.75).of(picture, INFO)
    assert (told.model, told.prompts, told.seed) == (INFO.model, PROMPTS, 8)
    assert (told.chunk, told.frame, told.guidance_scale) == (5, 77, 0.75)
    assert told.steps == INFO.steps, "the model's own"
    assert before <= told.time <= datetime.now(UTC)
    fewer = ChunkMetadata(replace(asked, steps=(1000, 250)), guidance_scale=0.75)
    assert fewer.of(picture, INFO).steps == (1000, 250)
