"""The script that measures a failover tells a stream that went on from one that began anew."""

import asyncio

import torch

from scripts.failover_seam import Camera, measure, table
from streaming.depth.estimators import EdgesDepth
from streaming.engine import StreamEngine
from streaming.pipeline import LongLivePipeline


def test_a_restored_stream_is_liker_to_the_one_never_moved_than_one_begun_anew():
    cpu = torch.device("cpu")
    pipeline = LongLivePipeline({"height": 32, "width": 48}, cpu, torch.float32)
    engine = StreamEngine(pipeline, EdgesDepth(cpu), "edges")
    seam = asyncio.run(measure(engine, "a statue of molten gold", seed=1, before=5, after=2))
    assert seam.restored_db[0] > seam.anew_db[0] + 10
    assert 0 < seam.put_bytes < seam.whole_bytes
    assert seam.without_pictures_s > 0 and seam.chunk_ms > 0
    said = table(seam)
    assert f"{seam.restored_db[1]:5.1f} dB" in said and "lost after 5 chunks" in said


def test_the_camera_gives_every_stream_the_same_pictures():
    one, other = Camera(32, 48), Camera(32, 48)
    first, later = one.take(9), one.take(12)
    assert all((a == b).all() for a, b in zip(first + later, other.take(21), strict=True))
    assert (first[0] != later[0]).any()
