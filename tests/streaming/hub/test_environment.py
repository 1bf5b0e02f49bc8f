"""Every variable that downloads read is told by name, with its value, before the library stumbles over it."""

import pytest

import streaming.hub.environment
from streaming.hub.environment import require_usable
from streaming.hub.errors import HubError
from streaming.hub.pull import pull


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "HF_ENDPOINT",
            "http://127.0.0.1:1 ",
            "is 'http://127.0.0.1:1 ': expected https or http://host:port",
        ),
        ("HF_ENDPOINT", "hub.example", "is 'hub.example': expected https"),
        ("HF_ENDPOINT", "http://[::1", "expected https"),
        ("HF_ENDPOINT", "ftp://hub.example", "expected https"),
        ("HF_TOKEN", "hf_ab\N{EN DASH}c", "expected letters of ASCII"),
        ("HF_TOKEN", "hf_a b", "expected letters of ASCII"),
        ("HTTPS_PROXY", "foo://x", "is 'foo://x': expected http or https or socks5"),
        ("https_proxy", "http://127.0.0.1:port", "is 'http://127.0.0.1:port': expected"),
        ("HTTP_PROXY", "http://127.0.0.1:99999", "expected http"),
        ("ALL_PROXY", "socks5://127.0.0.1:1080", "is 'socks5://127.0.0.1:1080': a SOCKS proxy needs"),
        ("all_proxy", "socks5h://me:secret@127.0.0.1:1080", "is 'socks5h://...@127.0.0.1:1080': a SOCKS"),
        ("SSL_CERT_FILE", "/nowhere.pem", "is '/nowhere.pem': expected certificates"),
    ],
)
def test_law_a_variable_that_cannot_work_is_named(monkeypatch, tmp_path, name, value, told):
    monkeypatch.setattr(streaming.hub.environment, "find_spec", lambda package: None)
    with pytest.raises(HubError) as caught:
        require_usable({name: value})
    assert str(caught.value).startswith(name) and told in str(caught.value)
    assert "secret" not in str(caught.value) and "hf_a" not in str(caught.value)
    monkeypatch.setenv(name, value)
    with pytest.raises(HubError, match=name):
        pull("longlive-1.3b", cache_dir=tmp_path)


def test_what_can_work_is_left_alone(monkeypatch):
    monkeypatch.setattr(streaming.hub.environment, "find_spec", lambda package: "socksio")
    require_usable({})
    require_usable(
        {
            "HF_ENDPOINT": "http://[::1]:8080/mirror/",
            "HF_TOKEN": " hf_abc\n",
            "HTTPS_PROXY": "127.0.0.1:3128",
            "http_proxy": "http://me:secret@proxy.example:3128/",
            "ALL_PROXY": "socks5://127.0.0.1:1080",
            "all_proxy": "",
            "SSL_CERT_FILE": __file__,
        }
    )
