"""What proxies tell, taken from trusted ones alone; and addresses under a public prefix."""

import re

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict, CIMultiDictProxy

from server.access.proxies import BadForwarding, Forwarded, Proxies, read_forwarded
from server.access.roles import ROUTES
from server.settings import load_settings
from tests.server.running import Viewer, running_server
from tests.server.webrtc.watching import Watcher

TRUSTED = load_settings({"trusted_proxies": "10.0.0.0/8,::1"}).trusted_proxies


def told(peer: str, *headers: tuple[str, str]) -> Forwarded | None:
    named = CIMultiDict((f"X-Forwarded-{name}", value) for name, value in headers)
    return read_forwarded(peer, CIMultiDictProxy(named), TRUSTED)


@pytest.mark.parametrize("peer", ["192.0.2.1", "11.0.0.1", "::2", "", "unix:"])
def test_law_who_is_no_trusted_proxy_is_not_believed(peer):
    assert told(peer, ("For", "1.2.3.4"), ("Proto", "https"), ("Host", "a"), ("Prefix", "/x")) is None


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("::1", "2001:db8::5", "2001:db8::5"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),  # the first the client has made up
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "1.2.3.4:5678", "1.2.3.4"),
        ("10.0.0.1", "[2001:db8::5]:443", "2001:db8::5"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy(peer, chain, client):
    found = told(peer, ("For", chain))
    assert found is not None and found.client == client


def test_several_headers_are_one_list():
    found = told("10.0.0.1", ("For", "6.6.6.6"), ("For", "1.2.3.4"))
    assert found is not None and found.client == "1.2.3.4"


def test_of_what_proxies_append_the_outermost_trusted_counts():
    found = told("10.0.0.1", ("For", "1.2.3.4, 10.0.0.2"), ("Proto", "ftp, https, http"), ("Host", "x, a, b"))
    assert found is not None and (found.scheme, found.host) == ("https", "a")
    one = told("10.0.0.1", ("For", "1.2.3.4, 10.0.0.2"), ("Proto", "WSS"))
    assert one is not None and one.scheme == "https"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Proto", "gopher"),
        ("Prefix", "live"),
        ("Prefix", "//evil.example"),
        ("Prefix", "/a b"),
        ("Prefix", "/.."),
    ],
)
def test_what_cannot_be_used_is_named(name, value):
    with pytest.raises(BadForwarding, match=f"^X-Forwarded-{name}: expected"):
        told("10.0.0.1", (name, value))


async def test_the_request_has_the_clients_address_and_scheme():
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.remote, request.scheme))
        return web.Response()

    settings = load_settings({"trusted_proxies": ["10.0.0.0/8"]})
    headers = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}
    for remote in ("10.0.0.1", "9.9.9.9"):
        request = make_mocked_request("GET", "/", headers=headers).clone(remote=remote)
        await Proxies(settings).resolve(request, handler)
    assert seen == [("1.2.3.4", "https"), ("9.9.9.9", "http")]


@pytest.mark.parametrize(
    ("options", "headers", "prefix"),
    [
        ({}, {}, ""),
        ({}, {"X-Forwarded-Prefix": "/evil"}, ""),
        ({"public_prefix": "/live"}, {}, "/live"),
        ({"trusted_proxies": "127.0.0.0/8"}, {"X-Forwarded-Prefix": "/live/"}, "/live"),
        ({"trusted_proxies": "127.0.0.0/8", "public_prefix": "/a"}, {"X-Forwarded-Prefix": "/b"}, "/b"),
        ({"trusted_proxies": "127.0.0.0/8", "public_prefix": "/a"}, {"X-Forwarded-Prefix": "/"}, ""),
    ],
)
async def test_every_location_has_the_public_prefix(engine, options, headers, prefix):
    async with running_server(load_settings(options), engine) as server:
        server.http.headers.update(headers)
        viewer = Viewer(server.url, server.http)
        response = await viewer.post(await viewer.offer())
        location = response.headers["Location"]
        assert response.status == 201 and location.startswith(f"{prefix}/whip/")
        id = location.rpartition("/")[2]
        watcher = Watcher(server, id)
        try:
            async with server.http.post(
                f"{server.url}/sessions/{id}/whep/",
                data=await watcher.offer(),
                headers={"Content-Type": "application/sdp"},
            ) as response:
                assert response.headers["Location"].startswith(f"{prefix}/sessions/{id}/whep/")
            async with server.http.delete(server.url + location.removeprefix(prefix)) as response:
                assert response.status == 200, "the place is free again"
        finally:
            await watcher.close()
            await viewer.close()


async def test_the_host_that_a_trusted_proxy_tells_is_checked(engine):
    settings = load_settings({"trusted_proxies": "127.0.0.1", "allowed_hosts": "live.example.org"})
    async with running_server(settings, engine) as server:
        for host, status in (("live.example.org", 200), ("evil.example", 421), ("a b", 400)):
            headers = {"X-Forwarded-Host": host, "Host": "upstream"}
            async with server.http.get(server.url + "/healthz", headers=headers) as response:
                assert response.status == status


async def test_a_slash_at_the_end_is_the_same_address(server):
    for path in ("/whip", "/whip/", "/sessions/abc/whep", "/sessions/abc/whep/"):
        async with server.http.options(server.url + path) as response:
            assert response.status == 200 and response.headers["Accept-Post"] == "application/sdp"
        async with server.http.get(server.url + path) as response:
            assert response.status == 405
    async with server.http.post(
        server.url + "/whip/", data="x", headers={"Content-Type": "application/sdp"}
    ) as response:
        assert response.status == 400


async def test_a_proxy_may_leave_the_prefix_where_it_is(engine):
    async with running_server(load_settings({"public_prefix": "/a/live"}), engine) as server:
        async with server.http.get(server.url + "/a/live") as response:
            assert (
                str(response.url).endswith("/a/live/") and "<title>depthlive</title>" in await response.text()
            )
        for path in ("/main.js", "/style/base.css", "/api/info", "/healthz", "/metrics"):
            async with server.http.get(server.url + "/a/live" + path) as response:
                assert response.status == 200, path
        for path in ("/a/live/nothing", "/a/main.js", "/a/live/../../pyproject.toml"):
            async with server.http.get(server.url + path) as response:
                assert response.status == 404
        viewer = Viewer(server.url + "/a/live", server.http)
        response = await viewer.post(await viewer.offer())
        async with server.http.delete(server.url + response.headers["Location"]) as ended:
            assert (response.status, ended.status) == (201, 200)
        await viewer.close()


async def test_law_the_prefix_opens_no_door(engine, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef")
    settings = load_settings({"public_prefix": "/live", "auth_secret_file": secret})
    async with running_server(settings, engine) as server:
        for method, path in ROUTES:
            url = re.sub(r"{\w+}", "x", path)
            found = []
            for prefix in ("", "/live"):
                async with server.http.request(method, server.url + prefix + url) as response:
                    found.append(response.status)
            assert found[0] == found[1], (method, path)
