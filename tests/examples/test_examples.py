"""The examples do what they say: one on a server over loopback, one on the built-in model."""

import asyncio
import re
import runpy
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from examples.publish_file import publish
from server.settings import load_settings
from tests.server.conftest import loopback, quiet_aioice  # noqa: F401 -- fixtures
from tests.server.fakes import HEIGHT, WIDTH, FakeEngineModule
from tests.server.running import PATIENCE_S, running_server

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PROMPT = "a statue of molten gold"


@pytest.fixture
def clip(tmp_path) -> Path:
    """Three seconds of grey that gets brighter."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(90):
            pixels = np.full((120, 160, 3), 2 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode(None))
    return path


async def test_a_file_is_published_and_the_painted_one_saved(clip, tmp_path, capsys):
    engine, target = FakeEngineModule(), tmp_path / "painted.mp4"
    async with running_server(load_settings({"max_fps": 30}), engine) as server:
        await server.worker.ready()
        await asyncio.wait_for(publish(str(clip), str(target), PROMPT, server.url, tail=1.0), PATIENCE_S)
        assert (await server.json("/api/info"))["sessions"] == 0
    with av.open(str(target)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) > 40 and pictures[-1].shape == (HEIGHT, WIDTH, 3)
    # The fake engine paints the prompt's length in green.
    assert abs(float(pictures[-1][..., 1].mean()) - len(PROMPT)) < 6
    assert '"applied"' in capsys.readouterr().out


async def test_a_server_that_refuses_is_quoted(clip, tmp_path):
    engine = FakeEngineModule(load_error=ValueError("no such preset: x"))
    async with running_server(load_settings({}), engine) as server:
        with pytest.raises(Exception, match="cannot load"):
            await server.worker.ready()
        with pytest.raises(SystemExit, match="the server refuses: .*cannot load"):
            await publish(str(clip), str(tmp_path / "x.mp4"), PROMPT, server.url)


def test_the_python_api_paints_a_moving_picture(tmp_path, monkeypatch):
    """As `python examples/python_api.py` runs it, but in this process, which has torch already."""
    target = tmp_path / "painted.webp"
    monkeypatch.setattr(sys, "argv", ["examples/python_api.py", str(target), "2"])
    runpy.run_path(str(ROOT / "examples" / "python_api.py"), run_name="__main__")
    with Image.open(target) as image:
        assert (image.n_frames, image.size) == (9 + 12, (256, 144))
        assert np.asarray(image.convert("RGB")).std() > 10, "something is to be seen"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_to_run_it(path):
    text = path.read_text(encoding="utf-8")
    assert re.search(rf"^python examples/{path.name} ", text, re.MULTILINE)
    body = text.partition('"""\n\n')[2]
    code = [line for line in body.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(code) <= 35
