"""Chunk assembler: camera frames in, evenly sampled chunks out; which frames make up the next, and when.

Pure: no thread, no clock, no pixels. Times are seconds on the camera's clock; the payload is the caller's.

Where the latency comes from. A chunk ends at the newest frame there is, so nothing older than the last chunk
is ever shown and nothing queues up here: while the generator is busy, frames gather in one bounded ring, and
the next chunk covers all of them with its fixed number of samples. A slow generator therefore costs frames
per second, never delay. What a frame does wait for:

* `count / max_fps` seconds must have passed on the camera since the last chunk, or output would
  outrun `max_fps`. A frame that comes half a sample too early will do, and the next chunk waits longer for
  it; else a camera of `max_fps` whose frames come a little unevenly would lose one in every other chunk.
  A camera that is a little slower (24 of 30) sets the pace itself: no frame is repeated every now and then;
* a third of `count` must be new frames, or a chunk of stills would cost as much work as a moving one. If
  the camera is slower, the oldest new frame waits `count / max_fps` seconds and goes in what company it has.

A camera that fell silent is not relived, or the output would be late by the length of the pause from then on:
a chunk reaches back past a gap of more than `count / max_fps` seconds only to make up its shortest span.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

T = TypeVar("T")

_EARLY = 0.5  # of the time between two samples: so much too early the newest frame may be
_A_LITTLE_SLOWER = 1.75  # times as long from frame to frame as `max_fps` allows; beyond, frames are repeated
_CHUNKS = 3  # in a row that are late, until it is the generator that sets the pace
_SMOOTHING = 1 / 64  # weight of the newest frame in the camera's pace


class ChunkNotReady(Exception):
    """`take` was called before `ready_at` allowed it."""


@dataclass(frozen=True, slots=True)
class Chunk(Generic[T]):
    """Frames of one chunk, oldest first, and where on the camera's clock they come from.

    `times` never fall and are all newer than the previous chunk's `end`; the last is `end`, the newest frame
    there was. `start` lies at or after the previous chunk's `end`.
    """

    frames: tuple[T, ...]
    times: tuple[float, ...]
    start: float
    end: float

    @property
    def span(self) -> float:
        """Media duration in seconds, about `count / max_fps` or more: so long the output is played over."""
        return self.end - self.start


class ChunkAssembler(Generic[T]):
    """Ring of timestamped camera frames, emptied one chunk at a time.

        frames: ChunkAssembler[Picture] = ChunkAssembler(capacity=96, max_fps=16)
        frames.push(picture, time)                    # for every camera frame
        ready = frames.ready_at(12, now)
        if ready is not None and ready <= now:
            chunk = frames.take(12, now)

    Every frame pushed is in exactly one place: `pushed == used + held + dropped`. One assembler serves one
    camera clock; when that restarts (times fall back), make a new one.
    """

    def __init__(self, *, capacity: int, max_fps: float, reach: float = 0.0) -> None:
        """`capacity` frames are held at most. A full ring loses its oldest, unless it holds less than `reach`
        seconds, of a fast camera: then one of those that lie closest together."""
        if capacity < 1:
            raise ValueError(f"capacity: expected at least 1 frame, got {capacity}")
        self._capacity = capacity
        self._reach = reach
        self.limit_fps(max_fps)
        self._ring: deque[tuple[float, T]] = deque()
        self._newest = -math.inf  # time of the last accepted frame
        self._paid = math.inf  # until when `max_fps` has been used up
        self._interval = 0.0  # from frame to frame, smoothed; 0 before the second
        self._origin = math.inf  # end of the last chunk; before that, time of the very first frame
        self._evicted = -math.inf  # time of the last frame that the full ring lost
        self._waited: deque[float] = deque(maxlen=_CHUNKS)  # by so much the last spans were too long
        self._is_latest_wanted = True  # of what waits, only the end
        self.pushed = 0
        self.used = 0  # distinct frames that went into chunks
        self.out_of_order = 0  # dropped on arrival: time not finite, or not after the frame before
        self.overflowed = 0  # dropped because the ring was full
        self.passed_over = 0  # dropped because the sampling chose their neighbours

    @property
    def held(self) -> int:
        """Frames waiting for the next chunk."""
        return len(self._ring)

    @property
    def dropped(self) -> int:
        """Frames that never went and never will go into a chunk, for whatever reason."""
        return self.out_of_order + self.overflowed + self.passed_over

    def limit_fps(self, max_fps: float) -> None:
        """Space the samples of later chunks at least 1 / `max_fps` seconds apart."""
        if not (math.isfinite(max_fps) and max_fps > 0):
            raise ValueError(f"max_fps: expected a positive number, got {max_fps}")
        self._max_fps = max_fps

    def skip_to_latest(self) -> None:
        """Nobody wanted frames for a while: the next chunk has the latest alone, as the first one has."""
        self._is_latest_wanted = True

    def push(self, frame: T, time: float) -> None:
        """Add a frame taken at `time`, in seconds. One not newer than the last is dropped and counted."""
        self.pushed += 1
        if not (math.isfinite(time) and time > self._newest):
            self.out_of_order += 1
            return
        if (accepted := self.pushed - self.out_of_order) > 1:
            gap = min(time - self._newest, 2 / self._max_fps)  # a pause is no pace
            self._interval += (gap - self._interval) * max(_SMOOTHING, 1 / (accepted - 1))
        self._newest = time
        if math.isinf(self._origin):
            self._origin = self._paid = time
        if len(self._ring) == self._capacity:
            self._make_room()
        self._ring.append((time, frame))

    def _make_room(self) -> None:
        self.overflowed += 1
        if self._capacity < 3 or self._newest - self._ring[0][0] >= self._reach:
            self._evicted, _ = self._ring.popleft()
            return
        times = [time for time, _ in self._ring]

        def closeness(index: int) -> float:
            """Of its neighbours; the newest, which are all that is wanted after a pause, may be closer."""
            age = self._newest - times[index] + self._reach / 4
            return (times[index + 1] - times[index - 1]) / age

        del self._ring[min(range(1, len(times) - 1), key=closeness)]

    def ready_at(self, count: int, now: float) -> float | None:
        """When `count` frames may be taken: `now`, a later time to ask again, or None, not before another
        frame.

        `now` is in seconds on the clock of the frame times.
        """
        shortest = self._shortest_span(count)
        if not self._ring or self._newest - self._paid < shortest - _EARLY / self._max_fps:
            return None
        if len(self._ring) >= min(math.ceil(count / 3), self._capacity):
            return now
        return max(now, self._ring[0][0] + shortest)

    def take(self, count: int, now: float) -> Chunk[T]:
        """The chunk of `count` frames that ends at the newest one; empties the ring. Raises ChunkNotReady.

        Samples are spread evenly over the time since the last chunk (the first chunk: over the last
        `count / max_fps` seconds), each the nearest frame, the newer of two as near. A frame is repeated only
        where the camera was slower than the sampling.
        """
        ready = self.ready_at(count, now)
        if ready is None or ready > now:
            reason = "another frame is needed" if ready is None else f"ready at {ready:.3f} s"
            raise ChunkNotReady(
                f"no chunk of {count} frames at {now:.3f} s with {self.held} new ones: {reason}"
            )
        times, frames = zip(*self._ring, strict=True)
        span = self._span(count, times)
        chosen = _sample_evenly(times, count, span)
        chunk = Chunk(
            frames=tuple(frames[index] for index in chosen),
            times=tuple(times[index] for index in chosen),
            start=max(self._origin, self._newest - span),
            end=self._newest,
        )
        distinct = len(set(chosen))
        self.used += distinct
        self.passed_over += len(times) - distinct
        self._ring.clear()
        self._origin = self._newest
        shortest = self._shortest_span(count)
        self._paid = max(self._paid + shortest, self._newest)
        self._waited.append(span - shortest)
        self._is_latest_wanted = False
        return chunk

    def expected(self, count: int, until: float | None = None) -> tuple[T, ...]:
        """Frames held that the next chunk of `count` will have, oldest first and each once, if the camera
        goes on at its pace and the chunk is taken as soon as it may be, and not before `until`.

        A guess, which changes nothing: `take` may choose others.
        """
        if not self._ring or not self._interval:
            return ()
        needed = self._paid + self._shortest_span(count) - _EARLY / self._max_fps
        to_come = math.ceil((needed - self._newest) / self._interval - 1e-6)  # times are rounded
        if until is not None:
            to_come = max(to_come, math.floor((until - self._newest) / self._interval))
        to_come = min(to_come, self._capacity)  # whatever times a camera claims
        times = [time for time, _ in self._ring]
        times += [self._newest + self._interval * (n + 1) for n in range(to_come)]
        chosen = _sample_evenly(times, count, self._span(count, times))
        held = (self._ring[index][1] for index in chosen if index < len(self._ring))
        return tuple({id(frame): frame for frame in held}.values())

    @property
    def lag(self) -> float:
        """By how many seconds a chunk takes the generator longer than the camera, less a frame's; 0 where it
        keeps up. So long a chunk may be put off, and the generator will not have to wait for the camera."""
        if len(self._waited) < _CHUNKS:
            return 0.0
        return max(0.0, min(self._waited) - self._interval)

    def _shortest_span(self, count: int) -> float:
        if count < 1:
            raise ValueError(f"count: expected at least 1 frame, got {count}")
        spacing = 1 / self._max_fps
        if spacing < self._interval < _A_LITTLE_SLOWER * spacing:
            spacing = self._interval
        return count * spacing

    def _span(self, count: int, times: Sequence[float]) -> float:
        """Seconds to sample, back from the newest of `times`: those since the last chunk, lost frame or
        pause."""
        shortest = self._shortest_span(count)
        # Before the first chunk the ring may hold much of the warm-up: only its latest part is of interest.
        if self._is_latest_wanted:
            return shortest
        begin = max(self._origin, self._evicted)
        for before, after in pairwise([begin, *times]):
            if after - before > shortest:
                begin = after
        return max(shortest, times[-1] - begin)


def _sample_evenly(times: Sequence[float], count: int, span: float) -> list[int]:
    """Indices of the frames nearest to `count` points `span / count` apart, the last at `times[-1]`."""
    # Counted back from the end, so that the last point is the newest frame exactly.
    points = (times[-1] - span * (count - number) / count for number in range(1, count + 1))
    return [_nearest(times, point) for point in points]


def _nearest(times: Sequence[float], point: float) -> int:
    """Index of the entry of the rising `times` nearest to `point` <= `times[-1]`; if tied, the newer."""
    after = bisect_left(times, point)
    if after == 0:
        return 0
    return after if times[after] - point <= point - times[after - 1] else after - 1
