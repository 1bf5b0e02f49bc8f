import json
import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.protocol.codec import (
    CLIENT_MESSAGES,
    MAX_MESSAGE_BYTES,
    ProtocolError,
    decode,
    decode_server,
    encode,
)
from server.protocol.replies import Applied, CommandName, ServerMessage
from server.protocol.requests import (
    Command,
    GuidanceKey,
    Ping,
    Reset,
    SetCameraStart,
    SetControls,
    SetDepth,
    SetGuidance,
    SetLatency,
    SetMask,
    SetOutput,
    SetPrompt,
    SetRegion,
    SetSteps,
    SetTimeline,
    TimelineStep,
    WeightedPrompt,
)


def test_a_byte_order_mark_in_front_of_a_message_is_passed_over():
    text = '{"type": "ping", "id": "1"}'
    for raw in ("\ufeff" + text, b"\xef\xbb\xbf" + text.encode()):
        assert decode(raw) == decode(text)
    with pytest.raises(ProtocolError, match="a JSON object"):
        decode("\ufeff\ufeff" + text)
    pong = '{"type": "superseded", "id": "1", "by": "2"}'
    assert decode_server("\ufeff" + pong) == decode_server(pong)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


field_names = sorted({name for model in CLIENT_MESSAGES.values() for name in model.model_fields})


