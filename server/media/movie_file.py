"""H.264 in MP4, written picture by picture. For one thread at a time; knows nothing of sessions."""

from fractions import Fraction
from pathlib import Path

import av
from av import VideoFrame
from av.error import FFmpegError
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from server.media.frames import Rgb, Size, letterboxed
from server.media.pacing import CLOCK_RATE_HZ

TIME_BASE = Fraction(1, CLOCK_RATE_HZ)
KEY_SPACING = CLOCK_RATE_HZ  # a second: how exactly a player seeks, and what a crash may cost

# Written in fragments, so that what is on the disk can be played at any moment, and turned into an ordinary
# MP4, which every player and editor knows, when it is closed. Each fragment goes to the disk at once.
CONTAINER = {
    "movflags": "hybrid_fragmented",
    "frag_duration": "1000000",  # microseconds
    "flush_packets": "1",
    "movie_timescale": str(CLOCK_RATE_HZ),  # the default would round times to milliseconds
}
# Fast, as it shares the cores with the stream; no look-ahead, so that little is lost in a crash. The cap is
# what noise costs; pictures of the model need a tenth of it.
CODER = {
    "preset": "superfast",
    "crf": "20",
    "tune": "zerolatency",
    "maxrate": "8M",
    "bufsize": "8M",
    "forced-idr": "1",
}


class MovieFile:
    """A file that grows. Every method raises av.FFmpegError or OSError when it cannot be written."""

    def __init__(self, path: Path, size: Size) -> None:
        """`size` is width and height, rounded down to even numbers: 4:2:0 has no half pixels."""
        self.bytes = 0  # of coded video so far
        self._size = size[0] // 2 * 2, size[1] // 2 * 2
        self._converter = VideoReformatter()
        self._next_key = 0
        self._container = av.open(str(path), "w", format="mp4", container_options=CONTAINER)
        self._stream = self._container.add_stream("libx264", rate=24, options=CODER)  # pyright: ignore[reportUnknownMemberType] -- takes keywords of any type
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        coder = self._stream.codec_context
        coder.time_base = TIME_BASE
        coder.gop_size = 10_000  # key pictures are asked for by time, as the rate of pictures varies
        coder.thread_count = 1

    def write(self, rgb: Rgb, pts: int) -> None:
        """Append a picture, (H, W, 3) uint8; `pts` in 1/90000 s rises. The size of a file cannot change: a
        picture of another one is scaled, between bars where its shape is another."""
        width, height = self._size
        if (rgb.shape[1] // 2 * 2, rgb.shape[0] // 2 * 2) != self._size:
            rgb = letterboxed(rgb, self._size)
        source = VideoFrame.from_ndarray(rgb, format="rgb24")
        frame = self._converter.reformat(source, width=width, height=height, format="yuv420p", threads=1)
        frame.pts, frame.time_base = pts, TIME_BASE
        if pts >= self._next_key:
            frame.pict_type = PictureType.I
            self._next_key = pts + KEY_SPACING
        self._mux(frame)

    def close(self) -> None:
        """Make it an ordinary MP4. Call it once, after an error of `write` too."""
        try:
            self._mux(None)
        finally:
            self._container.close()

    def _mux(self, frame: VideoFrame | None) -> None:
        # av.Packet is generic, and av does not say of what.
        for packet in self._stream.encode(frame):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            self.bytes += packet.size
            self._container.mux(packet)  # pyright: ignore[reportUnknownMemberType]


def playing_seconds(path: Path) -> float:
    """How long the video of a file plays, closed or not; 0 if nothing of it does."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            # av.Packet is generic, and av does not say of what.
            packets = container.demux(stream)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            times = [(packet.pts, packet.time_base) for packet in packets if packet.size]
    except (FFmpegError, IndexError):  # it has no header, or no video
        return 0.0
    return max((float(pts * base) for pts, base in times if pts is not None and base), default=0.0)
