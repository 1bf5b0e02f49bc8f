"""Recorder of a session: it owns the recording that runs, so that a peer may come and go meanwhile."""

from collections.abc import Callable

from server.media.recording import Recording
from server.media.recording_store import RecordingRefused, RecordingStore
from server.protocol.replies import RecordingChanged
from server.session.picture import Picture
from server.session.sound.playout import SoundBlock, SoundPlayout


class Recorder:
    """At most one recording at a time; `on_change` is told at its start, every second and at its end."""

    def __init__(
        self,
        recordings: RecordingStore | None,
        session_id: str,
        on_change: Callable[[RecordingChanged], None],
        sound: SoundPlayout | None = None,
    ) -> None:
        """`sound` is recorded, too, if there has been any by then."""
        self._recordings = recordings
        self._session_id = session_id
        self._on_change = on_change
        self._recording: Recording | None = None
        self._sound = sound
        self._leave: Callable[[], None] | None = None  # ends listening
        self.num_begun = 0

    @property
    def is_recording(self) -> bool:
        return self._recording is not None and not self._recording.is_over

    def start(self, *, side_by_side: bool) -> None:
        """Record from the next picture on. Raises RecordingRefused."""
        if self._recordings is None:
            raise RecordingRefused("this server keeps no recordings")
        has_sound = self._sound is not None and self._sound.has_come
        self._recording = self._recordings.start(
            self._session_id,
            side_by_side=side_by_side,
            with_sound=has_sound,
            on_change=self._on_change,
        )
        self.num_begun += 1
        if self._sound is not None and has_sound and self._leave is None:
            self._leave = self._sound.listen(self._hear)

    def offer(self, picture: Picture, pts: int, now: float) -> None:
        """A picture is shown. Never waits. Beside it goes what it was made from: both move as one."""
        if self._recording is not None:
            self._recording.offer(picture.rgb, pts, now, picture.source, picture.parameters.fit)

    def _hear(self, block: SoundBlock) -> None:
        if self._recording is not None:
            self._recording.hear(block.samples, block.time)

    def stop(self, now: float, reason: str = "") -> None:
        """Finish what runs, if anything; its file can be fetched then."""
        if self._recording is not None:
            self._recording.stop(now, reason)
            self._recording = None
        if self._leave is not None:
            self._leave()
            self._leave = None
