"""The engine that is measured takes its steps as the model was distilled."""

from scripts.bench.engine import measured_engine


def test_steps_fall_as_the_model_was_distilled() -> None:
    assert measured_engine.falling_steps(4) == (1000, 750, 500, 250)
    assert measured_engine.falling_steps(2) == (1000, 500)
