"""Command handler of a session: what clients ask for, what is in effect, what they are told about it.

Commands come in by `ask` and `receive`; each chunk takes those that wait by `plan`, then tells how it went.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence

from server.engine.chunk_job import LatestWins
from server.media.frames import Rgb
from server.media.images import ImageStore
from server.media.recording_store import RecordingRefused, RecordingStore
from server.protocol.replies import (
    Ack,
    ErrorReply,
    OutputState,
    Pong,
    RecordingChanged,
    ServerMessage,
    SessionSettings,
    Stats,
    Superseded,
)
from server.protocol.requests import (
    Command,
    GetStats,
    Pause,
    PromptChange,
    Resume,
    SetFreeze,
    SetMask,
    SetOutput,
    SetPrompt,
    SetReferences,
    StartRecording,
    StopRecording,
    WeightedPrompt,
)
from server.session.camera import CameraFeed
from server.session.channel import ClientChannels, Send
from server.session.chunk_planner import ChunkPlanner
from server.session.gate import GenerationGate
from server.session.parameters import Parameters, Plan
from server.session.picture import Picture
from server.session.playout import Playout
from server.session.prompt_prefetch import PromptPrefetch
from server.session.recorder import Recorder
from server.session.settings_notifier import SettingsNotifier
from server.session.state import SessionStateMachine, State
from server.session.timeline import PausableClock
from streaming.api import ChunkParameters

SEED_BITS = 31  # of random seeds: short enough to be read out


class CommandHandler:
    """Takes commands for one session and keeps what they have changed.

    handler.receive(raw, send)                    # a client's message
    slot = handler.begin(sequence)                # chunk number `sequence` goes to the model
    plan = handler.taken()                        # which has taken what is in `slot`
    handler.made(chunk)                           # ... and its first pictures come back; or:
    handler.rejected(reason); handler.lost()
    handler.finished()                            # whatever has become of it
    handler.shown(picture, pts, now)              # a picture goes to the encoder
    """

    def __init__(
        self,
        channels: ClientChannels,
        recordings: RecordingStore | None,
        *,
        feed: CameraFeed,
        gate: GenerationGate,
        playout: Playout,
        state: SessionStateMachine,
        prefetch: PromptPrefetch,
        stats: Callable[[str], Stats],
        session_id: str,
        prompt: str,
        seed: int,
    ) -> None:
        """The parts are those that commands act on at once; `stats` answers the command with that id."""
        begin_with = Parameters(
            prompts=(WeightedPrompt(text=prompt, weight=1.0),), seed=seed, current_seed=seed
        )
        self._planner = ChunkPlanner(begin_with, self._image, _draw_seed)
        self.images = ImageStore(in_use=self._planner.images_in_use)
        self.output = OutputState()
        self.is_paused = False
        self.is_frozen = False
        self._feed = feed
        self._gate = gate
        self._playout = playout
        self._state = state
        self._prefetch = prefetch
        self._stats = stats
        self._channels = channels
        self._recorder = Recorder(recordings, session_id, self._tell_recording)
        self._controls = self._planner.queue
        self._loop = asyncio.get_running_loop()
        self._clock = PausableClock()
        self._refresh_timer: asyncio.TimerHandle | None = None
        self._notifier = SettingsNotifier(self.settings, self._channels.send)

    def close(self) -> None:
        """End a recording that runs; its file can still be fetched."""
        self._recorder.stop(self._loop.time(), "the session ended")
        self._stop_refreshing()
        self._notifier.close()

    @property
    def parameters(self) -> Parameters:
        """The values in effect."""
        return self._planner.parameters

    # From clients.

    def receive(self, raw: str | bytes, send: Send | None, *, is_peer: bool) -> None:
        """Handle a message: answers go to `send` (None: to all), news to all. No message raises."""
        answers, news = self._handle(raw, is_peer)
        if send is None:
            self._channels.send(*answers)
        else:
            self._channels.reply(send, *answers)
        self._channels.send(*news)

    def ask(self, raw: str | bytes) -> list[ServerMessage]:
        """Handle a message; returns all that its id has been answered so far. No message raises."""
        answers, news = self._handle(raw, is_peer=False)
        self._channels.send(*news)
        ids = {answer.id for answer in answers if isinstance(answer, Ack)}
        return [*answers, *(message for message in news if getattr(message, "id", None) in ids)]

    def _handle(
        self, raw: str | bytes, is_peer: bool
    ) -> tuple[Sequence[ServerMessage], Sequence[ServerMessage]]:
        """What to answer the one who asked, and what to tell everybody."""
        now = self._loop.time()
        match self._channels.read(raw, now, is_peer=is_peer):
            case ErrorReply() | Pong() as answer:
                return [answer], []
            case GetStats(id=id):
                return [Ack(id=id), self._stats(id)], []
            case command:
                if (known := self._controls.known(command)) is not None:
                    return known, []
                if (refusal := self._refusal(command)) is not None:
                    return [refusal], []
                ack, *news = self._planner.submit(command, now, self._time())
                return [ack], [*news, *self._act(command, now)]

    def _refusal(self, command: Command) -> ErrorReply | None:
        """Why this command cannot be taken now, if so."""
        if (failure := self._state.failure) is not None and not isinstance(command, StopRecording):
            return ErrorReply(id=command.id, code="rejected", message=failure)
        match command:
            case SetReferences(images=images):
                named = [(f"images[{index}]", id) for index, id in enumerate(images)]
            case SetMask(image=str(id)):
                named = [("image", id)]
            case _:
                return None
        for field, id in named:
            if self.images.get(id) is None:
                expected = "the id of a picture that was uploaded to this session and is still kept"
                message = f"{field}: got {id}, expected {expected}"
                return ErrorReply(
                    id=command.id, code="invalid", field=field, value=id, expected=expected, message=message
                )
        return None

    def _act(self, command: Command, now: float) -> Sequence[ServerMessage]:
        """What takes effect at once and not with a chunk."""
        match command:
            case Pause():
                self.is_paused = True
                self._clock.pause(now)
                self._gate.close()
                # No chunk will come to end a wait for the camera, such as a lost peer leaves behind.
                if self._state.state is State.WAITING and self._playout.picture is not None:
                    self._state.become(State.LIVE, "live")
                self._notifier.schedule()
                return [] if self._planner.is_busy else self._done(command, now)
            case Resume():
                if not self.is_paused:
                    return self._done(command, now)
                self.is_paused = False
                self._clock.resume(now)
                self._gate.open()  # applied with the first picture after it
            case SetPrompt():
                self._prefetch_prompts(command)
                return []
            case SetFreeze(on=on):
                self.is_frozen = on
                self._feed.freeze(on)  # applied with the first picture of it
            case SetOutput(fps=fps, quality=quality):
                if "fps" in command.model_fields_set:
                    self.output = self.output.model_copy(update={"fps": fps})
                    self._feed.limit_fps(fps)
                if quality is not None:
                    self.output = self.output.model_copy(update={"quality": quality})
                self._notifier.schedule()
                return self._done(command, now)
            case StartRecording(id=id, side_by_side=side_by_side):
                try:
                    self._recorder.start(side_by_side=side_by_side)
                except RecordingRefused as error:
                    return self._controls.refuse(id, str(error))
                return self._done(command, now)
            case StopRecording(id=id):
                if not self._recorder.is_recording:
                    return self._controls.refuse(id, "nothing is being recorded")
                self._recorder.stop(now)
                return self._done(command, now)
            case _:
                return []
        self._notifier.schedule()
        return []

    def _done(self, command: Command, now: float) -> Sequence[ServerMessage]:
        picture = self._playout.picture
        chunk, frame = (picture.chunk, picture.frame) if picture else (None, None)
        return self._controls.done(command.id, chunk, frame, now)

    # Chunks.

    def begin(self, sequence: int) -> LatestWins[ChunkParameters]:
        """Chunk number `sequence` gets its camera frames. Returns where the engine finds what else is asked
        of it, kept up to date until it takes that."""
        slot = self._planner.begin(sequence, self._time())
        self._refresh_later()
        return slot

    @property
    def is_recache_ahead(self) -> bool:
        """Whether the next chunk will take longer for a new prompt, by what is known now."""
        return self._planner.is_recache_ahead(self._time())

    def taken(self) -> Plan:
        """The engine has taken what the chunk is asked; nothing is changed before it has been made."""
        self._stop_refreshing()
        return self._planner.taken()

    def made(self, chunk: int) -> None:
        """The chunk has been made, its first pictures at least: what it changed is in effect."""
        before = self.parameters
        self._planner.made(chunk)
        self._changed(before)

    def rejected(self, reason: str) -> list[ErrorReply]:
        """The model refuses what the chunk was to change. Returns what to tell those who asked for it."""
        before = self.parameters
        replies = self._planner.reject(reason, self._time())
        self._channels.send(*(reply for reply in replies if isinstance(reply, Superseded)))
        self._changed(before)
        return [reply for reply in replies if isinstance(reply, ErrorReply)]

    def lost(self) -> None:
        """The chunk could not be made and the stream has started afresh: its commands wait again, unless its
        first pictures were made with them."""
        before = self.parameters
        self._channels.send(*self._planner.lost())
        self._changed(before)

    def finished(self) -> None:
        """No chunk is with the model any more, however it ended: a pause that waited for that has come."""
        self._stop_refreshing()
        self._planner.finish()
        now = self._loop.time()
        for command in self._controls.waiting if self.is_paused else []:
            if isinstance(command, Pause):
                self._channels.send(*self._done(command, now))

    def shown(self, picture: Picture, pts: int, now: float) -> None:
        """A picture goes to the encoder: whatever it shaped has now been applied."""
        self._channels.send(*self._controls.shown(picture.sequence, picture.chunk, picture.frame, now))
        self._recorder.offer(picture, pts, now)

    def _changed(self, before: Parameters) -> None:
        """A chunk has left the model: other parameters are in effect."""
        timeline = self.parameters.timeline
        if timeline is not None and timeline is not before.timeline and (step := timeline.coming):
            self._prefetch_prompts(step)
        self._notifier.schedule()

    def _refresh_later(self) -> None:
        """As soon as something moves by itself, ask it of the chunk under way."""
        if (seconds := self._planner.next_move(self._time())) is not None:
            self._refresh_timer = self._loop.call_later(seconds, self._refresh)

    def _refresh(self) -> None:
        self._planner.refresh(self._time())
        self._refresh_later()

    def _stop_refreshing(self) -> None:
        if self._refresh_timer is not None:
            self._refresh_timer.cancel()

    def _prefetch_prompts(self, change: PromptChange) -> None:
        self._prefetch.start([prompt.text for prompt in change.weighted])

    def _image(self, id: str) -> Rgb:
        image = self.images.get(id)
        assert image is not None, "pictures in use are kept"
        return image

    # What is in effect.

    def settings(self) -> SessionSettings:
        """Everything that commands can change, as it is now."""
        parameters = self.parameters
        return SessionSettings(
            prompts=parameters.prompts,
            transition=parameters.transition,
            guidance=parameters.guidance_state(),
            depth=parameters.depth_state(),
            references=parameters.references,
            mask=parameters.mask,
            steps=parameters.steps,
            seed=parameters.seed_state(),
            frozen=self.is_frozen,
            paused=self.is_paused,
            recording=self._recorder.is_recording,
            timeline=parameters.timeline_state(self._time()),
            output=self.output,
        )

    def timeline_position(self) -> float | None:
        timeline = self.parameters.timeline
        return None if timeline is None else round(timeline.position(self._time()), 2)

    def _tell_recording(self, news: RecordingChanged) -> None:
        self._channels.send(news)
        self._notifier.schedule()

    def _time(self) -> float:
        """Seconds on the clock of what moves by itself, which stands still during a pause."""
        return self._clock.time(self._loop.time())


def _draw_seed() -> int:
    return secrets.randbits(SEED_BITS)
