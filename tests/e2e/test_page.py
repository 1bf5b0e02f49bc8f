"""The page in every state that it can be in, without a stream or with one just for that."""

import json
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.e2e.page import (
    OFFER,
    OVERFLOWING,
    findings,
    session_view,
    start,
    start_session,
    wait_applied,
    wait_live,
    wait_passed,
)
from tests.e2e.servers import Server
from tests.e2e.visits import EMPTY, OpenPage, Prepare, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LEAST_ASKED = 30  # by a page of that many modules, pictures and style sheets
TABS = ("looks", "guide", "timeline", "model", "signal")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing_on_any_panel(open_page: OpenPage, scheme: str) -> None:
    page = open_page(color_scheme=scheme).page
    expect(page.locator("#status")).to_contain_text("Ready")
    for tab in TABS:
        page.click(f"#tab-{tab}")
        if tab == "timeline":
            page.click("#timeline-add")
            page.click("#timeline-add")
        assert findings(page) == [], tab
    page.click("#mix-toggle")
    page.check("input[value=blend]", force=True)
    page.click("#history summary")
    page.keyboard.press("Escape")
    page.focus("#start")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    assert findings(page) == []


def test_axe_finds_nothing_in_trouble_and_on_a_phone(open_page: OpenPage) -> None:
    page = open_page(camera=False, viewport={"width": 390, "height": 844}).page
    page.click("#start")
    expect(page.locator("#problem")).to_contain_text("The camera was refused")
    assert findings(page) == []
    assert page.evaluate(OVERFLOWING, 390) == []


def test_axe_finds_nothing_while_live_and_the_console_is_silent(open_page: OpenPage) -> None:
    visit = open_page()
    start(visit.page)
    visit.page.click("#tab-signal")
    assert findings(visit.page) == []
    visit.page.click("#stop")
    assert visit.errors == []


def test_nothing_is_loaded_from_elsewhere(open_page: OpenPage, server: Server) -> None:
    asked: list[str] = []

    def note_requests(visit: Visit) -> None:
        visit.on("request", lambda request: asked.append(request.url))

    page = open_page(prepare=note_requests).page
    expect(page.locator("#status")).to_contain_text("Ready")
    assert len(asked) > LEAST_ASKED
    assert all(url.startswith((server.url, "data:", "blob:")) for url in asked)


def info(server: Server, **changed: Any) -> Prepare:
    """The server's answer to api/info, as if it were in another state."""
    # Asked once and here: the page asks again and again, and a fetch in the handler outlives it.
    body = json.dumps(server.info() | changed)

    def answer(route: Route) -> None:
        route.fulfill(content_type="application/json", body=body)

    return lambda visit: visit.page.route("**/api/info", answer)


def test_a_download_tells_how_far_it_is(open_page: OpenPage, server: Server) -> None:
    reason = "downloading vae.safetensors: 0.40 GB of 0.51 GB (37 % of 7.02 GB)"
    page = open_page(prepare=info(server, ready=False, reason=reason, model=None, looks=[])).page
    expect(page.locator("#words")).to_have_text("Not ready yet. Downloading the model: 37 % of 7.02 GB.")
    expect(page.locator("#progress")).to_have_js_property("value", 37)


def test_a_failed_download_says_why(open_page: OpenPage, server: Server) -> None:
    reason = "loading the model failed: HubError: the disk is full"
    page = open_page(prepare=info(server, ready=False, reason=reason, model=None, looks=[])).page
    expect(page.locator("#problem")).to_have_text("Loading the model failed: HubError: the disk is full.")


def test_looks_that_were_not_known_at_the_start_are_shown(open_page: OpenPage, server: Server) -> None:
    """Start may be pressed while the model loads: what it paints is known later."""
    is_loading = [True]
    loading = json.dumps(server.info() | {"ready": False, "model": None, "looks": []})

    def answer(route: Route) -> None:
        if is_loading:
            route.fulfill(content_type="application/json", body=loading)
        else:
            route.continue_()

    def prepare(visit: Visit) -> None:
        visit.page.route("**/api/info", answer)
        visit.on("response", lambda response: OFFER.search(response.url) and is_loading.clear())

    page = open_page(prepare=prepare).page
    expect(page.locator("#status")).to_contain_text("Not ready yet")
    start(page)
    expect(page.locator("#looks button")).to_have_count(len(server.info()["looks"]))
    page.click("#stop")


