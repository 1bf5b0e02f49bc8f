"""Command handler of a session: what clients ask for, what is in effect, what they are told about it.

Commands that shape pictures wait in the queue for the generation loop's next chunk; all others are done here.
"""

import asyncio
from collections.abc import Callable, Sequence

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
)
from server.protocol.requests import (
    Command,
    GetStats,
    Pause,
    PromptChange,
    Resume,
    SetFreeze,
    SetOutput,
    SetPrompt,
    StartRecording,
    StopRecording,
)
from server.session.camera import CameraFeed
from server.session.channel import ClientChannels, Send
from server.session.chunk_planner import ChunkPlanner
from server.session.command_queue import ControlQueue
from server.session.generation import GenerationLoop
from server.session.message_limit import MessageLimit
from server.session.parameters import Parameters
from server.session.picture import Picture
from server.session.prompt_prefetch import PromptPrefetch
from server.session.recorder import Recorder
from server.session.settings_notifier import SettingsNotifier
from server.session.sound.playout import SoundPlayout
from server.session.state import SessionStateMachine, State


class CommandHandler:
    """Takes commands for one session and keeps what they have changed.

    handler.receive(raw, send, is_peer=...)       # a client's message
    handler.chunk_changed()                       # what is in effect, or whether a chunk is under way
    handler.shown(picture, pts, now)              # a picture has gone out
    """

    def __init__(
        self,
        session_id: str,
        *,
        channels: ClientChannels,
        queue: ControlQueue,
        planner: ChunkPlanner,
        generation: GenerationLoop,
        feed: CameraFeed,
        state: SessionStateMachine,
        prefetch: PromptPrefetch,
        recordings: RecordingStore | None,
        stats: Callable[[str], Stats],
        on_settings: Callable[[], None] = lambda: None,
        sound: SoundPlayout | None = None,
    ) -> None:
        """The parts are those that commands act on; `stats` answers the command with that id. `on_settings`
        is called when clients are told that something else is in effect. `sound` is recorded, too."""
        self.output = OutputState()
        self.is_frozen = False
        self._channels = channels
        self._queue = queue
        self._planner = planner
        self._generation = generation
        self._feed = feed
        self._state = state
        self._prefetch = prefetch
        self.recorder = Recorder(recordings, session_id, self._tell_recording, sound)
        self._stats = stats
        self._loop = asyncio.get_running_loop()
        self._picture: Picture | None = None  # on show
        self._timeline = planner.parameters.timeline  # whose next prompt has been prefetched
        self._on_settings = on_settings
        self._notifier = SettingsNotifier(self.settings, self._tell_settings)
        self._set_output(self.output.changed_by(planner.preset))

    def restore(self, output: OutputState, *, is_frozen: bool, is_paused: bool) -> None:
        """What took effect without a chunk, before this session went on here."""
        self.is_frozen = is_frozen
        self._set_output(output)
        self._feed.freeze(is_frozen)
        if is_paused:
            self._generation.pause()

    def _set_output(self, output: OutputState) -> None:
        if output.fps != self.output.fps:
            self._feed.limit_fps(output.fps)
        self.output = output

    def close(self) -> None:
        """End a recording that runs; its file can still be fetched."""
        self.recorder.stop(self._loop.time(), "the session ended")
        self._notifier.close()

    @property
    def parameters(self) -> Parameters:
        """The values in effect."""
        return self._planner.parameters

    # From clients.

    def receive(
        self, raw: str | bytes, send: Send | None, *, is_peer: bool, limit: MessageLimit | None = None
    ) -> None:
        """Handle a message: answers go to `send` (None: to all), news to all. `limit`: of its connection.
        No message raises."""
        answers, news = self._handle(raw, is_peer, limit)
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

    def ask_together(self, commands: Sequence[Command]) -> list[ServerMessage]:
        """Carry out new commands, those that shape pictures from one chunk on; returns their immediate
        answers. If one is refused, all are."""
        refusals = [refusal for command in commands if (refusal := self._refusal(command)) is not None]
        if refusals:
            return [refusals[0]]
        now = self._loop.time()
        replies = self._planner.submit_together(commands, now, self._generation.time())
        acks = [reply for reply in replies if isinstance(reply, Ack)]
        news = [reply for reply in replies if not isinstance(reply, Ack)]
        self._channels.send(*news, *(answer for command in commands for answer in self._act(command, now)))
        return list(acks)

    def _handle(
        self, raw: str | bytes, is_peer: bool, limit: MessageLimit | None = None
    ) -> tuple[Sequence[ServerMessage], Sequence[ServerMessage]]:
        """What to answer the one who asked, and what to tell everybody."""
        now = self._loop.time()
        match self._channels.read(raw, now, is_peer=is_peer, limit=limit):
            case None:
                return [], []
            case ErrorReply() | Pong() as answer:
                return [answer], []
            case GetStats(id=id):
                return [Ack(id=id), self._stats(id)], []
            case command:
                if (known := self._queue.known(command)) is not None:
                    return known, []
                if (refusal := self._refusal(command)) is not None:
                    return [refusal], []
                ack, *news = self._planner.submit(command, now, self._generation.time())
                return [ack], [*news, *self._act(command, now)]

    def _refusal(self, command: Command) -> ErrorReply | None:
        """Why this command cannot be taken now, if so."""
        if (failure := self._state.failure) is not None and not isinstance(command, StopRecording):
            return ErrorReply(id=command.id, code="rejected", message=failure)
        for field, id in command.pictures:
            if self._planner.images.get(id) is None:
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
                self._generation.pause()
                # No chunk will come to end a wait for the camera, such as a lost peer leaves behind.
                if self._state.state is State.WAITING and self._picture is not None:
                    self._state.become(State.LIVE, "live")
                self._notifier.schedule()
                return [] if self._planner.is_busy else self._done(command, now)
            case Resume():
                if not self._generation.is_paused:
                    return self._done(command, now)
                self._generation.resume()  # applied with the first picture after it
            case SetPrompt():
                self._prefetch_prompts(command)
                return []
            case SetFreeze(on=on):
                self.is_frozen = on
                self._feed.freeze(on)  # applied with the first picture of it
            case SetOutput():
                self._set_output(self.output.changed_by([command]))
                self._notifier.schedule()
                return self._done(command, now)
            case StartRecording(id=id, side_by_side=side_by_side):
                try:
                    self.recorder.start(side_by_side=side_by_side)
                except RecordingRefused as error:
                    return self._queue.refuse(id, str(error))
                return self._done(command, now)
            case StopRecording(id=id):
                if not self.recorder.is_recording:
                    return self._queue.refuse(id, "nothing is being recorded")
                self.recorder.stop(now)
                return self._done(command, now)
            case _:
                return []
        self._notifier.schedule()
        return []

    def _done(self, command: Command, now: float) -> Sequence[ServerMessage]:
        picture = self._picture
        chunk, frame = (picture.chunk, picture.frame) if picture else (None, None)
        return self._queue.done(command.id, chunk, frame, now)

    # What becomes of them.

    def chunk_changed(self) -> None:
        """A chunk has changed what is in effect, or is with the model no more, however it ended."""
        timeline = self.parameters.timeline
        if timeline is not None and timeline is not self._timeline and (step := timeline.coming):
            self._prefetch_prompts(step)
        self._timeline = timeline
        self._notifier.schedule()
        if self._generation.is_paused and not self._planner.is_busy:
            now = self._loop.time()
            for command in self._queue.waiting:
                if isinstance(command, Pause):
                    self._channels.send(*self._done(command, now))

    def shown(self, picture: Picture, pts: int, now: float) -> None:
        """A picture has gone out: whatever it shaped has now been applied."""
        self._picture = picture
        self._channels.send(*self._queue.shown(picture.sequence, picture.chunk, picture.frame, now))
        self.recorder.offer(picture, pts, now)

    def _prefetch_prompts(self, change: PromptChange) -> None:
        self._prefetch.start([prompt.text for prompt in change.weighted])

    # What is in effect.

    def settings(self) -> SessionSettings:
        """Everything that commands can change, as it is now."""
        parameters = self.parameters
        return SessionSettings(
            prompts=parameters.prompts,
            transition=parameters.transition,
            guidance=parameters.guidance_state(),
            depth=parameters.depth_state(),
            controls=parameters.controls,
            references=parameters.references,
            mask=parameters.mask,
            region=parameters.region_state(),
            camera_start=parameters.camera_start_state(),
            steps=parameters.steps,
            latency=parameters.latency,
            shape=parameters.shape_state(),
            seed=parameters.seed_state(),
            frozen=self.is_frozen,
            paused=self._generation.is_paused,
            recording=self.recorder.is_recording,
            timeline=parameters.timeline_state(self._generation.time()),
            output=self.output,
        )

    def timeline_position(self) -> float | None:
        timeline = self.parameters.timeline
        return None if timeline is None else round(timeline.position(self._generation.time()), 2)

    def _tell_settings(self, settings: SessionSettings) -> None:
        self._channels.send(settings)
        self._on_settings()

    def _tell_recording(self, news: RecordingChanged) -> None:
        self._channels.send(news)
        self._notifier.schedule()
