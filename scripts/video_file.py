"""Video files: pictures out of one, and into another that keeps their times and the sound beside them.

    with VideoReader(source) as clip, VideoWriter(target, like=clip) as out:
        for picture in clip.pictures():
            out.write(replace(picture, pixels=changed(picture.pixels)))

What cannot be read or written raises VideoFileError, whose text names the file.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from numpy.typing import NDArray

# Kinds of file that keep the time of every picture; coder and options: hardly to be told from the original.
_H264 = ("h264", {"crf": "18"})
_VP9 = ("vp9", {"crf": "24", "b:v": "0", "deadline": "realtime", "cpu-used": "5"})
KINDS = {".mp4": _H264, ".m4v": _H264, ".mov": _H264, ".mkv": _H264, ".webm": _VP9}
RATE_IF_UNKNOWN = Fraction(25)


class VideoFileError(Exception):
    """A file that cannot be read or written as a video; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame of a clip."""

    pixels: NDArray[np.uint8]  # (H, W, 3) RGB, upright, with square pixels
    pts: int  # when it is shown, in the clip's time base; rises from picture to picture
    seconds: float  # the same, counted from the clip's first picture


class VideoReader:
    """The first video stream of a file. Raises VideoFileError when there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise VideoFileError(f"{path}: no such file")
        with _explained(f"{path}: not a video that can be read"):
            self._container = av.open(str(path))
        moving = (s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic)
        stream = next(moving, None)
        if stream is None:
            self._container.close()
            raise VideoFileError(f"{path}: has no video stream")
        stream.thread_type = "AUTO"
        self._stream = stream
        self.rate = Fraction(stream.average_rate or stream.guessed_rate or RATE_IF_UNKNOWN)
        self.time_base = Fraction(stream.time_base or 1 / self.rate)

    @property
    def num_frames(self) -> int:
        """What the file says of itself, an estimate from its duration, or 0: good for a progress bar."""
        if self._stream.frames or self._stream.duration is None:
            return self._stream.frames
        return round(self._stream.duration * self.time_base * self.rate)

    @property
    def audio(self) -> AudioStream | None:
        return next(iter(self._container.streams.audio), None)

    def pictures(self) -> Iterator[Picture]:
        """All pictures, in the order in which they are shown; once."""
        step = max(1, round(1 / (self.rate * self.time_base)))
        first, last = 0, None
        with _explained(f"{self.path}: broken"):
            for frame in self._container.decode(self._stream):
                pts = frame.pts
                if last is None:
                    first = pts = pts or 0
                else:
                    pts = last + step if pts is None else max(pts, last + 1)
                last = pts
                yield Picture(_pixels(frame, self._aspect), pts, float((pts - first) * self.time_base))

    def audio_packets(self) -> Iterator[Packet]:
        """The sound as it is coded. From a second look at the file, so that it can be read beside the
        pictures."""
        with _explained(f"{self.path}: broken"), av.open(str(self.path)) as container:
            # The last packet of a demuxer is an empty one that only tells decoders to finish.
            yield from (p for p in container.demux(container.streams.audio[0]) if p.dts is not None)

    @property
    def _aspect(self) -> Fraction:
        """Width of a stored pixel, its height being 1."""
        return Fraction(self._stream.sample_aspect_ratio or 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._container.close()


class VideoWriter:
    """A new file with the time base and the sound of `like`; its name says what kind. Any size of picture.

    The file appears under its name when all is written, and not at all after an error. `lost_audio` says why
    the sound cannot come along (None: it does, or there is none). Raises VideoFileError, before any picture
    is needed, if the file cannot be written.
    """

    def __init__(self, path: Path, *, like: VideoReader) -> None:
        self.path = path
        self.lost_audio: str | None = None
        self._part = path.with_name(f"{path.stem}.part{path.suffix}")
        self._like = like
        if path.exists() and path.samefile(like.path):
            raise VideoFileError(f"{path}: is the input; choose another name for the output")
        if path.suffix.lower() not in KINDS:
            raise VideoFileError(f"{path}: expected a name that ends in {', '.join(KINDS)}")
        with _explained(f"{path}: cannot be written"):
            self._part.open("wb").close()  # libav opens it with the first picture only
            # Without the option, mp4 rounds the time of the first picture to milliseconds.
            options = {"movie_timescale": str(like.time_base.denominator)}
            self._container = av.open(str(self._part), "w", container_options=options)
        self._video = self._add_video(like)
        self._audio = self._add_audio(like.audio)
        self._packets = like.audio_packets() if self._audio else iter(())
        self._next_packet = next(self._packets, None)

    def write(self, picture: Picture) -> None:
        """Pictures come in the order of their `pts`, all of one size, even in both directions."""
        frame = av.VideoFrame.from_ndarray(picture.pixels, format="rgb24")
        frame.pts, frame.time_base = picture.pts, self._like.time_base
        with _explained(f"{self.path}: cannot be written"):
            if not self._video.width:
                self._video.width, self._video.height = frame.width, frame.height
            self._container.mux(self._video.encode(frame))
            self._copy_audio(until=float(picture.pts * self._like.time_base))

    def _add_video(self, like: VideoReader) -> av.VideoStream:
        codec, options = KINDS[self.path.suffix.lower()]
        stream = self._container.add_stream(codec, rate=like.rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = "yuv420p"
        stream.width = stream.height = 0  # those of the first picture
        stream.codec_context.time_base = like.time_base
        return stream

    def _add_audio(self, audio: AudioStream | None) -> AudioStream | None:
        if audio is None:
            return None
        try:
            return self._container.add_stream_from_template(audio)
        except (ValueError, FFmpegError):
            name = audio.codec_context.name
            self.lost_audio = f"{self.path.suffix} files cannot hold {name} audio"
            return None

    def _copy_audio(self, until: float) -> None:
        while self._next_packet is not None and _seconds(self._next_packet) <= until:
            self._next_packet.stream = self._audio
            self._container.mux(self._next_packet)
            self._next_packet = next(self._packets, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_complete = False
        try:
            if error is None:
                with _explained(f"{self.path}: cannot be written"):
                    self._finish()
                is_complete = True
        finally:
            if not is_complete:
                self._part.unlink(missing_ok=True)

    def _finish(self) -> None:
        if not self._video.width:
            raise ValueError("there was not one picture")
        self._container.mux(self._video.encode())
        self._copy_audio(until=float("inf"))
        self._container.close()
        os.replace(self._part, self.path)


def _pixels(frame: av.VideoFrame, aspect: Fraction) -> NDArray[np.uint8]:
    width = max(1, round(frame.width * aspect))
    picture = frame.to_ndarray(format="rgb24", width=width)
    # Phones film sideways and leave the turning, counterclockwise, to the player.
    turned = np.rot90(picture, round(frame.rotation / 90))
    return np.ascontiguousarray(turned, dtype=np.uint8)


def _seconds(packet: Packet) -> float:
    return float((packet.dts or 0) * (packet.time_base or 0))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """FFmpeg's errors (and the system's) as VideoFileError."""
    try:
        yield
    except (FFmpegError, OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise VideoFileError(f"{what}: {reason}") from error