def test_strengths_are_the_models_once_it_is_loaded_unless_they_were_set(
    open_page: OpenPage, server: Server
) -> None:
    told = server.info()
    defaults = told["defaults"]
    loading = {"ready": False, "model": None, "looks": []} | {
        "defaults": defaults | {"controls": {"gray": 0.0, "lines": 0.0}}
    }
    loaded = {
        "defaults": defaults
        | {"guidance": defaults["guidance"] | {"scale": 0.5}, "controls": {"gray": 1.75, "lines": 0.25}}
    }
    is_loading = [True]

    def answer(route: Route) -> None:
        body = json.dumps(told | (loading if is_loading else loaded))
        route.fulfill(content_type="application/json", body=body)

    page = open_page(prepare=lambda visit: visit.page.route("**/api/info", answer)).page
    expect(page.locator("#gray-value")).to_have_text("0.00")
    page.click("#tab-guide")
    page.fill("#lines", "1")
    expect(page.locator("#command")).to_have_text("Lines: kept, and sent when the stream starts.")
    is_loading.clear()
    expect(page.locator("#gray-value")).to_have_text("1.75")
    expect(page.locator("#strength-value")).to_have_text("0.50")
    expect(page.locator("#lines-value")).to_have_text("1.00")


def test_of_two_changes_of_the_camera_one_camera_is_left(open_page: OpenPage) -> None:
    note = """() => {
      window.tracks = [];
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await ask(wanted);
        window.tracks.push(...stream.getTracks());
        return stream;
      };
    }"""
    page = open_page(prepare=lambda visit: visit.add_script(f"({note})()")).page
    start(page)
    chosen = "#source-list button[aria-pressed=true]"
    page.evaluate(f"() => [1, 2, 3].forEach(() => document.querySelector('{chosen}').click())")
    page.wait_for_function("() => window.tracks.length > 1 && window.tracks.at(-1).readyState === 'live'")
    page.wait_for_timeout(500)  # another one would come now
    states = page.evaluate("() => window.tracks.map((track) => track.readyState)")
    assert states == ["ended", "live"]
    page.click("#stop")
    assert page.evaluate("() => window.tracks.every((track) => track.readyState === 'ended')")


def test_a_frame_limit_that_is_chosen_first_leaves_the_quality(open_page: OpenPage, server: Server) -> None:
    page = open_page().page
    page.click("#tab-model")
    page.select_option("#fps", "24")
    id = start_session(page)
    wait_applied(page, "Frame limit")
    output = session_view(server, id)["settings"]["output"]
    assert output == {"fps": 24, "quality": "high"}
    expect(page.locator("#quality")).to_have_value("high")
    page.click("#stop")


def test_a_full_server_is_asked_again_by_itself(open_page: OpenPage) -> None:
    def fill(visit: Visit) -> None:
        full = {"status": 503, "body": "all 2 places are taken", "headers": {"Retry-After": "1"}}
        visit.page.route(OFFER, lambda route: route.fulfill(**full))

    page = open_page(prepare=fill).page
    page.click("#start")
    wait_passed(page, "queued")
    expect(page.locator("#problem")).to_have_text("The server is full: all 2 places are taken")
    expect(page.locator("#status")).to_contain_text("Waiting for a place at the server. Next try in")
    page.unroute(OFFER)
    wait_live(page)
    expect(page.locator("#problem")).to_be_empty()
    page.click("#stop")


def test_who_waits_in_line_is_told_the_place_and_goes_in_by_itself(open_page: OpenPage) -> None:
    positions, tickets = iter((2, 1)), []

    def answer(route: Route) -> None:
        tickets.append(route.request.url.partition("ticket=")[2])
        if (position := next(positions, None)) is None:
            return route.continue_()
        headers = {"Retry-After": "1", "Queue-Position": str(position)}
        return route.fulfill(status=503, body="all 2 places are taken", headers=headers)

    page = open_page(prepare=lambda visit: visit.page.route(OFFER, answer)).page
    page.click("#start")
    expect(page.locator("#problem")).to_have_text("The server is full: you are 2nd in line.")
    expect(page.locator("#problem")).to_have_text("The server is full: you are next in line.")
    wait_live(page)
    expect(page.locator("#problem")).to_be_empty()
    assert len(tickets) == 3 and len(set(tickets)) == 1 and len(tickets[0]) == 32
    page.click("#stop")


