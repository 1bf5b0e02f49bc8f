"""Snapshot of the output: a PNG whose text says how it was made, so that it can be made again."""

import io
import json
from collections.abc import Mapping
from datetime import UTC

from PIL import Image, PngImagePlugin
from pydantic import AwareDatetime, BaseModel, ConfigDict

from server.media.frames import Rgb
from server.protocol.replies import ControlsState
from server.protocol.requests import WeightedPrompt
from streaming.api import DEFAULT_FIT, CameraFit, Orientation

SOFTWARE = "depthlive"
KEY = "depthlive:"  # before the names of our own; the others are those that the PNG specification suggests


class SnapshotParameters(BaseModel):
    """What a picture was made with, as it was when the picture was shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    prompts: tuple[WeightedPrompt, ...]
    seed: int  # of the generation that the picture belongs to
    chunk: int  # since the last reset or cut
    frame: int  # since the stream began
    guidance_scale: float
    controls: ControlsState
    noise_scale: float
    steps: tuple[int, ...] | int  # of denoising: the timesteps, or how many where they are the model's own
    time: AwareDatetime  # when it was shown
    orientation: Orientation = "wide"  # a default is not written
    fit: CameraFit = DEFAULT_FIT


def encode_png(rgb: Rgb, parameters: SnapshotParameters) -> bytes:
    """The picture, (H, W, 3) uint8, with one iTXt chunk for each parameter. Takes long enough for a thread.

    `Title`, `Software` and `Creation Time` are for people and picture viewers; `depthlive:seed` and its like
    hold text or JSON, which `read_parameters` reads back.
    """
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Title", ", ".join(prompt.text for prompt in parameters.prompts))
    text.add_itxt("Software", SOFTWARE)
    text.add_itxt("Creation Time", parameters.time.astimezone(UTC).isoformat(timespec="milliseconds"))
    for name, value in parameters.model_dump(mode="json", exclude_defaults=True).items():
        written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text.add_itxt(KEY + name, written)
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG", pnginfo=text)
    return out.getvalue()


def read_parameters(text: Mapping[str, str]) -> SnapshotParameters:
    """The parameters in a PNG's text, which Pillow gives as `image.text`.

    Raises KeyError or ValueError for a PNG that is not ours.
    """
    fields = SnapshotParameters.model_fields.items()
    names = [name for name, field in fields if field.is_required() or KEY + name in text]
    values: dict[str, object] = {name: text[KEY + name] for name in names}
    for name in ("prompts", "controls", "steps"):
        values[name] = json.loads(text[KEY + name])
    return SnapshotParameters.model_validate(values)
