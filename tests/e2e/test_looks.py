"""The looks of the built-in model on the page, in a real browser with the real server."""

import urllib.request

import pytest
from playwright.sync_api import expect

from tests.e2e.page import wait_colour
from tests.e2e.servers import ANSWER_LIMIT_S, Server
from tests.e2e.visits import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_look_picked_before_the_start_is_painted_and_another_takes_its_place(
    open_page: OpenPage, server: Server
) -> None:
    visit = open_page()
    page, looks = visit.page, server.info()["looks"]
    places = {look["name"]: n for n, look in enumerate(looks)}
    buttons, command = page.locator("#looks-list button"), page.locator("#command")
    expect(buttons).to_have_count(len(looks))
    buttons.nth(places["Ice"]).click()
    assert page.input_value("#prompt") == looks[places["Ice"]]["prompt"]
    expect(buttons.nth(places["Ice"])).to_have_attribute("aria-pressed", "true")
    expect(command).to_have_text("Prompt: kept, and sent when the stream starts.")
    page.click("#start")
    wait_colour(page, lambda red, _, blue: blue > red + 30)  # ice is blue
    buttons.nth(places["Lego"]).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#looks-list [aria-pressed=true]")).to_have_text("Lego")
    buttons.nth(places["Gold on black"]).click()
    expect(page.locator("#looks-list [aria-pressed=true]")).to_have_text("Gold on black")
    wait_colour(page, lambda red, _, blue: red > blue + 20)  # gold is not
    assert command.get_attribute("data-stage") == "applied"
    page.click("#stop")
    assert visit.errors == []


def test_every_thumbnail_is_a_picture(server: Server) -> None:
    looks = server.info()["looks"]
    assert len(looks) >= 20
    for look in looks:
        with urllib.request.urlopen(f"{server.url}/{look['thumbnail']}", timeout=ANSWER_LIMIT_S) as response:
            assert response.headers["Content-Type"] == "image/webp"
            assert response.read(4) == b"RIFF"
