"""What the page sends: a camera, a screen, a video file, the sample; changed while it is live."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.page import (
    LIVE_LIMIT_MS,
    OVERFLOWING,
    findings,
    is_free,
    session_view,
    start,
    start_session,
    wait_live,
    wait_same_stream,
    wait_until,
)
from tests.e2e.servers import Server
from tests.e2e.visits import OpenPage, PagePool, launched, pages_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SAMPLE = Path(__file__).parents[2] / "client_web" / "sample.webm"
PHONE = {"width": 390, "height": 844}
SIZE = "() => [document.getElementById('input').videoWidth, document.getElementById('input').videoHeight]"
MOVES = """async () => {
  const video = document.getElementById("input");
  const canvas = new OffscreenCanvas(32, 18);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const look = () => {
    context.drawImage(video, 0, 0, 32, 18);
    return context.getImageData(0, 0, 32, 18).data;
  };
  const first = look();
  for (let n = 0; n < 100; n++) {
    await new Promise((next) => setTimeout(next, 100));
    if (look().some((value, i) => Math.abs(value - first[i]) > 8)) return true;
  }
  return false;
}"""
# A screen of 640x360 that somebody shares, and can stop sharing.
FAKE_SCREEN = """() => {
  window.asked = [];
  navigator.mediaDevices.getDisplayMedia = async (wanted) => {
    window.asked.push(wanted);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [640, 360];
    const context = canvas.getContext("2d");
    let n = 0;
    setInterval(() => {
      context.fillStyle = `hsl(${(n += 5) % 360} 80% 50%)`;
      context.fillRect(0, 0, 640, 360);
    }, 50);
    const stream = canvas.captureStream(30);
    [window.shared] = stream.getVideoTracks();
    return stream;
  };
}"""
REFUSED_SCREEN = """() => {
  navigator.mediaDevices.getDisplayMedia = async () => { throw new DOMException("no", "NotAllowedError"); };
}"""


def choose(page: Page, name: str) -> None:
    page.click("#sources summary")
    page.get_by_role("button", name=name, exact=True).click()


def sends(page: Page, width: int, height: int) -> bool:
    return wait_until(lambda: page.evaluate(SIZE) == [width, height], LIVE_LIMIT_MS / 1000)


def size_of_sample(page: Page) -> list[int]:
    """As this browser decodes it."""
    return page.evaluate(
        """async () => {
          const video = document.createElement("video");
          video.src = "sample.webm";
          await new Promise((done, failed) => Object.assign(video, { onloadeddata: done, onerror: failed }));
          return [video.videoWidth, video.videoHeight];
        }"""
    )


def test_the_first_visit_offers_the_sample_beside_the_camera(open_page: OpenPage, server: Server) -> None:
    visit = open_page(camera=False)
    page = visit.page
    expect(page.locator("#status")).to_contain_text("Ready")
    expect(page.locator("#try-sample")).to_be_visible()
    assert findings(page) == []
    is_filled = "(id) => getComputedStyle(document.getElementById(id)).backgroundColor"
    assert page.evaluate(is_filled, "start") != page.evaluate(is_filled, "try-sample"), "Start asks first"
    page.focus("#try-sample")
    page.keyboard.press("Enter")
    wait_live(page)
    expect(page.locator("#source-name")).to_have_text("Moving sample")
    expect(page.locator("#source-caption")).to_have_text("Sample")
    assert page.evaluate("() => document.activeElement.id") == "stop"
    assert sends(page, *size_of_sample(page)) and page.evaluate(MOVES)
    assert visit.errors == []
    page.click("#stop")
    expect(page.locator("#start")).to_be_visible()
    expect(page.locator("#try-sample")).to_be_hidden()
    page.reload()
    expect(page.locator("#status")).to_contain_text("Ready")
    expect(page.locator("#try-sample")).to_be_hidden()  # it is in the list
    assert wait_until(lambda: is_free(server), 60)


def test_without_a_camera_words_and_a_button_lead_to_the_sample(open_page: OpenPage) -> None:
    page = open_page(camera=False, viewport=PHONE).page
    page.evaluate("() => localStorage.setItem('depthlive.started', 'true')")
    page.reload()
    expect(page.locator("#status")).to_contain_text("Ready")
    expect(page.locator("#try-sample")).to_be_hidden()
    page.click("#start")
    expect(page.locator("#problem")).to_contain_text("The camera was refused")
    expect(page.locator("#problem")).to_contain_text("try a sample")
    expect(page.locator("#try-sample")).to_be_visible()
    assert findings(page) == [] and page.evaluate(OVERFLOWING, PHONE["width"]) == []
    page.click("#try-sample")
    wait_live(page)
    page.click("#stop")


def test_law_the_source_changes_and_the_stream_goes_on(open_page: OpenPage, server: Server, tmp_path) -> None:
    visit = open_page(prepare=lambda visit: visit.add_script(f"({FAKE_SCREEN})()"))
    page = visit.page
    id = start_session(page)
    before = session_view(server, id)
    camera = page.locator("#source-name").text_content() or ""
    choose(page, "Screen or window")
    assert sends(page, 640, 360) and page.evaluate(MOVES)
    expect(page.locator("#source-caption")).to_have_text("Screen")
    assert page.evaluate("() => window.asked.length") == 1
    wait_same_stream(server, before)
    choose(page, "Moving sample")
    assert sends(page, *size_of_sample(page))
    assert page.evaluate("() => window.shared.readyState") == "ended", "nothing is shared any more"
    choose(page, camera)
    expect(page.locator("#source-caption")).to_have_text("Camera")
    wait_same_stream(server, session_view(server, id))
    assert visit.errors == []
    page.click("#stop")


def test_when_sharing_ends_the_choice_is_there_and_the_stream_waits(
    open_page: OpenPage, server: Server
) -> None:
    page = open_page(prepare=lambda visit: visit.add_script(f"({FAKE_SCREEN})()")).page
    choose(page, "Screen or window")
    expect(page.locator("#command")).to_have_text("Screen or window: kept, and sent when the stream starts.")
    id = start_session(page)
    page.evaluate("() => { window.shared.stop(); window.shared.dispatchEvent(new Event('ended')); }")
    expect(page.locator("#problem")).to_have_text("Sharing has ended. Choose what to send next.")
    expect(page.locator("#source-name")).to_have_text("Choose a source")
    page.wait_for_function("() => document.body.dataset.phase === 'waiting'", timeout=LIVE_LIMIT_MS)
    choose(page, "Moving sample")
    wait_live(page)
    expect(page.locator("#problem")).to_be_empty()
    assert session_view(server, id)["id"] == id
    page.click("#stop")


def test_a_choice_of_a_screen_that_is_closed_leaves_what_was_sent(open_page: OpenPage) -> None:
    page = open_page(prepare=lambda visit: visit.add_script(f"({REFUSED_SCREEN})()")).page
    start(page)
    camera = page.locator("#source-name").text_content() or ""
    choose(page, "Screen or window")
    expect(page.locator("#problem")).to_contain_text("Nothing is shared")
    expect(page.locator("#source-name")).to_have_text(camera)
    assert page.evaluate("() => document.getElementById('input').srcObject.active")
    page.click("#stop")


def test_a_video_file_is_sent_as_pictures_and_never_as_a_file(open_page: OpenPage, server: Server) -> None:
    bodies: list[int] = []
    visit = open_page()
    visit.on("request", lambda request: bodies.append(len(request.post_data_buffer or b"")))
    page = visit.page
    with page.expect_file_chooser() as chooser:
        choose(page, "Video file")
    chooser.value.set_files(SAMPLE)
    expect(page.locator("#source-name")).to_have_text("Video file: sample.webm")
    start(page)
    assert sends(page, *size_of_sample(page)) and page.evaluate(MOVES)
    expect(page.locator("#source-caption")).to_have_text("Video")
    page.click("#stop")
    assert bodies and max(bodies) < SAMPLE.stat().st_size / 4


DROP = """([name, type, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
  const how = { dataTransfer: transfer, bubbles: true, cancelable: true };
  document.body.dispatchEvent(new DragEvent("drop", how));
}"""


def test_a_video_that_is_dropped_is_sent_at_once_and_one_that_is_none_is_told(open_page: OpenPage) -> None:
    visit = open_page(path="/?transport=ws")  # by the other way
    page = visit.page
    start(page)
    page.evaluate(DROP, ["clip.webm", "video/webm", list(SAMPLE.read_bytes())])
    expect(page.locator("#source-name")).to_have_text("Video file: clip.webm")
    assert sends(page, *size_of_sample(page)) and page.evaluate(MOVES)
    page.evaluate(DROP, ["notes.mp4", "video/mp4", list(b"these are notes")])
    expect(page.locator("#problem")).to_contain_text("notes.mp4 is no video that this browser can play")
    expect(page.locator("#source-name")).to_have_text("Video file: clip.webm")
    assert page.evaluate(MOVES), "what was sent goes on"
    assert page.locator("#reference-words").text_content() == ""
    page.click("#stop")


def test_the_list_works_by_keyboard_and_fits_a_phone(open_page: OpenPage) -> None:
    page = open_page(viewport=PHONE).page
    expect(page.locator("#status")).to_contain_text("Ready")
    page.focus("#sources summary")
    page.keyboard.press("Enter")
    expect(page.locator("#source-list")).to_be_visible()
    assert findings(page) == [] and page.evaluate(OVERFLOWING, PHONE["width"]) == []
    page.keyboard.press("Escape")
    expect(page.locator("#source-list")).to_be_hidden()
    assert page.evaluate("() => document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Moving sample").focus()
    page.keyboard.press("Space")
    expect(page.locator("#source-name")).to_have_text("Moving sample")
    assert page.evaluate("() => document.activeElement.tagName") == "SUMMARY"


def test_chromiums_own_screen_capture_is_sent(browser: Browser, camera_file: Path, server: Server) -> None:
    """A fake one, of 1280x720; in a browser of its own, which allows every page all that it asks for."""
    allows_all = "--use-fake-ui-for-media-stream"
    with launched(browser.browser_type, camera_file, allows_all) as other:
        pages = PagePool(other)
        with pages_of(pages, server) as open_it:
            page = open_it(camera=False).page
            choose(page, "Screen or window")
            start(page)
            assert sends(page, 1280, 720) and page.evaluate(MOVES)
            surface = (
                "() => document.getElementById('input').srcObject.getTracks()[0].getSettings().displaySurface"
            )
            assert page.evaluate(surface) == "monitor"
            page.click("#stop")


def test_where_no_screen_can_be_shared_none_is_offered(open_page: OpenPage) -> None:
    remove = "delete MediaDevices.prototype.getDisplayMedia;"
    page = open_page(prepare=lambda visit: visit.add_script(remove)).page
    page.click("#sources summary")
    expect(page.get_by_role("button", name="Moving sample")).to_be_visible()
    expect(page.get_by_role("button", name="Screen or window")).to_have_count(0)
