from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from server.cors import Origins

SITE = "https://stage.example"
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


@asynccontextmanager
async def asked(
    origins: Origins, method: str, path: str = "/", **headers: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer of a server that has one page."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="page", headers={"Location": "/x"})

    app = web.Application(middlewares=[origins.preflight])
    app.on_response_prepare.append(origins.add_headers)
    app.add_routes([web.get("/", page), web.post("/", page)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
        async with aiohttp.ClientSession() as http, http.request(method, url, headers=headers) as response:
            yield response
    finally:
        await runner.cleanup()


async def test_an_allowed_site_may_ask_and_read():
    async with asked(Origins([SITE]), "OPTIONS", Origin=SITE, **ASKS) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == SITE
        methods = response.headers["Access-Control-Allow-Methods"].split(", ")
        assert methods == ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        given = response.headers["Access-Control-Allow-Headers"].split(", ")
        assert given == ["Content-Type", "Authorization", "If-Match"]
        assert response.headers["Access-Control-Max-Age"] == "600"
    async with asked(Origins([SITE]), "POST", Origin=SITE) as response:
        assert response.headers["Access-Control-Allow-Origin"] == SITE
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"Location", "ETag", "Link", "Retry-After", "Queue-Position"} <= set(exposed)
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert response.headers["Vary"] == "Origin"


async def test_an_allowed_site_can_read_refusals_too():
    async with asked(Origins([SITE]), "GET", "/nothing", Origin=SITE) as response:
        assert response.status == 404 and response.headers["Access-Control-Allow-Origin"] == SITE


@pytest.mark.parametrize("origin", ["https://evil.example", "https://stage.example.evil.example", "null"])
async def test_other_sites_may_not(origin):
    async with asked(Origins([SITE]), "OPTIONS", Origin=origin, **ASKS) as response:
        assert response.status == 405 and "Access-Control-Allow-Origin" not in response.headers
    async with asked(Origins([SITE]), "GET", Origin=origin) as response:
        assert response.status == 200 and "Access-Control-Allow-Origin" not in response.headers
        assert response.headers["Vary"] == "Origin", "a cache must not mix the answers up"


async def test_options_that_ask_for_no_other_site_are_answered_by_the_page_itself():
    """Not a preflight, or of a site that is not allowed."""
    for headers in ({"Origin": SITE}, ASKS, ASKS | {"Origin": "https://evil.example"}):
        async with asked(Origins([SITE]), "OPTIONS", **headers) as response:
            assert response.status == 405


async def test_without_allowed_sites_nothing_is_said():
    async with asked(Origins([]), "GET", Origin=SITE) as response:
        assert "Vary" not in response.headers and "Access-Control-Allow-Origin" not in response.headers


def test_the_page_may_be_embedded_by_nobody_or_by_allowed_sites_and_itself():
    assert Origins([]).frame_ancestors == "'none'"
    assert Origins([SITE, "http://b"]).frame_ancestors == f"'self' {SITE} http://b"
