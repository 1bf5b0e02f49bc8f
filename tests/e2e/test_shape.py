"""The picture's shape by the page: as the camera's, turned with it, or as the person chose."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.bench.clients.browser import ARGUMENTS, BROWSERS
from tests.e2e.camera import write_camera_file
from tests.e2e.page import (
    OVERFLOWING,
    findings,
    session_view,
    start,
    start_session,
    wait_applied,
    wait_until,
)
from tests.e2e.servers import PEER_TIMEOUT_S, Server, fake_engine_server
from tests.e2e.visits import PAGE_LIMIT_MS, OpenPage, PagePool, Visit, pages_of
from tests.server.fakes import HEIGHT, WIDTH, FakeEngineModule

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PHONE = {"width": 390, "height": 844}
PHONE_HELD_WIDE = {"width": 844, "height": 390}
SIZE = "() => [output.videoWidth, output.videoHeight].join('x')"
IS_SIZE = "(size) => [output.videoWidth, output.videoHeight].join('x') === size"
# A camera that the test turns, in place of the browser's: a canvas, as no fake device changes its size.
TURNING = """
navigator.mediaDevices.getUserMedia = async (wanted) => {
  window.wanted = wanted.video;
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  window.turn = (width, height) => Object.assign(canvas, { width, height });
  window.turn(320, 240);
  let count = 0;
  setInterval(() => {
    context.fillStyle = `hsl(${(count += 5) % 360} 60% 50%)`;
    context.fillRect(0, 0, canvas.width, canvas.height);
  }, 50);
  return canvas.captureStream(20);
};
"""
SHAPES_TOLD = "() => window.noted.commands.filter(({ figures }) => figures.label === 'Shape').length"


@pytest.fixture(scope="module")
def upright_browser(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A second one beside the package's, as Playwright runs once in a process; its camera is a phone's."""
    clip = tmp_path_factory.mktemp("upright") / "carphone.y4m"
    write_camera_file(clip, numbered=False, is_upright=True)
    found = next(filter(None, map(shutil.which, BROWSERS)))
    arguments = [*ARGUMENTS, f"--use-file-for-fake-video-capture={clip}"]
    launch = browser.browser_type.launch
    with launch(executable_path=found, headless=True, args=arguments, timeout=PAGE_LIMIT_MS) as it:
        yield it


@pytest.fixture(scope="module")
def quick_server() -> Iterator[Server]:
    with fake_engine_server(min_fps=0, peer_timeout=PEER_TIMEOUT_S) as server:
        yield server


@pytest.fixture
def open_phone(upright_browser: Browser, quick_server: Server) -> Iterator[OpenPage]:
    with pages_of(PagePool(upright_browser), quick_server) as open_it:
        yield open_it


def turning(visit: Visit) -> None:
    visit.add_script(TURNING)


def shape_of(server: Server, id: str) -> tuple[str, str]:
    shape = session_view(server, id)["settings"]["shape"]
    return shape["orientation"], shape["fit"]


def wait_size(page: Page, width: int, height: int) -> None:
    page.wait_for_function(IS_SIZE, arg=f"{width}x{height}", timeout=PAGE_LIMIT_MS)


def is_as_high_as_its_picture(page: Page) -> bool:
    """Whether the box that the picture is in has its shape, and is wholly on the screen."""
    return page.evaluate(
        """() => {
          const { width, height, top, bottom, left, right } = picture.getBoundingClientRect();
          const isShaped = Math.abs(width / height - output.videoWidth / output.videoHeight) < 0.02;
          return isShaped && left >= 0 && right <= innerWidth + 0.5 && height <= innerHeight;
        }"""
    )


def test_a_phone_held_upright_gets_an_upright_picture_by_itself(
    open_phone: OpenPage, quick_server: Server
) -> None:
    visit = open_phone(viewport=PHONE)
    page = visit.page
    id = start_session(page)
    wait_applied(page, "Shape")
    wait_size(page, HEIGHT, WIDTH)
    assert shape_of(quick_server, id) == ("upright", "fill")
    assert is_as_high_as_its_picture(page)
    assert findings(page) == [] and page.evaluate(OVERFLOWING, PHONE["width"]) == []
    page.set_viewport_size(PHONE_HELD_WIDE)
    assert is_as_high_as_its_picture(page)
    assert visit.errors == []


def test_the_built_in_model_paints_upright_for_a_phone(upright_browser: Browser, server: Server) -> None:
    """The real model at the size that tests have of it, turned; and its page has nothing that axe finds."""
    model = server.info()["model"]
    with pages_of(PagePool(upright_browser), server) as open_it:
        visit = open_it(viewport=PHONE)
        page = visit.page
        id = start_session(page)
        wait_applied(page, "Shape")
        wait_size(page, model["height"], model["width"])
        shape = session_view(server, id)["settings"]["shape"]
        assert (shape["width"], shape["height"]) == (model["height"], model["width"])
        assert is_as_high_as_its_picture(page)
        page.click("#tab-model")
        assert findings(page) == [] and page.evaluate(OVERFLOWING, PHONE["width"]) == []
        assert visit.errors == []


