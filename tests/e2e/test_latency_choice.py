"""The page's choice of latency, with the real model."""

import pytest

from tests.e2e.page import session_view, start_session, wait_applied
from tests.e2e.servers import Server
from tests.e2e.visits import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_latency_is_chosen_applied_and_shown_as_what_it_sets(open_page: OpenPage, server: Server) -> None:
    """Of the built-in model's two steps one is left; and steps that are set by hand are no latency's."""
    page = open_page().page
    assert page.input_value("#latency") == server.info()["defaults"]["latency"] == "standard"
    id = start_session(page)
    page.click("#tab-model")
    page.select_option("#latency", "lowest")
    wait_applied(page, "Latency")
    settings = session_view(server, id)["settings"]
    assert (settings["latency"], settings["steps"]) == ("lowest", [1000])
    assert settings["camera_start"]["noise_scale"] == 0.6
    page.wait_for_function("() => document.getElementById('steps').value === '1000'")
    page.fill("#steps", "900, 300")
    page.click("#steps-form button")
    wait_applied(page, "Steps")
    page.wait_for_function("() => document.getElementById('latency').value === ''")
    assert session_view(server, id)["settings"]["latency"] is None


def test_a_new_session_is_told_latency_and_steps_in_the_order_of_the_last_choice(
    open_page: OpenPage, server: Server
) -> None:
    """Else the steps that were set before a latency would undo it."""
    page = open_page().page
    page.click("#tab-model")
    page.select_option("#latency", "low")
    page.fill("#steps", "900, 300")
    page.click("#steps-form button")
    page.select_option("#latency", "lowest")
    id = start_session(page)
    wait_applied(page, "Latency")
    assert session_view(server, id)["settings"]["latency"] == "lowest"