def error_of(raw: str | bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        decode(raw)
    return caught.value


def test_defaults_are_filled_in_and_text_is_stripped():
    assert decode('{"type":"prompt.set","id":"7","text":"  gold "}') == SetPrompt(
        id="7", text="gold", transition="recache"
    )


@pytest.mark.parametrize(
    ("raw", "field", "value", "expected", "id"),
    [
        ("hello", "message", "hello", "a JSON object", None),
        (b"\xff\xfe", "message", "\ufffd\ufffd", "a JSON object", None),
        ("[1]", "message", "[1]", "a JSON object", None),
        ("[" * 5000, "message", "[" * 99 + "…", "a JSON object", None),
        ('{"id":"1"}', "type", "null", "one of prompt.set, timeline.set,", "1"),
        ('{"type":"fly","id":"1"}', "type", "fly", "one of prompt.set,", "1"),
        ('{"type":["ping"],"id":"1"}', "type", '["ping"]', "one of prompt.set,", "1"),
        ('{"type":"ping"}', "id", "null", "a string of 1 to 64 characters", None),
        ('{"type":"ping","id":5}', "id", "5", "a string of 1 to 64 characters", None),
        ('{"type":"ping","id":""}', "id", "", "a string of 1 to 64 characters", None),
        ('{"type":"prompt.set","id":"1","text":"   "}', "text", "   ", "1 to 1000 characters", "1"),
        ('{"type":"prompt.set","id":"1"}', "text", "null", "1 to 1000 characters", "1"),
        (
            '{"type":"prompt.set","id":"1","text":"a","chunks":33}',
            "chunks",
            "33",
            "an integer from 1 to 32",
            "1",
        ),
        (
            '{"type":"prompt.set","id":"1","text":"a","prompts":[{"text":"b"}]}',
            "prompts",
            '[{"text": "b"}]',
            "not both",
            "1",
        ),
        (
            '{"type":"prompt.set","id":"1","prompts":[{"text":"a"},{"text":"b","weight":0}]}',
            "prompts[1].weight",
            "0",
            "a number above 0, at most 10",
            "1",
        ),
        (
            '{"type":"prompt.set","id":"1","prompts":[{"txt":"a"}]}',
            "prompts[0].text",
            "null",
            "1 to 1000",
            "1",
        ),
        ('{"type":"prompt.set","id":"1","prompts":[7]}', "prompts[0]", "7", "objects with text", "1"),
        (
            '{"type":"timeline.set","id":"1","steps":[{"at":0,"text":"a"},{"at":2}]}',
            "steps[1].text",
            "null",
            "1 to 1000 characters",
            "1",
        ),
        (
            '{"type":"timeline.set","id":"1","steps":[{"at":1,"text":"a"}]}',
            "steps",
            "[{",
            "rising from 0",
            "1",
        ),
        (
            '{"type":"timeline.set","id":"1","steps":[{"at":0,"text":"a"}],"loop":true}',
            "duration",
            "null",
            "needed to loop",
            "1",
        ),
        (
            '{"type":"timeline.set","id":"1","steps":[{"at":0,"text":"a"},{"at":2,"text":"b"}],"duration":2}',
            "duration",
            "2",
            "more than the last step's `at`, 2",
            "1",
        ),
        ('{"type":"guidance.set","id":"1"}', "scale", "null", "or keyframes instead", "1"),
        (
            '{"type":"guidance.set","id":"1","keyframes":[{"at":0,"scale":1}],"loop":true}',
            "keyframes",
            "[{",
            "a last `at` above 0",
            "1",
        ),
        (
            '{"type":"guidance.set","id":"1","keyframes":[{"at":1,"scale":1},{"at":1,"scale":2}]}',
            "keyframes",
            "[{",
            "rising",
            "1",
        ),
        (
            '{"type":"guidance.set","id":"1","scale":1,"keyframes":[{"at":0,"scale":1}]}',
            "scale",
            "1",
            "not both",
            "1",
        ),
        ('{"type":"depth.set","id":"1","smoothing":2}', "smoothing", "2", "a number from 0 to 1", "1"),
        (
            '{"type":"depth.set","id":"1","points":[{"x":0,"y":-1,"value":0}]}',
            "points[0].y",
            "-1",
            "a number from 0 to 1",
            "1",
        ),
        (
            '{"type":"references.set","id":"1","images":["a","b","c","d"]}',
            "images",
            '["a"',
            "a list of 0 to 3",
            "1",
        ),
        ('{"type":"controls.set","id":"1","gray":2.5}', "gray", "2.5", "a number from 0 to 2", "1"),
        ('{"type":"controls.set","id":"1","lines":"1"}', "lines", "1", "a number from 0 to 2", "1"),
        ('{"type":"controls.set","id":"1","depth":1}', "depth", "1", "no such field", "1"),
        ('{"type":"camera_start.set","id":"1","noise_scale":0}', "noise_scale", "0", "a number above 0", "1"),
        ('{"type":"region.set","id":"1"}', "distance", "null", "or null", "1"),
        ('{"type":"region.set","id":"1","distance":1,"side":"up"}', "side", "up", '"near" or "far"', "1"),
        ('{"type":"prompt.set","id":"1","text":"a","picture":"b"}', "picture", "b", "none, unless", "1"),
        ('{"type":"mask.set","id":"1"}', "image", "null", "or null", "1"),
        ('{"type":"steps.set","id":"1","steps":[500,500]}', "steps", "[500", "falling", "1"),
        ('{"type":"latency.set","id":"1","level":"none"}', "level", "none", '"lower" or "lowest"', "1"),
        ('{"type":"latency.set","id":"1"}', "level", "null", '"standard", "low"', "1"),
        ('{"type":"steps.set","id":"1","steps":[1001]}', "steps[0]", "1001", "from 1 to 1000", "1"),
        ('{"type":"seed.set","id":"1","mode":"random","seed":1}', "seed", "1", "none, unless", "1"),
        ('{"type":"freeze.set","id":"1","on":1}', "on", "1", "true or false", "1"),
        ('{"type":"output.set","id":"1","fps":0.5}', "fps", "0.5", "a number from 1 to 60", "1"),
        (
            '{"type":"prompt.set","id":"1","text":"a","transition":"fade"}',
            "transition",
            "fade",
            "recache",
            "1",
        ),
        ('{"type":"prompt.set","id":"1","text":"a","speed":3}', "speed", "3", "no such field", "1"),
        ('{"type":"guidance.set","id":"1","scale":2.5}', "scale", "2.5", "a number from 0 to 2", "1"),
        ('{"type":"guidance.set","id":"1","scale":"1"}', "scale", "1", "a number from 0 to 2", "1"),
        ('{"type":"guidance.set","id":"1","scale":true}', "scale", "true", "a number from 0 to 2", "1"),
        ('{"type":"guidance.set","id":"1","scale":NaN}', "message", "{", "a JSON object", None),
        ('{"type":"reset","id":"1","seed":-1}', "seed", "-1", "an integer from 0", "1"),
        ('{"type":"reset","id":"1","seed":1.5}', "seed", "1.5", "an integer from 0", "1"),
    ],
)
def test_error_names_field_value_expected_and_id(raw, field, value, expected, id):
    error = error_of(raw)
    assert (error.field, error.id) == (field, id)
    assert error.value.startswith(value)
    assert expected in error.expected
    assert error.field in str(error) and error.expected in str(error)


@pytest.mark.parametrize("character", ["a", "ä", "😀"])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_law_the_size_of_a_message_is_bounded_in_bytes(character, as_bytes):
    """Not in characters, which would let in four times as much."""
    frame = len(json.dumps({"type": "prompt.set", "id": "1", "text": ""}))
    count = (MAX_MESSAGE_BYTES - frame) // len(character.encode())
    text = {"type": "prompt.set", "id": "1", "text": character * count}
    raw, longer = (
        json.dumps(text | {"text": text["text"] + more}, ensure_ascii=False) for more in ("", character)
    )
    assert error_of(raw.encode() if as_bytes else raw).field == "text"
    error = error_of(longer.encode() if as_bytes else longer)
    assert error.field == "message" and error.expected == f"at most {MAX_MESSAGE_BYTES} bytes"
    assert error.value == f"{len(longer.encode())} bytes" and error.id is None


def test_half_a_character_is_no_json_and_no_crash():
    assert error_of(chr(0xD83D)).expected == "a JSON object"


def test_the_whole_value_never_comes_back():
    raw = json.dumps({"type": "prompt.set", "id": "1", "text": "x" * 5000})
    assert len(error_of(raw).value) == 100


@settings(max_examples=50)
@given(st.text() | st.binary() | json_values.map(json.dumps))
def test_nothing_but_protocol_errors(raw):
    try:
        decode(raw)
    except ProtocolError:
        pass


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(field_names), json_values))
def test_nothing_but_protocol_errors_for_objects(fields):
    for type in CLIENT_MESSAGES:
        try:
            decode(json.dumps(fields | {"type": type}))
        except ProtocolError:
            pass


