"""What a performer does while the stream runs, in a real browser with the real server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Response, expect

from tests.e2e.page import (
    APPLIED_LIMIT_MS,
    OVERFLOWING,
    colour,
    frames_shown,
    start,
    wait_applied,
    wait_colour,
    wait_live,
    wait_until,
)
from tests.e2e.servers import Server
from tests.e2e.visits import DESKTOP, PAGE_LIMIT_MS, OpenPage, PagePool, Visit, pages_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# The chunk that telemetry last told of, when Send is pressed.
SEND = """() => {
  const { textContent } = document.getElementById("figure-chunk");
  document.getElementById("send").click();
  return textContent;
}"""
MOST_CHUNKS = 3  # from the one that telemetry last told of to the first that a command shaped
SHOWN_LIMIT_S = 60.0
NEARLY = 16.0  # of 255: a colour after both codecs
LEAST_RECORDED = 6  # pictures: half a chunk
PASTE = """async (size) => {
  const canvas = new OffscreenCanvas(size, size);
  canvas.getContext("2d").fillRect(0, 0, size, size);
  const transfer = new DataTransfer();
  transfer.items.add(new File([await canvas.convertToBlob()], "pasted.png", { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
}"""


# How opaque the veil is in these parts of its width, 0 ... 255.
VEILED = """(parts) => {
  const veil = document.getElementById("mask-canvas");
  const brush = veil.getContext("2d");
  return parts.map((part) => brush.getImageData(veil.width * part, veil.height / 2, 1, 1).data[3]);
}"""


@pytest.fixture(scope="module")
def sessions() -> list[str]:
    """The addresses of the sessions that the page of `visit` was given, in order."""
    return []


@pytest.fixture(scope="module")
def visit(pool: PagePool, server: Server, sessions: list[str]) -> Iterator[Visit]:
    """One live page for the tests of this file that take one stream."""

    def note(response: Response) -> None:
        if response.status == 201 and "location" in response.headers:
            sessions.append(response.headers["location"])

    with pages_of(pool, server) as open_page:
        visit = open_page(prepare=lambda visit: visit.on("response", note))
        start(visit.page)
        yield visit
        visit.page.click("#stop")
        assert visit.errors == []


@pytest.fixture
def page(visit: Visit) -> Page:
    """The live page, back on its first panel."""
    wait_live(visit.page)
    visit.page.click("#tab-looks")
    return visit.page


def write(page: Page, prompt: str, transition: str) -> None:
    page.check(f"input[name=transition][value={transition}]", force=True)
    page.fill("#prompt", prompt)


def send(page: Page, prompt: str, transition: str) -> dict[str, str]:
    write(page, prompt, transition)
    page.click("#send")
    return wait_applied(page, "Prompt")


def test_a_prompt_switch_shows_within_two_chunks_of_the_send(page: Page) -> None:
    expect(page.locator("#figure-chunk")).to_have_text(re.compile(r"^\d+$"))
    write(page, "a statue of blue ice", "recache")
    before = int(page.evaluate(SEND))
    figures = wait_applied(page, "Prompt")
    print(f"prompt switch: {figures['latencyMs']} ms, chunk {before} -> {figures['chunk']}")
    assert int(figures["chunk"]) - before <= MOST_CHUNKS
    expect(page.locator("#figure-switch")).to_have_text(re.compile(r"^\d+ ms, known here after \d+ ms$"))


def test_each_transition_does_what_it_says(page: Page) -> None:
    flowing = send(page, "molten gold", "recache")
    badges = page.locator("#badges")
    blended = send(page, "a winter forest", "blend")
    assert int(blended["chunk"]) > int(flowing["chunk"])  # the picture goes on
    expect(badges.locator("[data-badge=blend]")).to_have_count(0, timeout=APPLIED_LIMIT_MS)  # and arrives
    cut = send(page, "molten gold", "cut")
    assert int(cut["chunk"]) == 0  # the picture starts afresh


def test_two_prompts_are_mixed_by_their_shares(page: Page) -> None:
    page.click("#mix-toggle")
    page.fill("#prompt-second", "blue ice")
    page.fill("#balance", "0.25")  # let go: sent
    wait_applied(page, "Prompt")
    expect(page.locator("#balance-value")).to_have_text("25 %")
    page.click("#mix-toggle")
    send(page, "molten gold", "recache")


def test_prompts_that_were_sent_are_kept_in_the_history(page: Page) -> None:
    page.click("#history summary")
    entries = page.locator("#history-list button")
    expect(entries.first).to_have_text("molten gold")
    entries.nth(1).click()
    wait_applied(page, "Prompt")


def test_references_are_uploaded_pasted_and_cleared(page: Page, tmp_path: Path) -> None:
    picture = tmp_path / "lava.png"
    Image.fromarray(np.full((90, 160, 3), (200, 40, 10), np.uint8)).save(picture)
    page.click("#tab-guide")
    page.set_input_files("#reference-file", picture)
    wait_applied(page, "References")
    page.evaluate(PASTE, 64)
    expect(page.locator("#references canvas")).to_have_count(2)
    wait_applied(page, "References")
    page.click("#reference-camera")
    expect(page.locator("#references canvas")).to_have_count(3)
    page.click("#reference-clear")
    wait_applied(page, "References")
    expect(page.locator("#references canvas")).to_have_count(0)


def test_a_file_that_is_no_picture_is_refused_in_plain_words(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    page.click("#tab-guide")
    page.set_input_files("#reference-file", broken)
    expect(page.locator("#reference-words")).to_contain_text("no picture that this browser can read")


def test_a_mask_keeps_the_camera_where_it_is_veiled(page: Page) -> None:
    page.click("#tab-guide")
    page.click("#mask-draw")
    box = page.locator("#mask-canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.8, steps=5)
    page.mouse.up()
    wait_applied(page, "Mask")
    page.click("#mask-half")  # paint on the left, keep the camera on the right
    wait_applied(page, "Mask")
    page.click("#mask-draw")

    def right_is_nearer_to_the_camera() -> bool:
        left, right = (
            sum(abs(a - b) for a, b in zip(colour(page, *part), colour(page, *part, of="input"), strict=True))
            for part in ((0.05, 0.45), (0.55, 0.95))
        )
        return right < left

    assert wait_until(right_is_nearer_to_the_camera, SHOWN_LIMIT_S)
    page.click("#mask-clear")
    wait_applied(page, "Mask")


def test_a_stroke_is_drawn_where_it_is_seen(page: Page) -> None:
    """A mirrored picture is mirrored on show alone: what is drawn on its right is the camera's left."""
    page.click("#tab-guide")
    page.click("#mask-draw")
    box = page.locator("#mask-canvas").bounding_box()
    assert box is not None
    for mirror, is_mirrored in (("off", False), ("on", True)):
        page.evaluate(
            "(is) => { const key = document.getElementById('mirror'); if (key.checked !== is) key.click(); }",
            is_mirrored,
        )
        assert page.get_attribute("body", "data-mirror") == mirror
        page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.4)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.6, steps=3)
        page.mouse.up()
        left, right = page.evaluate(VEILED, [0.25, 0.75])
        assert (left > 0, right > 0) == (is_mirrored, not is_mirrored)
        wait_applied(page, "Mask")
        page.click("#mask-clear")
        wait_applied(page, "Mask")
        assert page.evaluate(VEILED, [0.25, 0.75]) == [0, 0]
    page.evaluate("() => document.getElementById('mirror').click()")
    page.click("#mask-draw")


def test_pause_holds_the_picture_at_once_and_resume_goes_on(page: Page) -> None:
    page.focus("#start, #stop")
    page.keyboard.press("p")
    assert page.evaluate("() => document.getElementById('output').paused")
    wait_applied(page, "Pause")
    expect(page.locator("[data-badge=paused]")).to_have_text("Paused")
    page.click("#pause")
    wait_applied(page, "Resume")
    before = frames_shown(page)
    assert wait_until(lambda: frames_shown(page) > before + 5, SHOWN_LIMIT_S)


def test_freeze_holds_the_camera_and_lets_it_go(page: Page) -> None:
    page.click("#freeze")
    wait_applied(page, "Freeze")
    expect(page.locator("[data-badge=frozen]")).to_have_text("Camera frozen")
    page.click("#freeze")
    expect(page.locator("[data-badge=frozen]")).to_have_count(0)


def test_a_snapshot_tells_how_it_was_made(page: Page, server: Server, tmp_path: Path) -> None:
    send(page, "molten gold", "recache")
    with page.expect_download() as download:
        page.click("#snapshot")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        model = server.info()["model"]
        assert picture.size == (model["width"], model["height"])
        assert "molten gold" in json.dumps({str(key): str(text) for key, text in picture.info.items()})


def test_a_recording_can_be_downloaded_and_played(page: Page, tmp_path: Path) -> None:
    page.click("#record")
    expect(page.locator("[data-badge=recording]")).to_have_text(re.compile(r"\d:\d\d"))
    before = frames_shown(page)
    assert wait_until(lambda: frames_shown(page) > before + 2 * LEAST_RECORDED, SHOWN_LIMIT_S)
    page.click("#record")
    link = page.locator("#recordings a").first
    expect(link).to_have_text("Download the recording")
    with page.expect_download() as download:
        link.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    with av.open(str(path)) as video:
        frames = sum(1 for _ in video.decode(video=0))
    assert frames > LEAST_RECORDED
    expect(page.locator("[data-badge=recording]")).to_have_count(0)


def test_a_recording_is_not_lost_by_stopping_the_stream(page: Page) -> None:
    recordings = page.locator("#recordings a")
    before = recordings.count()
    page.click("#record")
    expect(page.locator("[data-badge=recording]")).to_have_text(re.compile(r"\d:\d[1-9]"), timeout=60_000)
    page.click("#stop")
    expect(recordings).to_have_count(before + 1)
    with page.expect_download() as download:
        recordings.first.click()
    assert download.value.path().stat().st_size > 0
    start(page)


def test_a_timeline_is_loaded_played_and_stopped(page: Page, tmp_path: Path) -> None:
    score = tmp_path / "score.json"
    steps = [
        {"at": 0, "text": "molten gold"},
        {"at": 2, "text": "blue ice", "transition": "blend", "chunks": 2},
    ]
    score.write_text(json.dumps({"steps": steps, "loop": True, "duration": 6}))
    page.click("#tab-timeline")
    page.set_input_files("#timeline-file", score)
    rows = page.locator("#timeline-steps li")
    expect(rows).to_have_count(2)
    page.click("#timeline-play")
    wait_applied(page, "Timeline")
    expect(rows.nth(1)).to_have_attribute("aria-current", "step", timeout=APPLIED_LIMIT_MS)
    with page.expect_download() as download:
        page.click("#timeline-save")
    saved = json.loads(download.value.path().read_text())
    assert [step["text"] for step in saved["steps"]] == ["molten gold", "blue ice"]
    page.click("#timeline-stop")
    wait_applied(page, "Timeline stop")


def test_depth_is_shown_and_can_be_turned(page: Page) -> None:
    expect(page.locator("#depth-preview")).to_be_visible()
    page.click("#tab-guide")
    page.fill("#adaptive", "0.5")
    page.fill("#smoothing", "0.5")
    wait_applied(page, "Depth smoothing")
    page.uncheck("#depth-enabled")
    wait_applied(page, "Depth off")
    page.check("#depth-enabled")


def test_gray_and_lines_are_turned_up_and_shown_while_they_are_on(page: Page) -> None:
    page.click("#tab-guide")
    page.fill("#gray", "0.8")
    wait_applied(page, "Gray")
    page.fill("#lines", "0.5")
    wait_applied(page, "Lines")
    for name in ("gray", "lines"):
        expect(page.locator(f"#{name}-preview")).to_be_visible()
        expect(page.locator(f"#{name}-preview")).to_have_js_property("naturalWidth", 128)
    page.set_viewport_size({"width": 320, "height": 740})
    assert page.evaluate(OVERFLOWING, 320) == []
    page.set_viewport_size(DESKTOP)
    page.fill("#lines", "0")
    wait_applied(page, "Lines")
    expect(page.locator("#lines-figure")).to_be_hidden()
    expect(page.locator("#gray-preview")).to_be_visible()
    expect(page.locator("#gray-value")).to_have_text("0.80")


def test_the_camera_is_kept_and_painted_over_by_distance(page: Page) -> None:
    page.click("#tab-guide")
    page.fill("#keep", "0.5")
    wait_applied(page, "Keep the camera")
    page.check("#keep-motion")
    wait_applied(page, "Keep by motion")
    expect(page.locator("#keep-effective")).to_contain_text("Now ")
    page.uncheck("#keep-motion")
    page.fill("#keep", "0")
    wait_applied(page, "Keep the camera")
    expect(page.locator("#region-tools")).to_be_hidden()
    page.select_option("#region-side", "far")
    page.fill("#region-distance", "0")  # nothing is farther: all of it is the camera's
    page.fill("#region-softness", "0")
    wait_applied(page, "Distance")

    def is_the_cameras() -> bool:
        painted, filmed = (colour(page, of=of) for of in ("output", "input"))
        return max(abs(a - b) for a, b in zip(painted, filmed, strict=True)) < NEARLY

    assert wait_until(is_the_cameras, SHOWN_LIMIT_S)
    page.select_option("#region-side", "")
    wait_applied(page, "Distance")
    assert wait_until(lambda: not is_the_cameras(), SHOWN_LIMIT_S)


def test_a_stream_begins_again_with_a_picture(page: Page, tmp_path: Path) -> None:
    page.click("#tab-guide")
    page.click("#begin-input")
    assert int(wait_applied(page, "Start picture")["chunk"]) == 0
    page.click("#begin-output")
    assert int(wait_applied(page, "Start picture")["chunk"]) == 0
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    page.set_input_files("#begin-file", broken)
    expect(page.locator("#begin-words")).to_contain_text("no picture that this browser can read")


def test_the_output_window_shows_the_pages_picture(page: Page) -> None:
    with page.expect_popup() as opened:
        page.click("#open-output-window")
    window = opened.value
    expect(window.locator("body")).to_have_attribute("data-picture", "on")
    assert wait_until(lambda: frames_shown(window) > 3, SHOWN_LIMIT_S)
    expect(window.locator("#output")).to_be_visible()
    for hidden in (".masthead", ".controls", ".stream-buttons", "#prompt-form", "#status"):
        expect(window.locator(hidden)).to_be_hidden()
    window.close()


def test_the_page_connects_again_by_itself_and_keeps_what_was_set(visit: Visit, sessions: list[str]) -> None:
    """Last of the shared page: here the server ends its session."""
    page = visit.page
    send(page, "a red balloon", "recache")
    page.fill("#strength", "1.5")
    wait_applied(page, "Guidance strength")
    page.click("#tab-guide")
    page.fill("#gray", "1.25")
    wait_applied(page, "Gray")
    with page.expect_response(re.compile(r"/whip(\?|$)"), timeout=PAGE_LIMIT_MS):
        delete = "async (url) => (await fetch(url, { method: 'DELETE' })).ok"
        assert page.evaluate(delete, sessions[-1])  # behind the page's back, as a server that stops does
    wait_live(page)
    assert all("404" in error for error in visit.errors)  # it asks for the one that has ended first
    visit.errors.clear()
    expect(page.locator("#strength-value")).to_have_text("1.50")
    wait_applied(page, "Gray")  # by the new session
    expect(page.locator("#gray-value")).to_have_text("1.25")
    assert page.input_value("#prompt") == "a red balloon"
    assert page.evaluate("() => document.getElementById('input').srcObject.active")  # the camera was kept


def test_two_sessions_paint_different_prompts_at_once(open_page: OpenPage, visit: Visit) -> None:
    gold, ice = visit.page, open_page().page
    wait_live(gold)
    start(ice)
    send(gold, "molten gold", "cut")
    send(ice, "a statue of blue ice", "cut")
    wait_colour(ice, lambda red, _, blue: blue > red + 20)
    wait_colour(gold, lambda red, _, blue: red > blue + 20)
    ice.click("#stop")
