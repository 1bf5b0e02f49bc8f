"""Set-up of a stream: what commands have set and what outlasts the moment, as one JSON (PROTOCOL.md).

Sans-IO. It is made of the commands that there are, each without its type and id: what they take, it takes.

    setup = decode_setup(raw)               # a file's, or a client's; raises SetupRefused
    setup.commands("setup-1")               # to be carried out together, in this order
    encode_setup(setup_of(settings))        # the whole of what is in effect
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import pydantic_core
from pydantic import Field, JsonValue, ValidationError

from server.protocol.codec import MAX_MESSAGE_BYTES, ProtocolError, error_at, without_mark
from server.protocol.replies import SessionSettings
from server.protocol.requests import (
    Command,
    CommandRequest,
    Message,
    SetCameraStart,
    SetControls,
    SetDepth,
    SetGuidance,
    SetLatency,
    SetOutput,
    SetPrompt,
    SetRegion,
    SetSeed,
    SetSteps,
    SetTimeline,
    StopTimeline,
)
from streaming.api import DEFAULT_LATENCY

VERSION = 1
MAX_SETUP_BYTES = 256 * 1024
MAX_ERRORS = 20  # told of one set-up; the rest is counted

Upload: TypeAlias = Literal["references", "mask"]

FIELDS = "an object with the fields of {}, but type and id"
FORM = "a set-up: a JSON object with version"
VERSIONS = f"{VERSION}, the newest that is known here"


class SetupRefused(Exception):
    """Nothing of the set-up has been taken; `errors` tells all that is wrong with it, MAX_ERRORS at most."""

    def __init__(self, errors: list[ProtocolError]) -> None:
        more = len(errors) - MAX_ERRORS
        self.errors = errors[:MAX_ERRORS]
        super().__init__("\n".join([*map(str, self.errors), *([f"and {more} more"] if more > 0 else [])]))


def _part(type: str, *, or_null: bool = False) -> Any:
    return Field(None, description=FIELDS.format(type) + (", or null" if or_null else ""))


class Setup(Message):
    """A stream's set-up. What is left out stays as it is; a `timeline` of null: none plays.

    `without` names the uploaded pictures that were in effect and are not in it: they live with a session.
    `page` is a page's own, and means nothing to a server.
    """

    version: Literal[1] = Field(description=VERSIONS)
    # In the order in which they are carried out: a timeline begins with its own prompt, and what a latency
    # sets may be set otherwise.
    prompt: SetPrompt | None = _part("prompt.set")
    timeline: SetTimeline | None = _part("timeline.set", or_null=True)
    latency: SetLatency | None = _part("latency.set")
    steps: SetSteps | None = _part("steps.set")
    camera_start: SetCameraStart | None = _part("camera_start.set")
    guidance: SetGuidance | None = _part("guidance.set")
    depth: SetDepth | None = _part("depth.set")
    controls: SetControls | None = _part("controls.set")
    region: SetRegion | None = _part("region.set")
    seed: SetSeed | None = _part("seed.set")
    output: SetOutput | None = _part("output.set")
    without: tuple[Upload, ...] = Field((), max_length=2, description='a list of "references" and "mask"')
    page: dict[str, JsonValue] | None = Field(None, description="an object")

    def commands(self, id: str) -> tuple[Command, ...]:
        """What carries it out, in this order; their ids are `id` and more, 20 characters longer at most."""
        found: list[Command] = []
        for name in COMMANDS:
            command: Command | None = getattr(self, name)
            if name == "timeline" and command is None and name in self.model_fields_set:
                command = StopTimeline(id=id)
            elif name == "latency" and command is None and self._has_sampling:
                # All that it sets is named: a latency that was chosen before is over, even if it fits.
                command = SetLatency(id=id, level=DEFAULT_LATENCY)
            if command is not None:
                found.append(command.model_copy(update={"id": f"{id}-{name}"}))
        return tuple(found)

    @property
    def _has_sampling(self) -> bool:
        start = self.camera_start
        return self.steps is not None and start is not None and start.noise_scale is not None


COMMANDS: Mapping[str, type[CommandRequest]] = {
    "prompt": SetPrompt,
    "timeline": SetTimeline,
    "latency": SetLatency,
    "steps": SetSteps,
    "camera_start": SetCameraStart,
    "guidance": SetGuidance,
    "depth": SetDepth,
    "controls": SetControls,
    "region": SetRegion,
    "seed": SetSeed,
    "output": SetOutput,
}


def decode_setup(raw: str | bytes) -> Setup:
    """A whole set-up. Raises SetupRefused with all that is wrong with it: field, value, what was expected."""
    size = len(raw.encode(errors="surrogatepass")) if isinstance(raw, str) else len(raw)
    if size > MAX_SETUP_BYTES:
        raise _refused("setup", f"{size} bytes", f"at most {MAX_SETUP_BYTES} bytes")
    try:
        data: Any = pydantic_core.from_json(without_mark(raw), allow_inf_nan=False)
    except (ValueError, TypeError):  # nested beyond the parser's limit, too; TypeError: half a character
        raise _refused("setup", raw, FORM) from None
    if not isinstance(data, dict):
        raise _refused("setup", raw, FORM)
    given: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType] -- JSON
    version = given.get("version")
    if "version" in given and (type(version) is not int or version > VERSION):
        raise _refused("version", version, VERSIONS)  # all else may be wrong for that alone
    errors = [error for name in COMMANDS if name in given for error in _of_form(name, given[name])]
    try:
        setup = Setup.model_validate_json(pydantic_core.to_json(_as_messages(given)))
    except ValidationError as error:
        details = error.errors(include_url=False)
        within = {path[:length] for path in (one["loc"] for one in details) for length in range(len(path))}
        for detail in details:
            if (path := detail["loc"]) in within:
                continue  # a list of which an item is wrong is told to be too short as well
            what = f"no such field in {path[0]}" if len(path) > 1 else "no such part of a set-up"
            errors.append(error_at(path, detail, given, Setup, what))
        raise SetupRefused(errors) from None
    if errors:
        raise SetupRefused(errors)
    return setup


def encode_setup(setup: Setup) -> str:
    """As JSON, to be read by people too: what was given alone, as null and absent may differ."""
    given = setup.model_dump(mode="json", exclude_unset=True)
    for name in COMMANDS:
        if isinstance(given.get(name), dict):
            given[name] = {
                field: value for field, value in given[name].items() if field not in _of_messages(name)
            }
    return json.dumps(given, ensure_ascii=False, indent=2)


def setup_of(settings: SessionSettings) -> Setup:
    """All that is in effect, but uploaded pictures and what belongs to a moment.

    A timeline's prompts are its own, so that while one plays there is no prompt beside it. A latency's steps
    and noise scale are those of the model, so that they are not there either.
    """
    parts: dict[str, object] = {"version": VERSION, "timeline": None}
    if (timeline := settings.timeline) is not None:
        parts["timeline"] = _as(
            SetTimeline, steps=timeline.steps, loop=timeline.loop, duration=timeline.duration
        )
    # A server's own prompt need not be one that a command could carry.
    elif prompts := [dict(prompt) for prompt in settings.prompts if prompt.text.strip()]:
        parts["prompt"] = _as(SetPrompt, prompts=tuple(prompts))
    start = dict(settings.camera_start)
    if settings.latency is not None:
        parts["latency"] = _as(SetLatency, level=settings.latency)
        start.pop("noise_scale")
    else:
        parts["steps"] = _as(SetSteps, steps=settings.steps)
    guidance = dict(settings.guidance)
    if settings.guidance.keyframes is None:
        del guidance["keyframes"], guidance["loop"]
    else:
        del guidance["scale"]
    region, seed = settings.region, settings.seed
    parts |= {
        "camera_start": _as(SetCameraStart, **start),
        "guidance": _as(SetGuidance, **guidance),
        "depth": _as(SetDepth, **dict(settings.depth)),
        "controls": _as(SetControls, **dict(settings.controls)),
        "region": _as(SetRegion, distance=None) if region is None else _as(SetRegion, **dict(region)),
        "seed": _as(SetSeed, mode=seed.mode, **({} if seed.seed is None else {"seed": seed.seed})),
        "output": _as(SetOutput, **dict(settings.output)),
    }
    if missing := [name for name in ("references", "mask") if getattr(settings, name)]:
        parts["without"] = tuple(missing)
    return Setup.model_validate(parts)


def _as(command: type[CommandRequest], **fields: object) -> CommandRequest:
    return command.model_validate({"id": "setup", **fields})


def setup_schema(ref_template: str = "#/$defs/{model}") -> dict[str, Any]:
    """JSON Schema of a set-up (draft 2020-12). Its parts are called after the commands: SetPromptPart."""
    schema = Setup.model_json_schema(ref_template=ref_template)
    text = json.dumps(schema)
    for command in COMMANDS.values():
        own = ref_template.format(model=command.__name__)
        text = text.replace(f'"{own}"', f'"{own}Part"')
    schema = json.loads(text)
    for name, command in COMMANDS.items():
        part = schema["$defs"].pop(command.__name__)
        for field in _of_messages(name):
            part["properties"].pop(field, None)
        part["required"] = [field for field in part.get("required", []) if field in part["properties"]]
        schema["$defs"][f"{command.__name__}Part"] = part
        if name != "timeline":
            schema["properties"][name] = {"$ref": ref_template.format(model=f"{command.__name__}Part")}
    return schema


def _of_messages(name: str) -> tuple[str, ...]:
    """Fields of a part's command that the part does without. An uploaded picture lives with a session."""
    return ("type", "id", "picture") if name == "prompt" else ("type", "id")


def _as_messages(data: Mapping[str, Any]) -> dict[str, Any]:
    """Its parts with the type and the id that a message has."""
    whole = dict(data)
    for name, command in COMMANDS.items():
        if isinstance(part := whole.get(name), dict):
            whole[name] = {**part, "type": command.model_fields["type"].default, "id": name}
    return whole


def _of_form(name: str, part: Any) -> list[ProtocolError]:
    """What keeps one part from being a message's fields, that its command would not tell."""
    if part is None and name != "timeline":
        return [ProtocolError(name, None, Setup.model_fields[name].description or "")]
    if not isinstance(part, dict):
        return []  # told with its fields
    fields: dict[str, Any] = part  # pyright: ignore[reportUnknownVariableType] -- JSON
    found = [
        ProtocolError(f"{name}.{field}", fields[field], f"no such field in {name}")
        for field in _of_messages(name)
        if field in fields
    ]
    size = len(pydantic_core.to_json(fields))
    if size > MAX_MESSAGE_BYTES:
        found.append(ProtocolError(name, f"{size} bytes", f"at most {MAX_MESSAGE_BYTES} bytes"))
    return found


def _refused(field: str, value: object, expected: str) -> SetupRefused:
    return SetupRefused([ProtocolError(field, value, expected)])
