"""Parameters that shape a session's picture, and what a chunk must be asked to change them. Pure.

A chunk may fail, so nothing is changed before it has been made:

    plan = parameters.plan(commands, now, draw_seed, image)    # when a chunk is taken
    ... the model makes the chunk with plan.asked ...
    parameters = plan.after.made(chunk)                     # when it has been made; else keep `parameters`
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from server.protocol.replies import (
    CameraStartState,
    ControlsState,
    DepthState,
    GuidanceState,
    RegionState,
    SeedState,
    ShapeState,
    TimelineState,
    TransitionState,
)
from server.protocol.requests import (
    Command,
    DepthPoint,
    PromptChange,
    Reset,
    SetCameraStart,
    SetControls,
    SetDepth,
    SetGuidance,
    SetLatency,
    SetMask,
    SetPrompt,
    SetReferences,
    SetRegion,
    SetSeed,
    SetShape,
    SetSteps,
    SetTimeline,
    StopTimeline,
    WeightedPrompt,
)
from server.session.timeline import GuidanceTrack, Timeline
from streaming.api import (
    CLEAR,
    CONTROLS,
    DEFAULT_ADAPTIVE,
    DEFAULT_FIT,
    DEFAULT_LATENCY,
    DEFAULT_SCALE,
    CameraFit,
    CameraStart,
    ChunkParameters,
    DepthSettings,
    DistanceRegion,
    EngineInfo,
    LatencyLevel,
    Orientation,
    WeightedPrompts,
    sampling_at,
)

Unknown = Literal["nothing", "sampling", "all"]  # of what is in effect, to a stream

TRACK_PERIOD_S = 0.05  # how exactly in time a strength that moves is followed

Images = Callable[[str], NDArray[np.uint8]]  # id of an uploaded picture -> (H, W, 3) RGB


def weighted_prompts(change: PromptChange) -> WeightedPrompts:
    """As the engine takes them."""
    return tuple((prompt.text, prompt.weight) for prompt in change.weighted)


@dataclass(frozen=True, slots=True)
class Plan:
    asked: ChunkParameters  # of the engine
    after: "Parameters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The values in effect."""

    prompts: tuple[WeightedPrompt, ...]
    seed: int  # that the next reset or cut uses, if the mode is fixed
    current_seed: int  # that the present picture began with
    seed_mode: Literal["fixed", "random"] = "fixed"
    transition: TransitionState | None = None
    scale: float = DEFAULT_SCALE
    adaptive: float = DEFAULT_ADAPTIVE
    track: GuidanceTrack | None = None  # sets the scale while there is one
    depth: DepthSettings = DepthSettings()
    controls: ControlsState = ControlsState(gray=0.0, lines=0.0)  # `scale` is the strength of depth
    references: tuple[str, ...] = ()  # ids of uploaded pictures
    mask: str | None = None  # likewise
    region: DistanceRegion | None = None
    camera_start: CameraStart = CameraStart()
    steps: tuple[int, ...] | None = None
    latency: LatencyLevel | None = DEFAULT_LATENCY  # None: steps or noise scale were set otherwise since
    own_steps: tuple[int, ...] = ()  # the model's; () until that is known
    orientation: Orientation = "wide"
    fit: CameraFit = DEFAULT_FIT
    own_size: tuple[int, int] | None = None  # width and height of the model as loaded; None: not known yet
    timeline: Timeline | None = None

    @classmethod
    def of(cls, prompt: str, seed: int, latency: LatencyLevel = DEFAULT_LATENCY) -> "Parameters":
        """Those that a session begins with."""
        weighted = (WeightedPrompt(text=prompt, weight=1.0),)
        return cls(prompts=weighted, seed=seed, current_seed=seed, latency=latency)

    def of_model(self, model: EngineInfo) -> "Parameters":
        """The same, of a model that is known now."""
        orientation = self.orientation if model.can_turn else "wide"
        size = model.width, model.height
        return replace(self, own_steps=model.steps, own_size=size, orientation=orientation)

    def beginning_with(self, model: EngineInfo) -> "Parameters":
        """With the strengths that a stream of the model has by itself, those that are not named being off,
        and with what the latency makes of its steps."""
        strengths = {**dict.fromkeys(CONTROLS, 0.0), **dict(model.controls)}
        beside = ControlsState(gray=strengths["gray"], lines=strengths["lines"])
        known = replace(self.of_model(model), scale=strengths["depth"], controls=beside)
        return known if self.latency is None else known.at(self.latency)

    def begun_with(self, commands: Sequence[Command]) -> "Parameters":
        """Those that a session begins with for which these commands were in effect before. What moves by
        itself is not counted in: that begins with the first chunk. A seed that is drawn is drawn later."""
        draft = _Draft(self, 0.0, lambda: self.current_seed, _no_image)
        for command in commands:
            if not moves(command):
                draft.take(command)
        begun = draft.after
        current = begun.seed if begun.seed_mode == "fixed" else begun.current_seed
        return replace(begun, transition=None, current_seed=current)

    def at(self, latency: LatencyLevel) -> "Parameters":
        """With that latency's steps and noise scale, as soon as the model's own are known."""
        if not self.own_steps:
            return replace(self, latency=latency)
        steps, noise_scale = sampling_at(latency, self.own_steps)
        return replace(
            self,
            latency=latency,
            steps=None if steps is CLEAR else steps,
            camera_start=replace(self.camera_start, noise_scale=noise_scale),
        )

    def plan(
        self,
        commands: Sequence[Command],
        now: float,
        draw_seed: Callable[[], int],
        image: Images,
        *,
        unknown: Unknown = "nothing",
    ) -> Plan:
        """What the next chunk is asked, from commands in the order they came and from what is due by itself.
        `unknown`: and what is in effect already, of which its stream does not know so much.

        Of a prompt.set and a timeline's step for the same chunk, the person's wins.
        """
        asked = dict[str, object]()
        if unknown != "nothing":
            asked = self.asked_whole(image) if unknown == "all" else self.asked_sampling()
        draft = _Draft(self, now, draw_seed, image, asked)
        for command in commands:
            draft.take(command)
        draft.pass_time()
        asked = ChunkParameters(**draft.asked)  # pyright: ignore[reportArgumentType] -- names of fields
        return Plan(asked, draft.after)

    def recached_next(self, commands: Sequence[Command], now: float) -> WeightedPrompts | None:
        """The prompts under which what `plan` would ask recomputes the model's window, which takes it longer;
        None: it does not. Nothing is planned for the answer: no seed is drawn."""
        timeline, prompt, has_new_prompt, starts_over = self.timeline, None, False, False
        for command in commands:
            match command:
                case SetPrompt(transition=transition):
                    prompt, has_new_prompt = command, True
                    starts_over = starts_over or transition == "cut"
                case SetTimeline(steps=steps, loop=loop, duration=duration):
                    timeline, has_new_prompt = Timeline(steps, now, loop, duration), False
                case StopTimeline():
                    timeline = None
                case Reset():
                    starts_over = True
                case SetShape(orientation=orientation):
                    starts_over = starts_over or orientation not in (None, self.orientation)
                case _:
                    pass
        if not has_new_prompt and timeline is not None and (due := timeline.due(now)) is not None:
            prompt, _ = due
        if prompt is None or prompt.transition != "recache" or starts_over:
            return None
        return weighted_prompts(prompt)

    def made(self, chunk: int) -> "Parameters":
        """After the chunk of this index since the last reset: a blend is one step further.

        A stream's first chunk has nothing to blend from: it begins with the target.
        """
        if self.transition is None:
            return self
        done = self.transition.done + 1
        if chunk == 0 or done >= self.transition.chunks:
            return replace(self, transition=None)
        return replace(self, transition=self.transition.model_copy(update={"done": done}))

    def next_move(self, now: float) -> float | None:
        """In how many seconds, above 0, something changes by itself; None: nothing does."""
        step = self.timeline.until_next(now) if self.timeline else None
        track = TRACK_PERIOD_S if self.track and self.track.moves(now) else None
        return min((seconds for seconds in (step, track) if seconds is not None), default=None)

    def later(self, seconds: float) -> "Parameters":
        """What moves by itself put off so long, or on to another clock."""
        track, timeline = self.track, self.timeline
        return replace(
            self,
            track=track and replace(track, began=track.began + seconds),
            timeline=timeline and replace(timeline, began=timeline.began + seconds),
        )

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the pictures; None until the model is known."""
        if self.own_size is None or self.orientation == "wide":
            return self.own_size
        width, height = self.own_size
        return height, width

    @property
    def pictures(self) -> frozenset[str]:
        """Ids of the uploaded pictures in effect."""
        return frozenset((*self.references, *([] if self.mask is None else [self.mask])))

    def asked_whole(self, image: Images) -> dict[str, object]:
        """Fields of ChunkParameters that ask all of this of a stream that knows nothing of it."""
        return {
            "prompts": tuple((prompt.text, prompt.weight) for prompt in self.prompts),
            "guidance_scale": self.scale,
            "controls": (("gray", self.controls.gray), ("lines", self.controls.lines)),
            "adaptive": self.adaptive,
            "depth": self.depth,
            "references": tuple(map(image, self.references)) or CLEAR,
            "mask": CLEAR if self.mask is None else image(self.mask),
            "distance_region": self.region or CLEAR,
            "orientation": self.orientation,
            "fit": self.fit,
            **self.asked_sampling(),
        }

    def asked_sampling(self) -> dict[str, object]:
        """Likewise of what a latency sets."""
        return {"camera_start": self.camera_start, "steps": self.steps or CLEAR}

    def latency_again(self) -> LatencyLevel | None:
        """The one in effect now that steps or noise scale were set: the same, the standard one, or none."""
        for latency in (self.latency, DEFAULT_LATENCY):
            if latency is not None and self.at(latency) == replace(self, latency=latency):
                return latency
        return None

    def after_failure(self) -> "Parameters":
        """The stream has started afresh by itself: it begins with the whole prompt."""
        return replace(self, transition=None)

    def without_due_step(self, now: float) -> "Parameters":
        """The model refuses the timeline's step of now: pass it over, or it would be refused for ever."""
        due = self.timeline and self.timeline.due(now)
        return replace(self, timeline=due[1]) if due else self

    # As clients are told.

    def guidance_state(self) -> GuidanceState:
        return GuidanceState(
            scale=None if self.track else self.scale,
            adaptive=self.adaptive,
            keyframes=self.track.keys if self.track else None,
            loop=self.track.loop if self.track else False,
        )

    def depth_state(self) -> DepthState:
        depth = self.depth
        return DepthState(
            enabled=depth.enabled,
            smoothing=depth.smoothing,
            refinement=depth.refinement,
            points=tuple(DepthPoint(x=x, y=y, value=value) for x, y, value in depth.points),
        )

    def region_state(self) -> RegionState | None:
        region = self.region
        return region and RegionState(distance=region.distance, side=region.side, softness=region.softness)

    def camera_start_state(self) -> CameraStartState:
        start = self.camera_start
        return CameraStartState(noise_scale=start.noise_scale, follows_motion=start.follows_motion)

    def shape_state(self) -> ShapeState:
        width, height = self.size or (None, None)
        return ShapeState(orientation=self.orientation, fit=self.fit, width=width, height=height)

    def seed_state(self) -> SeedState:
        return SeedState(
            mode=self.seed_mode,
            seed=self.seed if self.seed_mode == "fixed" else None,
            current=self.current_seed,
        )

    def timeline_state(self, now: float) -> TimelineState | None:
        timeline = self.timeline
        return timeline and TimelineState(
            steps=timeline.steps,
            loop=timeline.loop,
            duration=timeline.duration,
            position=round(timeline.position(now), 3),
            step=timeline.step(now),
        )


