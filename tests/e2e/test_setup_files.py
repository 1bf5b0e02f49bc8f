"""Set-ups and snapshots opened again, in a real browser with the real server."""

import base64
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from playwright.sync_api import Page, expect

from server.media.snapshot import SnapshotParameters, encode_png
from server.protocol.replies import ControlsState
from server.protocol.requests import WeightedPrompt
from tests.e2e.page import start, start_session, wait_applied, wait_live, wait_until
from tests.e2e.servers import ANSWER_LIMIT_S, Server
from tests.e2e.visits import EMPTY, OpenPage, PagePool, Visit, pages_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DROP = """([name, type, data]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  transfer.items.add(new File([bytes], name, { type }));
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""
SETUP: dict[str, Any] = {
    "version": 1,
    "prompt": {"prompts": [{"text": "molten gold", "weight": 0.75}, {"text": "blue ice", "weight": 0.25}]},
    "timeline": None,
    "latency": {"level": "low"},
    "camera_start": {"follows_motion": True},
    "guidance": {"scale": 1.5, "adaptive": 0.25},
    "depth": {"enabled": True, "smoothing": 0.5, "refinement": 0.0, "points": []},
    "controls": {"gray": 0.5, "lines": 0.0},
    "region": {"distance": 0.25, "side": "far", "softness": 0.5},
    "seed": {"mode": "fixed", "seed": 42},
    "output": {"fps": 12.0, "quality": "medium"},
    "page": {
        "timeline": {"steps": [{"at": 0, "text": "clay", "transition": "cut"}], "loop": False, "duration": 9},
        "mirror": True,
        "record_side": True,
    },
}
SNAPSHOT = SnapshotParameters(
    model="embedded",
    prompts=(WeightedPrompt(text="green moss", weight=1.0),),
    seed=77,
    chunk=3,
    frame=40,
    guidance_scale=0.75,
    controls=ControlsState(gray=1.0, lines=0.0),
    noise_scale=0.8,
    steps=4,
    time=datetime(2026, 1, 31, tzinfo=UTC),
)


@pytest.fixture(scope="module")
def live(pool: PagePool, server: Server) -> Iterator[tuple[Visit, str]]:
    """One live page for the tests of this file that take one stream, and its session."""
    with pages_of(pool, server) as open_page:
        visit = open_page()
        yield visit, start_session(visit.page)
        visit.page.click("#stop")
        refused = "the server responded with a status of 400 (Bad Request)"  # as the browser tells of it
        assert [error for error in visit.errors if refused not in error] == []


@pytest.fixture
def page(live: tuple[Visit, str]) -> Page:
    visit, _ = live
    wait_live(visit.page)
    visit.page.click("#tab-model")
    return visit.page


def saved(page: Page) -> dict[str, Any]:
    with page.expect_download() as download:
        page.click("#setup-save")
    assert download.value.suggested_filename == "setup.json"
    return json.loads(download.value.path().read_text(encoding="utf-8"))


def drop(page: Page, name: str, type: str, data: bytes) -> None:
    page.evaluate(DROP, [name, type, base64.b64encode(data).decode()])


def drop_setup(page: Page, setup: object) -> None:
    drop(page, "mine.json", "application/json", json.dumps(setup).encode())


def png(**texts: str) -> bytes:
    """A snapshot, with some of its texts replaced; "" takes one away."""
    picture = np.zeros((144, 256, 3), np.uint8)
    if not texts:
        return encode_png(picture, SNAPSHOT)
    with Image.open(io.BytesIO(encode_png(picture, SNAPSHOT))) as image:
        image.load()
        info = PngImagePlugin.PngInfo()
        for name, text in {
            **image.text,
            **{f"depthlive:{name}": text for name, text in texts.items()},
        }.items():
            info.add_itxt(name, text)
        out = io.BytesIO()
        image.save(out, "PNG", pnginfo=info)
    return out.getvalue()


def words(page: Page) -> str:
    return page.locator("#setup-words").text_content() or ""


def assert_shown(page: Page) -> None:
    """The page stands as SETUP says."""
    expect(page.locator("#prompt")).to_have_value("molten gold")
    expect(page.locator("#prompt-second")).to_have_value("blue ice")
    expect(page.locator("#balance")).to_have_value("0.25")
    for name, value in {
        "strength": "1.5",
        "adaptive": "0.25",
        "smoothing": "0.5",
        "gray": "0.5",
        "region-distance": "0.25",
        "region-softness": "0.5",
        "region-side": "far",
        "latency": "low",
        "quality": "medium",
        "fps": "12",
        "seed": "42",
    }.items():
        expect(page.locator(f"#{name}")).to_have_value(value)
    expect(page.locator("#keep-motion")).to_be_checked()
    expect(page.locator("#mirror")).to_be_checked()
    expect(page.locator("#record-side")).to_be_checked()
    expect(page.locator("#timeline-steps li")).to_have_count(1)


def test_what_is_saved_is_loaded_by_another_page_with_a_stream_of_its_own(
    page: Page, open_page: OpenPage, tmp_path: Path
) -> None:
    drop_setup(page, SETUP)
    expect(page.locator("#setup-words")).to_have_text("mine.json is loaded.")
    assert wait_until(lambda: saved(page) == SETUP, ANSWER_LIMIT_S)
    assert_shown(page)
    expect(page.locator("#setup-words")).to_have_text("Saved.")
    (file := tmp_path / "kept.json").write_text(json.dumps(saved(page)))
    other = open_page().page
    start(other)
    other.click("#tab-model")
    assert saved(other) != SETUP
    other.set_input_files("#setup-file", file)
    expect(other.locator("#setup-words")).to_have_text("kept.json is loaded.")
    assert wait_until(lambda: saved(other) == SETUP, ANSWER_LIMIT_S)
    assert_shown(other)


def test_what_is_loaded_is_told_to_the_next_stream_too_and_later_changes_add_to_it(page: Page) -> None:
    drop_setup(page, SETUP)
    expect(page.locator("#setup-words")).to_have_text("mine.json is loaded.")
    page.click("#tab-guide")
    page.fill("#refinement", "0.5")
    wait_applied(page, "Depth refinement")
    page.click("#stop")
    start(page)
    page.click("#tab-model")
    depth = {"enabled": True, "smoothing": 0.5, "refinement": 0.5, "points": []}
    assert wait_until(lambda: saved(page) == SETUP | {"depth": depth}, ANSWER_LIMIT_S)


def test_before_a_stream_it_is_shown_kept_and_sent_when_that_starts(open_page: OpenPage) -> None:
    page = open_page().page
    expect(page.locator("#strength")).to_be_enabled()  # the defaults have come
    page.click("#tab-model")
    drop_setup(page, SETUP)
    expect(page.locator("#setup-words")).to_have_text("mine.json is loaded.")
    assert_shown(page)
    told = {name: part for name, part in SETUP.items() if part is not None}
    assert saved(page) == told
    start(page)
    assert wait_until(lambda: saved(page) == SETUP, ANSWER_LIMIT_S)


def test_all_that_is_wrong_is_told_and_nothing_is_taken(page: Page) -> None:
    drop_setup(page, SETUP)
    assert wait_until(lambda: saved(page) == SETUP, ANSWER_LIMIT_S)
    for wrong, lines in (
        (
            {"looks": [], "page": {"lamps": 1, "mirror": 2}},
            [
                "looks: expected no such part of a set-up.",
                "page.lamps: this page does not know it; a newer one may.",
                "page.mirror: got 2, expected true or false.",
            ],
        ),
        (
            {"guidance": {"scale": 9}, "seed": {}, "page": {"mirror": False}},
            [
                "guidance.scale: got 9, expected a number from 0 to 2",
                'seed.mode: got null, expected "fixed" or "random"',
            ],
        ),
        ({"version": 2}, ["version: got 2, expected 1, the newest that is known here."]),
    ):
        drop_setup(page, SETUP | wrong)
        expect(page.locator("#setup-words")).to_have_text("\n".join(["mine.json was not taken.", *lines]))
        expect(page.locator("#command")).to_contain_text("mine.json was not taken.")
        page.wait_for_timeout(600)  # the server takes two a second
        assert saved(page) == SETUP
        assert_shown(page)


def test_a_snapshot_that_is_dropped_gives_its_settings(page: Page) -> None:
    drop(page, "shot.png", "image/png", png())
    expect(page.locator("#setup-words")).to_have_text(
        "shot.png is opened: its settings hold. Its seed counts from the next reset."
    )

    def is_as_shot() -> bool:
        now = saved(page)
        return (
            now["prompt"] == {"prompts": [{"text": "green moss", "weight": 1.0}]}
            and now["guidance"] == {"scale": 0.75, "adaptive": 0.0}
            and now["controls"] == {"gray": 1.0, "lines": 0.0}
            and (now["steps"]["steps"], now["camera_start"]["noise_scale"]) == (None, 0.8)
            and now["seed"] == {"mode": "fixed", "seed": 77}
        )

    assert wait_until(is_as_shot, ANSWER_LIMIT_S)
    expect(page.locator("#prompt")).to_have_value("green moss")
    expect(page.locator("#references canvas")).to_have_count(0)


def test_what_a_snapshot_names_and_nobody_knows_is_told_and_the_rest_applied(page: Page) -> None:
    texts = {
        "lamps": "3",
        "model": "other",
        "guidance_scale": "9",
        "seed": "?",
        "prompts": '[{"text": "wool"}]',
    }
    drop(page, "odd.png", "image/png", png(**texts))
    expect(page.locator("#prompt")).to_have_value("wool")
    assert words(page).splitlines() == [
        "odd.png is opened: its settings hold.",
        "It was made by other; here runs embedded.",
        "seed: its text cannot be read.",
        "lamps: not known here.",
        "guidance.scale: got 9, expected a number from 0 to 2",
    ]
    assert wait_until(lambda: saved(page)["prompt"]["prompts"][0]["text"] == "wool", ANSWER_LIMIT_S)


def test_a_picture_without_settings_is_a_reference_as_ever(page: Page) -> None:
    out = io.BytesIO()
    Image.new("RGB", (32, 32)).save(out, "PNG")
    drop(page, "plain.png", "image/png", out.getvalue())
    wait_applied(page, "References")
    assert saved(page)["without"] == ["references"]
    expect(page.locator("#setup-words")).to_have_text("Saved. Pictures are not in it: references.")
    page.click("#tab-guide")
    page.click("#reference-clear")
    wait_applied(page, "References")


def test_a_png_of_any_kind_is_read_within_bounds(open_page: OpenPage) -> None:
    page = open_page(path=EMPTY).page
    read = """async (data) => {
      const { readTexts } = await import("/session/snapshot_text.js");
      return [...readTexts(Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))).keys()];
    }"""

    def keys(data: bytes) -> list[str]:
        return page.evaluate(read, base64.b64encode(data).decode())

    whole = png()
    assert keys(whole) == [
        name for name, field in SnapshotParameters.model_fields.items() if field.is_required()
    ]
    for end in range(0, len(whole), 7):
        assert set(keys(whole[:end])) <= set(SnapshotParameters.model_fields)
    assert keys(b"\xff\xd8\xff" + whole) == keys(b"") == []
    many = {f"n{number}": "x" for number in range(100)}
    assert len(keys(png(**many))) == 64
    assert "model" not in keys(png(model="x" * 70_000))