# Playwright sees no requests of a page that is gone: it notes them itself, where the next one finds them.
NOTE_REQUESTS = """const ask = window.fetch;
window.fetch = (url, options) => {
  if (options?.method === "DELETE") sessionStorage.setItem("deleted", `${url} ${options.keepalive}`);
  return ask(url, options);
};"""


@pytest.mark.parametrize("leave", ["stop", "reload"])
def test_who_gives_up_waiting_gives_the_place_back(open_page: OpenPage, leave: str) -> None:
    tickets: list[str] = []

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            tickets.append(route.request.url.partition("ticket=")[2])
        headers = {"Retry-After": "9", "Queue-Position": "2"}
        route.fulfill(status=503, body="all 2 places are taken", headers=headers)

    def prepare(visit: Visit) -> None:
        visit.page.route(OFFER, answer)
        visit.add_script(NOTE_REQUESTS)

    page = open_page(prepare=prepare).page
    page.click("#start")
    expect(page.locator("body")).to_have_attribute("data-phase", "queued")
    if leave == "stop":
        page.click("#stop")
    else:
        page.reload()
    deleted = page.evaluate("() => sessionStorage.getItem('deleted')")
    assert deleted == f"whip?ticket={tickets[0]} true"
    # Not any answer: the one to the DELETE may come now, too.
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.click("#start")
    assert tickets[0] != tickets[-1], "who comes again begins at the end"
    page.click("#stop")


def test_the_output_view_starts_by_itself_where_the_camera_is_allowed(open_page: OpenPage) -> None:
    page = open_page(path="/?view=output").page
    wait_live(page)
    expect(page.locator("html")).to_have_attribute("data-cursor", "hidden")
    for hidden in ("#status", "#prompt", "#problem", "#command", ".masthead", ".controls"):
        expect(page.locator(hidden)).to_be_hidden()


def test_the_output_view_asks_where_the_camera_is_not_allowed_yet(open_page: OpenPage) -> None:
    page = open_page(camera=False, path="/?view=output").page
    expect(page.locator("#picture-words")).to_be_visible()
    page.click("#picture")
    expect(page.locator("#problem")).to_contain_text("The camera was refused")


def test_keys_rest_while_one_writes_and_can_be_switched_off(open_page: OpenPage) -> None:
    page = open_page().page
    page.fill("#prompt", "")
    page.focus("#prompt")
    page.keyboard.type("g?")
    assert page.input_value("#prompt") == "g?"
    expect(page.locator("#help")).to_be_hidden()
    page.click("#tab-model")
    page.uncheck("#shortcuts")
    page.focus("#start")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_hidden()
    page.reload()
    expect(page.locator("#shortcuts")).not_to_be_checked()  # remembered


def test_a_theme_that_was_chosen_is_remembered(open_page: OpenPage) -> None:
    page = open_page(color_scheme="dark").page
    page.click("#tab-model")
    page.select_option("#theme", "light")
    ground = "() => getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.reload()
    assert page.evaluate(ground) == light
    page.select_option("#theme", "")
    assert page.evaluate(ground) != light


