"""Sound on the page, with Chromium's fake microphone, which beeps once a second."""

import pytest
from playwright.sync_api import expect

from tests.e2e.page import APPLIED_LIMIT_MS, OVERFLOWING, findings, start
from tests.e2e.visits import OpenPage, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ASKED = """
window.asked = [];
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = (wanted) => { window.asked.push(wanted); return ask(wanted); };
"""
# Whether the returned sound beeps: loudness of its newest samples, looked at for a second.
BEEPS = """async () => {
  const stream = document.getElementById("returned-sound").srcObject;
  if (!stream) return false;
  window.heard ??= new AudioContext();
  const analyser = window.heard.createAnalyser();
  window.heard.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  for (let n = 0; n < 60; n++) {
    analyser.getFloatTimeDomainData(samples);
    if (Math.max(...samples.map(Math.abs)) > 0.02) return true;
    await new Promise((next) => setTimeout(next, 20));
  }
  return false;
}"""


def test_law_the_microphone_is_asked_for_when_sound_is_turned_on_and_comes_back(open_page: OpenPage) -> None:
    visit = open_page(prepare=lambda visit: visit.add_script(ASKED))
    page = visit.page
    page.context.grant_permissions(["camera", "microphone"])
    expect(page.locator("#microphone")).to_be_disabled()
    start(page)
    assert [bool(one["audio"]) for one in page.evaluate("() => window.asked")] == [False]
    expect(page.locator("#sound-controls")).to_be_hidden()
    page.focus("#microphone")
    page.keyboard.press("Enter")
    expect(page.locator("#microphone")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#sound-controls")).to_be_visible()
    assert [bool(one["audio"]) for one in page.evaluate("() => window.asked")] == [False, True]
    assert page.evaluate("() => document.getElementById('returned-sound').paused"), "until it is asked for"
    page.check("#listen")
    page.wait_for_function("() => !document.getElementById('returned-sound').paused")
    page.wait_for_function("() => document.getElementById('sound-level').value > 0.02", polling=50)
    page.wait_for_function(BEEPS, timeout=APPLIED_LIMIT_MS, polling=200)
    assert findings(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert findings(page) == [] and page.evaluate(OVERFLOWING, 390) == []
    page.click("#mute")
    expect(page.locator("#mute")).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("() => document.getElementById('sound-level').value < 0.001", polling=50)
    page.click("#microphone")
    expect(page.locator("#sound-controls")).to_be_hidden()
    assert page.evaluate("() => document.getElementById('returned-sound').paused")
    page.click("#stop")
    expect(page.locator("#microphone")).to_be_disabled()
    assert visit.errors == []


def test_a_microphone_that_is_refused_is_explained_and_the_picture_goes_on(open_page: OpenPage) -> None:
    visit: Visit = open_page(viewport={"width": 390, "height": 844})
    start(visit.page)
    visit.page.click("#microphone")
    expect(visit.page.locator("#sound-note")).to_contain_text("The microphone was refused")
    expect(visit.page.locator("#microphone")).to_have_attribute("aria-pressed", "false")
    assert visit.page.evaluate(OVERFLOWING, 390) == []
    expect(visit.page.locator("body")).to_have_attribute("data-phase", "live")
