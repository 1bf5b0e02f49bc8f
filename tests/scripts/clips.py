"""Small clips made with PyAV: picture n is grey level `level(n)`, brighter above than below."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from av.stream import Disposition

SIZE = (48, 64)  # height, width
TIME_BASE = Fraction(1, 30000)


def level(number: int) -> int:
    return 30 + 5 * (number % 40)


def write_clip(
    path: Path,
    times: Sequence[int],
    *,
    audio: str | None = None,
    turned: int = 0,
    aspect: Fraction = Fraction(1),
    quarters: bool = False,
    sound_from: int = 0,
) -> Path:
    """Pictures at `times` (in TIME_BASE), with a second of sound coded as `audio`, from `sound_from` seconds.

    `turned`: degrees counterclockwise that players turn it by; `aspect`: width of a pixel; `quarters`:
    brighter at the left, too, so that no turning and mirroring looks like another.
    """
    with av.open(str(path), "w", container_options={"movie_timescale": "30000"}) as container:
        video = container.add_stream("h264", rate=Fraction(30000, 1001), options={"crf": "10"})
        video.height, video.width = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = TIME_BASE
        video.codec_context.sample_aspect_ratio = aspect
        if turned:
            video.set_display_rotation(turned)
        sound = container.add_stream(audio, rate=48000) if audio else None
        for number, time in enumerate(times):
            pixels = np.full((*SIZE, 3), level(number), np.uint8)
            pixels[: SIZE[0] // 2] += 20
            if quarters:
                pixels[:, : SIZE[1] // 2] += 70
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts, frame.time_base = time, TIME_BASE
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound is not None:
            container.mux(sound.encode(_tone(sound_from)))
            container.mux(sound.encode())
    return path


def write_sound(path: Path) -> Path:
    """A file with sound and a cover: no video, though the cover is stored as one."""
    with av.open(str(path), "w", format="mp4") as container:
        sound, cover = container.add_stream("aac", rate=48000), container.add_stream("mjpeg")
        cover.height, cover.width = SIZE
        cover.pix_fmt, cover.disposition = "yuvj420p", Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((*SIZE, 3), np.uint8))))
        container.mux(sound.encode(_tone()))
        container.mux(sound.encode())
    return path


def packets(path: Path) -> list[tuple[float, bytes]]:
    """The coded sound of a file: seconds and bytes of every packet."""
    with av.open(str(path)) as container:
        found: list[Packet] = [p for p in container.demux(audio=0) if p.dts is not None]
        return [(float(p.pts * p.time_base), bytes(p)) for p in found]


def number_of(pixels: np.ndarray) -> float:
    """Which picture of a clip this is, if its grey level survived."""
    return (float(pixels[pixels.shape[0] * 5 // 8 :].mean()) - 30) / 5


def _tone(seconds: int = 0) -> av.AudioFrame:
    wave = 0.3 * np.sin(np.arange(48000, dtype=np.float32) / 20)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, 48000 * seconds, Fraction(1, 48000)
    return frame
