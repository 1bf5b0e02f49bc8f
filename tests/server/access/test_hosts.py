"""Host names and origins over real HTTP: who is no page of this server changes nothing."""

import pytest

from server.access.errors import UnusableAccess
from server.access.hosts import Hosts, check_bind, is_same_origin, parse_authority
from server.cors import Origins
from server.settings import load_settings

SITE = "https://stage.example"
CHANGES = [
    ("POST", "/whip"),
    ("DELETE", "/whip?ticket=0123456789abcdef"),
    ("DELETE", "/whip/abc"),
    ("PATCH", "/whip/abc"),
    ("POST", "/sessions/abc/whep"),
    ("DELETE", "/sessions/abc/whep/v"),
    ("PATCH", "/sessions/abc/whep/v"),
    ("POST", "/sessions/abc/commands"),
    ("POST", "/sessions/abc/images"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("PUT", "/"),
]
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.fixture
def settings():
    return load_settings({"allowed_hosts": ["live.example.org"], "allowed_origins": [SITE]})


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("Live.Example.org", ("live.example.org", None)),
        ("live.example.org:443", ("live.example.org", 443)),
        ("live.example.org:", ("live.example.org", None)),
        ("[::1]:80", ("::1", 80)),
        ("[0:0::1]", ("::1", None)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
    ],
)
def test_a_host_header_is_a_name_and_a_port(text, authority):
    assert parse_authority(text) == authority


@pytest.mark.parametrize(
    "text", ["", ":80", "a b", "a/b", "u@a", "a:b", "a:99999", "[::1", "[x]", "::1", "a,b", "é"]
)
def test_what_is_no_host_is_none(text):
    assert parse_authority(text) is None


@pytest.mark.parametrize(
    ("origin", "host", "is_same"),
    [
        ("http://localhost:18150", "localhost:18150", True),
        ("https://live.example.org", "live.example.org", True),
        ("https://live.example.org", "live.example.org:443", True),
        ("https://live.example.org:443", "live.example.org", True),
        ("http://live.example.org", "live.example.org:80", True),
        ("https://live.example.org", "Live.Example.org", True),
        ("http://[::1]:18150", "[::1]:18150", True),
        ("https://live.example.org.", "live.example.org.", True),
        ("https://live.example.org", "live.example.org:80", False),
        ("http://live.example.org", "live.example.org:443", False),
        ("http://live.example.org:8080", "live.example.org", False),
        ("https://live.example.org", "127.0.0.1:18150", False),
        ("https://live.example.org.evil.example", "live.example.org", False),
        ("null", "live.example.org", False),
        ("", "live.example.org", False),
        ("file://", "live.example.org", False),
        ("https://live.example.org/", "live.example.org", False),
        ("ftp://live.example.org", "live.example.org", False),
    ],
)
def test_default_ports_of_origin_and_host_count_as_none(origin, host, is_same):
    authority = parse_authority(host)
    assert authority is not None and is_same_origin(origin, authority) is is_same


@pytest.mark.parametrize(
    ("bind", "host", "is_known"),
    [
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "app.localhost", True),
        ("127.0.0.1", "127.0.0.2", True),
        ("127.0.0.1", "::1", True),
        ("127.0.0.1", "localhost.", True),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "10.0.0.9", False),
        ("10.0.0.5", "10.0.0.5", True),
        ("0.0.0.0", "10.0.0.9", True),
        ("::", "10.0.0.9", True),
        ("0.0.0.0", "10.0.0.8", False),
        ("0.0.0.0", "evil.example", False),
        ("127.0.0.1", "live.example.org", True),
        ("127.0.0.1", "a.stage.example", True),
        ("127.0.0.1", "stage.example", False),
        ("127.0.0.1", "evilstage.example", False),
    ],
)
def test_known_are_loopback_the_bind_and_what_is_set(bind, host, is_known):
    settings = load_settings({"host": bind, "allowed_hosts": "Live.example.org,*.stage.example"})
    assert Hosts(settings, Origins(())).knows(host, arrived_at="10.0.0.9") is is_known


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]"])
async def test_law_no_route_answers_to_an_unknown_host(server, host):
    for method, path in [("GET", "/"), ("GET", "/api/info"), ("GET", "/nothing"), *CHANGES]:
        headers = {"Host": host, "Origin": f"http://{host}"}
        async with server.http.request(method, server.url + path, headers=headers) as response:
            assert response.status == 421, (method, path)
            assert "expected a name of --allowed-hosts" in await response.text()


@pytest.mark.parametrize("host", ["", "a b", "evil.example/x", "a:b"])
async def test_a_host_that_is_none_is_told_so(server, host):
    async with server.http.get(server.url + "/", headers={"Host": host}) as response:
        assert response.status == 400


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost", ""]
)
@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_law_a_foreign_site_changes_nothing(server, method, path, origin):
    async with server.http.request(method, server.url + path, headers={"Origin": origin}) as response:
        assert response.status == 403
        assert (await response.text()).startswith("Origin: ")


@pytest.mark.parametrize("path", ["/ws", "/sessions/abc/ws"])
async def test_law_a_foreign_site_opens_no_websocket(server, path):
    headers = {"Origin": "https://evil.example", **UPGRADE}
    async with server.http.get(server.url + path, headers=headers) as response:
        assert response.status == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (None, None),
        (None, SITE),
        (None, SITE + ":443"),
        ("live.example.org", "https://live.example.org"),
        ("live.example.org:443", "https://live.example.org"),
        ("live.example.org:80", "http://live.example.org"),
        ("Live.Example.org.", "https://live.example.org."),
        ("[::1]:18150", "http://[::1]:18150"),
    ],
)
async def test_the_own_page_and_allowed_sites_may(server, host, origin):
    given = {"Host": host, "Origin": origin, "Content-Type": "application/sdp"}
    headers = {name: value for name, value in given.items() if value is not None}
    async with server.http.post(server.url + "/whip", data="x", headers=headers) as response:
        assert response.status == 400, "an offer that is none"
    async with server.http.ws_connect(server.url + "/ws", headers=headers) as socket:
        assert (await socket.receive_json())["type"] in ("hello", "state")


async def test_every_post_looks_at_its_content_type(server):
    async with server.viewer() as viewer:
        id = viewer.location.rpartition("/")[2]
        paths = [
            "/whip",
            f"/sessions/{id}/whep",
            f"/sessions/{id}/commands",
            f"/sessions/{id}/images",
            "/login",
        ]
        for path in paths:
            for type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
                headers = {"Content-Type": type}
                async with server.http.post(server.url + path, data=b"{}", headers=headers) as response:
                    assert response.status == 415, (path, type)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.5", "live.example.org"])
def test_without_tokens_a_public_bind_is_refused_unless_it_is_meant(host, tmp_path):
    with pytest.raises(UnusableAccess, match="--open"):
        check_bind(load_settings({"host": host}))
    check_bind(load_settings({"host": host, "open": True}))
    check_bind(load_settings({"host": host, "auth_secret_file": tmp_path}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_tokens(host):
    check_bind(load_settings({"host": host}))