def test_limits_and_defaults_are_the_servers(open_page: OpenPage, server: Server) -> None:
    """Whatever the server tells: the page has no numbers of its own."""
    told = server.info()
    limits = told["limits"] | {
        "prompt_length": 7,
        "blend_chunks": 5,
        "guidance_scale": 3.0,
        "control_strength": 1.5,
        "references": 2,
        "steps": 4,
        "timestep": 900,
        "timeline_seconds": 77.0,
    }
    defaults = told["defaults"] | {
        "transition": "blend",
        "chunks": 3,
        "curve": "linear",
        "guidance": told["defaults"]["guidance"] | {"scale": 2.5, "adaptive": 0.25},
        "depth": told["defaults"]["depth"] | {"enabled": False, "smoothing": 0.75},
        "controls": {"gray": 0.9, "lines": 0.35},
        "output": {"fps": 12, "quality": "low"},
    }
    page = open_page(prepare=info(server, limits=limits, defaults=defaults)).page
    expect(page.locator("#strength-value")).to_have_text("2.50")
    for selector, attribute, most in (
        ("#prompt", "maxLength", 7),
        ("#prompt-second", "maxLength", 7),
        ("#strength", "max", "3"),
        ("#gray", "max", "1.5"),
        ("#lines", "max", "1.5"),
        ("#blend-chunks", "max", "5"),
        ("#timeline-duration", "max", "77"),
    ):
        expect(page.locator(selector)).to_have_js_property(attribute, most)
    for selector, value in (
        ("#strength", "2.5"),
        ("#adaptive", "0.25"),
        ("#smoothing", "0.75"),
        ("#gray", "0.9"),
        ("#lines", "0.35"),
        ("#blend-chunks", "3"),
        ("#blend-curve", "linear"),
        ("#quality", "low"),
        ("#fps", "12"),
    ):
        assert page.input_value(selector) == value, selector
    expect(page.locator("input[value=blend]")).to_be_checked()
    expect(page.locator("#depth-enabled")).not_to_be_checked()
    expect(page.locator("#references li")).to_have_count(2)
    page.click("#tab-timeline")
    page.click("#timeline-add")
    expect(page.locator("#timeline-steps input[type=text]")).to_have_js_property("maxLength", 7)
    page.click("#tab-model")
    expect(page.locator("#steps-hint")).to_contain_text("Up to 4 falling whole numbers from 900 to 1.")
    page.fill("#steps", "901")
    page.press("#steps", "Enter")
    expect(page.locator("#steps-hint")).not_to_contain_text("Fewer are faster")  # said again, nothing sent


def test_before_the_server_has_told_its_limits_there_are_none(open_page: OpenPage) -> None:
    def never_answer(visit: Visit) -> None:
        visit.page.route("**/api/info", lambda route: None)

    visit = open_page(prepare=never_answer)
    page = visit.page
    expect(page.locator("#prompt")).to_have_js_property("maxLength", -1)
    for name in ("strength", "adaptive", "smoothing", "refinement", "depth-enabled", "gray", "lines"):
        expect(page.locator(f"#{name}")).to_be_disabled()  # where they stand is not known either
    assert visit.errors == []


def test_a_timeline_file_is_checked(open_page: OpenPage) -> None:
    page = open_page(path=EMPTY).page
    read = """async (text) => {
      const { readTimeline } = await import("/controls/timeline_file.js");
      try { return readTimeline(text, 2); } catch (error) { return error.message; }
    }"""
    assert page.evaluate(read, '{"steps": [{"at": 0, "text": " gold "}]}')["steps"][0]["text"] == "gold"
    for broken, words in (
        ("{", "it is not JSON."),
        ("{}", "it has no list of steps."),
        ('{"steps": [{"at": -1, "text": "a"}]}', "steps[0].at must be seconds from 0."),
        ('{"steps": [{"at": 0, "text": ""}]}', "steps[0].text must be a prompt."),
        ('{"steps": [{"at": 0, "text": "a", "transition": "wipe"}]}', "steps[0].transition must be one of"),
        (json.dumps({"steps": [{"at": at, "text": "a"} for at in range(3)]}), "it has more than 2 steps."),
    ):
        assert page.evaluate(read, broken).startswith(words)


def test_tries_again_ever_more_patiently(open_page: OpenPage) -> None:
    page = open_page(path=EMPTY).page
    delays = page.evaluate(
        "async () => { const { retryDelay } = await import('/stream/lifecycle/backoff.js');"
        " return [1, 2, 3, 4, 5, 9].map((n) => retryDelay(n, 0, 0)).concat(retryDelay(1, 5, 0)); }"
    )
    assert delays == [1, 2, 4, 8, 15, 15, 5]


def test_pages_that_lost_one_server_do_not_all_come_back_at_once(open_page: OpenPage) -> None:
    page = open_page(path=EMPTY).page
    spread, drawn = page.evaluate(
        "async () => { const { retryDelay } = await import('/stream/lifecycle/backoff.js');"
        " return [[0, 0.5, 1].map((chance) => retryDelay(9, 0, chance)),"
        "   Array.from({ length: 50 }, () => retryDelay(1, 10))]; }"
    )
    assert spread == pytest.approx([15, 16.5, 18])
    assert len(set(drawn)) > 10 and min(drawn) >= 10 and max(drawn) <= 12, "never sooner than it was asked to"
