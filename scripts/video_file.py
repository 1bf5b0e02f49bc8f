"""Video files: pictures out of one, and into another that keeps their times and the sound beside them.

    with VideoReader(source) as clip, VideoWriter(target, like=clip) as out:
        for picture in clip.pictures():
            out.write(replace(picture, pixels=changed(picture.pixels)))

What cannot be read or written raises VideoFileError, whose text names the file.
"""

import os
import struct
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
from av.container import InputContainer
from av.error import FFmpegError
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from scripts.clip_timeline import ClipTimeline

# Kinds of file that keep the time of every picture; coder and options: hardly to be told from the original.
_H264 = ("h264", {"crf": "18"})
_VP9 = ("vp9", {"crf": "24", "b:v": "0", "deadline": "realtime", "cpu-used": "5"})
KINDS = {".mp4": _H264, ".m4v": _H264, ".mov": _H264, ".mkv": _H264, ".webm": _VP9}
RATE_IF_UNKNOWN = Fraction(25)
PRIMING = Fraction(1, 10)  # seconds of sound before the first picture that belong to its coding


class VideoFileError(Exception):
    """A file that cannot be read or written as a video; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame of a clip."""

    pixels: NDArray[np.uint8]  # (H, W, 3) RGB, upright, with square pixels
    pts: int  # when it is shown, in the clip's time base, about 0 first; rises from picture to picture
    seconds: float  # the same, counted from the clip's first picture


class VideoReader:
    """The first video stream of a file. Raises VideoFileError when there is none, or not one picture of it.

    `damage` says what of the file could not be read, once the pictures have been; None: nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: str | None = None
        if not path.is_file():
            raise VideoFileError(f"{path}: no such file")
        with _explained(f"{path}: not a video that can be read"):
            self._container = self._open()
        try:
            stream = _video_of(self._container, path)
            self._origin = self._first_time()
        except VideoFileError:
            self._container.close()
            raise
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
        """The first sound whose coding is known at all."""
        return _audio_of(self._container)

    @property
    def has_unknown_audio(self) -> bool:
        return self.audio is None and bool(self._container.streams.audio)

    def pictures(self) -> Iterator[Picture]:
        """All pictures, in the order in which they are shown; once."""
        step = max(1, round(1 / (self.rate * self.time_base)))
        first, last = 0, None
        for frame in self._frames():
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
        with _explained(f"{self.path}: broken"), self._open() as container:
            audio, last = _audio_of(container), None
            for packet in self._packets(container):
                # The last packet of a demuxer is an empty one that only tells decoders to finish.
                if audio is None or packet.stream.index != audio.index or packet.dts is None:
                    continue
                if last is not None and packet.dts <= last:  # behind a break: the sound before was longer
                    packet.dts = last + 1
                    packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
                last = packet.dts
                yield packet

    def _open(self) -> InputContainer:
        return av.open(_address(self.path))

    def _packets(self, container: InputContainer) -> Iterator[Packet]:
        """Of pictures and sound, in the file's order, on one timeline; they end where the file cannot be read
        any more."""
        # By its number, so that both looks at the file pass the same packets.
        streams = [_video_of(container, self.path), _audio_of(container)]
        timeline = ClipTimeline(self._origin, may_leap=bool(container.format.flags & Flags.ts_discont.value))
        packets = container.demux([stream for stream in streams if stream is not None])
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except FFmpegError as error:
                self.damage = f"it cannot be read to its end: {_reason(error)}"
                return
            timeline.place(packet)
            yield packet

    def _frames(self) -> Iterator[av.VideoFrame]:
        lost = 0
        for packet in self._packets(self._container):
            if packet.stream.index != self._stream.index:
                continue
            try:
                frames = self._stream.codec_context.decode(packet if packet.size else None)
            except FFmpegError as error:
                lost += 1
                self.damage = f"{lost} pictures of it are damaged: {_reason(error)}"
                continue
            yield from frames

    def _first_time(self) -> Fraction:
        """Seconds, by the file's clock, at which it starts. Raises VideoFileError if it has no picture."""
        with _explained(f"{self.path}: {self._unreadable}"), self._open() as container:
            stream, audio = _video_of(container, self.path), _audio_of(container)
            frame = next(container.decode(stream), None)
            sound = None  # a stream tells nothing once its container is closed
            if audio is not None and audio.start_time is not None and audio.time_base is not None:
                sound = Fraction(audio.start_time * audio.time_base)
        if frame is None:
            raise VideoFileError(f"{self.path}: has no picture that can be read")
        first = Fraction(0) if frame.pts is None or not frame.time_base else frame.pts * frame.time_base
        return sound if sound is not None and sound < first - PRIMING else Fraction(first)

    @property
    def _unreadable(self) -> str:
        with self.path.open("rb") as file:
            is_animated = b"WEBPVP8X" in (head := file.read(64)) and b"ANIM" in head
        return "an animated WebP, which cannot be read; convert it, as to GIF" if is_animated else "broken"

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
            self._container = av.open(_address(self._part), "w", container_options=options)
        self._video = self._add_video(like)
        self._audio = self._add_audio(like.audio)
        if like.has_unknown_audio:
            self.lost_audio = "it is coded in a way that is not known here"
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
            at = _seconds(self._next_packet)
            self._next_packet.stream = self._audio
            try:
                self._container.mux(self._next_packet)
            except FFmpegError as error:  # the pictures go on, and are kept
                self.lost_audio = f"from {at:.1f} s on, as it cannot be written: {_reason(error)}"
                self._packets = iter(())
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
    picture = np.asarray(frame.to_ndarray(format="rgb24", width=width), np.uint8)
    return np.ascontiguousarray(_upright(picture, frame))


def _upright(picture: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Phones film sideways, front cameras mirrored, and leave the turning to the player.

    A display matrix is nine 32-bit numbers: a pixel at (x, y) is shown at (a x + c y, b x + d y).
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    a, b, _, c, d, *_ = struct.unpack("9i", bytes(matrix))
    if abs(b) + abs(c) > abs(a) + abs(d):  # by a quarter
        picture, right, down = picture.swapaxes(0, 1), c, b
    else:
        right, down = a, d
    return picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def _address(path: Path) -> str:
    """Libav takes what stands before a colon for a protocol, unless one is named."""
    return f"file:{path}"


def _video_of(container: InputContainer, path: Path) -> VideoStream:
    """The first that is no cover. Raises VideoFileError."""
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        raise VideoFileError(f"{path}: has no video stream")
    if moving[0].codec_context is None:  # pyright: ignore[reportUnnecessaryComparison] -- it is, of an unknown codec
        raise VideoFileError(f"{path}: its video is coded in a way that is not known here")
    return moving[0]


def _audio_of(container: InputContainer) -> AudioStream | None:
    return next((s for s in container.streams.audio if s.codec_context is not None), None)  # pyright: ignore[reportUnnecessaryComparison] -- it is, of an unknown codec


def _seconds(packet: Packet) -> float:
    return float((packet.dts or 0) * (packet.time_base or 0))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """FFmpeg's errors (and the system's) as VideoFileError."""
    try:
        yield
    except (FFmpegError, OSError, ValueError) as error:
        raise VideoFileError(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError | FFmpegError) and error.strerror else str(error)