def moves(command: Command) -> bool:
    """Whether it sets something that goes on by itself."""
    return (
        isinstance(command, SetTimeline) or isinstance(command, SetGuidance) and command.keyframes is not None
    )


def _no_image(id: str) -> NDArray[np.uint8]:
    raise LookupError(f"a session begins without pictures, {id} neither")


def pictures_of(commands: Collection[Command]) -> set[str]:
    """Ids of the uploaded pictures that commands speak of."""
    return {id for command in commands for _, id in command.pictures}


@dataclass(slots=True)
class _Draft:
    """A plan being made."""

    after: Parameters
    now: float
    draw_seed: Callable[[], int]
    image: Images
    asked: dict[str, object] = field(default_factory=dict[str, object])
    has_new_prompt: bool = False

    def take(self, command: Command) -> None:
        match command:
            case SetPrompt():
                self.set_prompt(command)
                self.has_new_prompt = True
            case SetTimeline(steps=steps, loop=loop, duration=duration):
                self.keep(timeline=Timeline(steps, self.now, loop, duration))
                self.has_new_prompt = False
            case StopTimeline():
                self.keep(timeline=None)
            case SetGuidance(scale=scale, adaptive=adaptive, keyframes=keys, loop=loop):
                self.keep(adaptive=adaptive, track=GuidanceTrack(keys, self.now, loop) if keys else None)
                self.asked["adaptive"] = adaptive
                if scale is not None:
                    self.keep(scale=scale)
                    self.asked["guidance_scale"] = scale
            case SetDepth():
                self.set_depth(command)
            case SetControls(given=given):
                self.keep(controls=self.after.controls.model_copy(update=given))
                self.asked["controls"] = tuple(given.items())
            case SetReferences(images=images):
                self.keep(references=images)
                self.asked["references"] = tuple(map(self.image, images)) or CLEAR
            case SetMask(image=image):
                self.keep(mask=image)
                self.asked["mask"] = CLEAR if image is None else self.image(image)
            case SetRegion(distance=distance, side=side, softness=softness):
                region = None if distance is None else DistanceRegion(distance, side, softness)
                self.keep(region=region)
                self.asked["distance_region"] = region or CLEAR
            case SetCameraStart(given=given):
                start = replace(self.after.camera_start, **given)  # pyright: ignore[reportArgumentType] -- names of fields
                self.keep(camera_start=start)
                if "noise_scale" in given:
                    self.keep(latency=self.after.latency_again())
                self.asked["camera_start"] = start
            case SetSteps(steps=steps):
                self.keep(steps=steps)
                self.keep(latency=self.after.latency_again())
                self.asked["steps"] = steps or CLEAR
            case SetLatency(level=level):
                self.after = self.after.at(level)
                self.asked |= self.after.asked_sampling()
            case SetShape(orientation=orientation, fit=fit):
                self.set_shape(orientation, fit)
            case SetSeed(mode=mode, seed=seed):
                self.keep(seed_mode=mode, seed=self.after.current_seed if seed is None else seed)
            case Reset(seed=seed, picture=picture):
                self.start_over(seed, picture)
            case _:
                pass  # what shapes no picture is the session's affair

    def pass_time(self) -> None:
        """The timeline's step and the strength of this moment."""
        timeline = self.after.timeline
        if timeline is not None and (due := timeline.due(self.now)) is not None:
            step, after = due
            self.keep(timeline=after)
            if not self.has_new_prompt:
                self.set_prompt(step)
        if (track := self.after.track) is not None:
            scale = track.scale(self.now)
            self.keep(scale=scale)
            self.asked["guidance_scale"] = scale

    def set_depth(self, command: SetDepth) -> None:
        """Only what it names."""
        given = command.given
        if command.points is not None:
            given["points"] = tuple((point.x, point.y, point.value) for point in command.points)
        depth = replace(self.after.depth, **given)  # pyright: ignore[reportArgumentType] -- names of fields
        self.asked["depth"] = depth
        self.keep(depth=depth)

    def set_shape(self, orientation: Orientation | None, fit: CameraFit | None) -> None:
        """What is None stays. Another orientation is a reset. The engine keeps uploaded pictures as it has
        fitted them: they are asked of it anew, a mask also for another fit, which it has as the camera."""
        before = self.after
        if fit is not None:
            self.keep(fit=fit)
            self.asked["fit"] = fit
        is_turned = orientation is not None and orientation != before.orientation
        if (mask := before.mask) is not None and (is_turned or self.after.fit != before.fit):
            self.asked["mask"] = self.image(mask)
        if not is_turned:
            return
        self.keep(orientation=orientation)
        self.asked["orientation"] = orientation
        if references := before.references:
            self.asked["references"] = tuple(map(self.image, references))
        self.start_over(None, None)

    def set_prompt(self, change: PromptChange) -> None:
        self.asked |= {
            "prompts": weighted_prompts(change),
            "transition": change.transition,
            "blend_chunks": change.chunks,
            "blend_curve": change.curve,
        }
        blend = None
        if change.transition == "blend":  # to where it goes already: the model goes on
            blend = self.after.transition
            if change.weighted != self.after.prompts:
                chunks, curve = change.chunks, change.curve
                blend = TransitionState(transition="blend", done=0, chunks=chunks, curve=curve)
        self.keep(prompts=change.weighted, transition=blend)
        if change.transition == "cut":
            self.start_over(None, change.picture if isinstance(change, SetPrompt) else None)

    def start_over(self, seed: int | None, picture: str | None) -> None:
        """Begin with `seed`, else as the mode says, and with that picture. What was named in this chunk
        already stays."""
        if picture is not None:
            self.asked["first_picture"] = self.image(picture)
        if seed is None and self.asked.get("reset"):
            return
        if seed is None:
            seed = self.after.seed if self.after.seed_mode == "fixed" else self.draw_seed()
        self.asked |= {"reset": True, "seed": seed}
        self.keep(current_seed=seed)

    def keep(self, **values: object) -> None:
        self.after = replace(self.after, **values)  # pyright: ignore[reportArgumentType] -- names of fields
