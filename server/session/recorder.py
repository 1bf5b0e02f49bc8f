"""Recorder of a session: it owns the recording that runs, so that a peer may come and go meanwhile."""

from collections.abc import Callable

from server.media.recording import Recording
from server.media.recording_store import RecordingRefused, RecordingStore
from server.protocol.replies import RecordingChanged
from server.session.picture import Picture


class Recorder:
    """At most one recording at a time; `on_change` is told at its start, every second and at its end."""

    def __init__(
        self,
        recordings: RecordingStore | None,
        session_id: str,
        on_change: Callable[[RecordingChanged], None],
    ) -> None:
        self._recordings = recordings
        self._session_id = session_id
        self._on_change = on_change
        self._recording: Recording | None = None
        self.num_begun = 0

    @property
    def is_recording(self) -> bool:
        return self._recording is not None and not self._recording.is_over

    def start(self, *, side_by_side: bool) -> None:
        """Record from the next picture on. Raises RecordingRefused."""
        if self._recordings is None:
            raise RecordingRefused("this server keeps no recordings")
        self._recording = self._recordings.start(
            self._session_id, side_by_side=side_by_side, on_change=self._on_change
        )
        self.num_begun += 1

    def offer(self, picture: Picture, pts: int, now: float) -> None:
        """A picture is shown. Never waits. Beside it goes what it was made from: both move as one."""
        if self._recording is not None:
            self._recording.offer(picture.rgb, pts, now, picture.source, picture.parameters.fit)

    def stop(self, now: float, reason: str = "") -> None:
        """Finish what runs, if anything; its file can be fetched then."""
        if self._recording is not None:
            self._recording.stop(now, reason)
            self._recording = None
