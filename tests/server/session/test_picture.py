from dataclasses import replace
from datetime import UTC, datetime

from server.protocol.replies import ControlsState
from server.protocol.requests import WeightedPrompt
from server.session.parameters import Parameters
from tests.server.fakes import INFO
from tests.server.pictures import picture

PROMPTS = (WeightedPrompt(text="gold", weight=2), WeightedPrompt(text="clay"))


def test_a_picture_tells_what_its_chunk_was_made_with():
    """The seed of its generation and the strength in effect, not those asked for."""
    strengths = ControlsState(gray=0.5, lines=0.25)
    asked = Parameters(prompts=PROMPTS, seed=3, current_seed=8, scale=1.5, controls=strengths)
    shown = picture(chunk=5, frame=77, sequence=9, parameters=asked, guidance_scale=0.75, noise_scale=0.5)
    before = datetime.now(UTC)
    told = shown.snapshot(INFO)
    assert (told.model, told.prompts, told.seed) == (INFO.model, PROMPTS, 8)
    assert (told.chunk, told.frame, told.guidance_scale) == (5, 77, 0.75)
    assert told.noise_scale == 0.5
    assert told.controls == strengths
    assert told.steps == len(INFO.steps), "the model's own"
    assert before <= told.time <= datetime.now(UTC)
    fewer = replace(shown, parameters=replace(asked, steps=(1000, 250)))
    assert fewer.snapshot(INFO).steps == (1000, 250)
