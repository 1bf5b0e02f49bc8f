import base64
import hashlib
import hmac

from aiortc import RTCIceServer

from server.settings import load_settings
from server.webrtc.ice_servers import ResolvedIceServer, rtc_configuration, with_turn_credentials
from tests.server.running import running_server

SECRET = {"turn_secret": "hunter2", "turn_seconds": 600}


def test_turn_credentials_are_what_coturn_expects_and_expire():
    settings = load_settings({"ice_servers": ["stun:a:1", "turn:b:2"], **SECRET})
    stun, turn = with_turn_credentials(settings, now=1_000_000.5)
    assert stun == ResolvedIceServer(("stun:a:1",))
    expiry, _, name = str(turn.username).partition(":")
    assert expiry == "1000600" and len(name) == 16
    digest = hmac.new(b"hunter2", str(turn.username).encode(), hashlib.sha1).digest()
    assert turn.credential == base64.b64encode(digest).decode()


def test_each_time_they_are_others():
    settings = load_settings({"ice_servers": ["turn:b:2"], **SECRET})
    assert with_turn_credentials(settings, now=1.0) != with_turn_credentials(settings, now=1.0)


def test_a_turn_server_with_a_user_name_keeps_its_own():
    own = {"urls": ["turn:own"], "username": "me", "credential": "mine"}
    settings = load_settings({"ice_servers": [own, "turn:b:2"], **SECRET})
    assert with_turn_credentials(settings)[0] == ResolvedIceServer(("turn:own",), "me", "mine")


def test_the_server_itself_asks_no_server_that_is_not_configured():
    assert rtc_configuration(load_settings({})).iceServers == []
    settings = load_settings({"ice_servers": ["stun:a:1"]})
    assert rtc_configuration(settings).iceServers == [RTCIceServer(urls=["stun:a:1"])]


async def test_clients_get_credentials_and_never_the_secret(engine, caplog):
    caplog.set_level("DEBUG")
    settings = load_settings({"ice_servers": ["turn:127.0.0.1:9"], **SECRET})
    async with running_server(settings, engine) as server:
        (told,) = (await server.json("/api/info"))["ice_servers"]
        async with server.http.options(server.url + "/whip") as response:
            link = response.headers["Link"]
        assert told["urls"] == ["turn:127.0.0.1:9"] and ":" in told["username"] and told["credential"]
        assert link.startswith('<turn:127.0.0.1:9>; rel="ice-server"; username="')
        assert told["username"] not in link, "credentials are not shared"
        assert "hunter2" not in link + str(told) + caplog.text
