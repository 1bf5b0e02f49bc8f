import numpy as np
import pytest

from streaming.api import ChunkResult


@pytest.fixture
def result() -> ChunkResult:
    return ChunkResult(
        frames=np.zeros((9, 4, 6, 3), np.uint8),
        chunk=0,
        first_frame=0,
        frames_in_chunk=9,
        generation=0,
        guidance_scale=1.0,
    )