ids = st.text(min_size=1, max_size=64)
keys = (GuidanceKey(at=0, scale=1), GuidanceKey(at=1, scale=2))
weighted = st.lists(
    st.builds(WeightedPrompt, text=st.just("gold"), weight=st.floats(0.1, 10)), min_size=1, max_size=8
).map(tuple)
client_messages = (
    st.builds(
        SetPrompt,
        id=ids,
        text=st.text(min_size=1, max_size=1000).map(str.strip).filter(bool),
        transition=st.sampled_from(["recache", "cut"]),
    )
    | st.builds(SetPrompt, id=ids, prompts=weighted, transition=st.just("blend"), chunks=st.integers(1, 32))
    | st.builds(SetGuidance, id=ids, scale=st.floats(0, 2), adaptive=st.floats(0, 1))
    | st.builds(SetGuidance, id=ids, keyframes=st.just(keys))
    | st.builds(SetTimeline, id=ids, steps=st.just((TimelineStep(at=0, text="a"),)), duration=st.floats(1, 9))
    | st.builds(SetDepth, id=ids, smoothing=st.none() | st.floats(0, 1))
    | st.builds(SetControls, id=ids, gray=st.none() | st.floats(0, 2), lines=st.none() | st.floats(0, 2))
    | st.builds(
        SetRegion, id=ids, distance=st.none() | st.floats(0, 1), side=st.sampled_from(["near", "far"])
    )
    | st.builds(
        SetCameraStart, id=ids, noise_scale=st.none() | st.floats(0.1, 1), follows_motion=st.booleans()
    )
    | st.builds(SetMask, id=ids, image=st.none() | st.just("a"))
    | st.builds(SetSteps, id=ids, steps=st.none() | st.just((1000, 500)))
    | st.builds(SetLatency, id=ids, level=st.sampled_from(["standard", "low", "lower", "lowest"]))
    | st.builds(Reset, id=ids, seed=st.none() | st.integers(0, 2**63 - 1))
    | st.builds(Ping, id=ids)
)


@pytest.mark.parametrize("id", [" 7", "\r", "7 "])
def test_an_id_comes_back_as_it_was(id):
    """Only the prompt's text is trimmed."""
    sent = {"type": "prompt.set", "id": id, "text": " gold "}
    assert decode(json.dumps(sent)) == SetPrompt(id=id, text="gold")


@settings(max_examples=50)
@given(client_messages)
def test_round_trip_client(message):
    assert decode(encode(message)) == message
    assert decode(encode(message).encode()) == message


@settings(max_examples=50)
@given(st.builds(Applied))
def test_round_trip_server(message):
    assert decode_server(encode(message)) == message


def documented_examples() -> list[str]:
    """Those of messages; the one of a set-up has its own test."""
    text = (Path(__file__).parents[3] / "PROTOCOL.md").read_text(encoding="utf-8")
    _, _, text = text.partition("\n## Client to server\n")
    return re.findall(r"^```json\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def section(example: str) -> str:
    text = (Path(__file__).parents[3] / "PROTOCOL.md").read_text(encoding="utf-8")
    return "client" if text.index(example) < text.index("## Server to client") else "server"


def test_what_is_not_given_is_not_sent():
    """Null and absent differ: null lifts the limit, absent leaves it."""
    assert "fps" not in json.loads(encode(SetOutput(id="1", quality="low")))
    assert json.loads(encode(SetOutput(id="1", fps=None)))["fps"] is None
    assert decode(encode(SetOutput(id="1", quality="low"))).model_fields_set == {"type", "id", "quality"}


def test_every_command_can_be_applied():
    assert sorted(get_args(CommandName)) == sorted(
        model.model_fields["type"].default for model in get_args(Command)
    )


@pytest.mark.parametrize("example", documented_examples(), ids=lambda e: json.loads(e)["type"])
def test_documented_example_round_trips_unchanged(example):
    decoded = decode(example) if section(example) == "client" else decode_server(example)
    assert json.loads(encode(decoded)) == json.loads(example)


def test_every_message_type_is_documented():
    documented = sorted({(section(e), json.loads(e)["type"]) for e in documented_examples()})
    defined = [("client", name) for name in CLIENT_MESSAGES] + [
        ("server", model.model_fields["type"].default) for model in get_args(ServerMessage)
    ]
    assert documented == sorted(defined)