def test_who_chose_a_shape_gets_that_one_whatever_the_camera(
    open_phone: OpenPage, quick_server: Server
) -> None:
    page = open_phone().page
    page.click("#tab-model")
    page.select_option("#shape", "wide")
    id = start_session(page)
    wait_size(page, WIDTH, HEIGHT)
    assert shape_of(quick_server, id) == ("wide", "fill")
    page.select_option("#fit", "fit")
    wait_applied(page, "Shape")
    assert shape_of(quick_server, id) == ("wide", "fit")
    fitted = "() => getComputedStyle(document.getElementById('input')).objectFit === 'contain'"
    page.wait_for_function(fitted, timeout=PAGE_LIMIT_MS)
    page.select_option("#shape", "")
    wait_applied(page, "Shape")
    wait_size(page, HEIGHT, WIDTH)
    assert shape_of(quick_server, id) == ("upright", "fit")


@pytest.mark.parametrize("transport", ["webrtc", "ws"])
def test_a_phone_turned_in_mid_stream_turns_the_picture_and_keeps_the_session(
    open_phone: OpenPage, quick_server: Server, transport: str
) -> None:
    page = open_phone(prepare=turning, path=f"/?transport={transport}").page
    start(page)
    wait_size(page, WIDTH, HEIGHT)
    assert page.evaluate(SHAPES_TOLD) == 0, "a wide camera asks for nothing"
    page.evaluate("() => window.turn(240, 320)")
    wait_applied(page, "Shape")
    wait_size(page, HEIGHT, WIDTH)
    page.evaluate("() => window.turn(320, 240)")
    wait_applied(page, "Shape")
    wait_size(page, WIDTH, HEIGHT)
    assert quick_server.info()["sessions"] == 1
    assert page.evaluate("() => noted.phases.filter((phase) => phase === 'connecting').length") <= 1


def test_a_phone_that_is_only_tilted_for_a_moment_turns_nothing(
    open_phone: OpenPage, quick_server: Server
) -> None:
    page = open_phone(prepare=turning).page
    id = start_session(page)
    wait_size(page, WIDTH, HEIGHT)
    # All of it sooner than the page believes a turn: its clock does not move by itself meanwhile.
    seen = "() => [input.videoWidth, input.videoHeight].join('x')"
    page.evaluate(
        """async () => {
          const held = window.setTimeout;
          const waiting = new Map();
          window.setTimeout = (act) => (waiting.set(waiting.size + 1, act), waiting.size);
          window.clearTimeout = (id) => waiting.delete(id);
          const input = document.getElementById("input");
          for (const [width, height] of [[240, 320], [320, 240], [240, 320], [320, 240]]) {
            const resized = new Promise((done) => input.addEventListener("resize", done, { once: true }));
            window.turn(width, height);
            await resized;
          }
          window.setTimeout = held;
          for (const act of waiting.values()) act();
        }"""
    )
    assert page.evaluate(seen) == "320x240" and page.evaluate(SHAPES_TOLD) == 0
    assert shape_of(quick_server, id) == ("wide", "fill")


def test_the_camera_is_asked_for_what_the_person_chose(open_phone: OpenPage) -> None:
    """Upright pictures of a camera that would give wide ones; a phone held upright turns them by itself."""
    page = open_phone(prepare=turning).page
    start_session(page)
    asked: Callable[[], tuple[int, int]] = lambda: tuple(  # noqa: E731 -- read again and again
        page.evaluate("() => [window.wanted.width.ideal, window.wanted.height.ideal]")
    )
    assert asked() == (640, 480)
    page.click("#tab-model")
    page.select_option("#shape", "upright")
    assert wait_until(lambda: asked() == (480, 640), 30)
    page.select_option("#fit", "fit")
    assert wait_until(lambda: asked() == (640, 480), 30), "all of what it sees"


def test_a_mask_stays_where_it_was_drawn_when_the_picture_is_turned(open_phone: OpenPage) -> None:
    page = open_phone(prepare=turning).page
    start_session(page)
    wait_size(page, WIDTH, HEIGHT)
    page.click("#tab-guide")
    page.click("#mask-half")
    wait_applied(page, "Mask")
    covered = """(x) => {
      const mask = document.getElementById("mask-canvas");
      const { data } = mask.getContext("2d").getImageData(x * mask.width, mask.height / 2, 1, 1);
      return data[3] > 0;
    }"""
    before = [page.evaluate(covered, x) for x in (0.1, 0.4, 0.6, 0.9)]
    page.evaluate("() => window.turn(240, 320)")
    wait_applied(page, "Shape")
    wait_size(page, HEIGHT, WIDTH)
    shape = "() => { const m = document.getElementById('mask-canvas'); return m.height > m.width; }"
    page.wait_for_function(shape, timeout=PAGE_LIMIT_MS)
    assert [page.evaluate(covered, x) for x in (0.1, 0.4, 0.6, 0.9)] == before
    assert before == [False, False, True, True]


def test_a_model_that_cannot_be_turned_is_asked_for_nothing(
    upright_browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.e2e.servers.FakeEngineModule", partial(FakeEngineModule, can_turn=False))
    fake = fake_engine_server(min_fps=0, peer_timeout=PEER_TIMEOUT_S)
    with fake as server, pages_of(PagePool(upright_browser), server) as open_it:
        page = open_it().page
        id = start_session(page)
        wait_size(page, WIDTH, HEIGHT)
        page.click("#tab-model")
        expect(page.locator("#shape")).to_be_disabled()
        expect(page.locator("#shape-hint")).to_contain_text("cannot be turned")
        assert shape_of(server, id) == ("wide", "fill") and page.evaluate(SHAPES_TOLD) == 0
