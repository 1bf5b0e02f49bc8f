import pytest
from pydantic import ValidationError

from server.config_file import ConfigFileError
from server.settings import Settings, load_settings, unknown_variables


def test_flags_win_over_environment_over_file_over_defaults(tmp_path, monkeypatch):
    file = tmp_path / "depthlive.toml"
    file.write_text('port = 1001\nhost = "10.0.0.1"\nmax_sessions = 7\n')
    monkeypatch.setenv("DEPTHLIVE_PORT", "1002")
    monkeypatch.setenv("DEPTHLIVE_HOST", "10.0.0.2")
    settings = load_settings({"port": 1003, "host": None}, file)
    assert (settings.port, settings.host, settings.max_sessions) == (1003, "10.0.0.2", 7)
    assert settings.max_fps == 30.0


def test_defaults_are_safe_and_bounded():
    """Each limits what a stranger can make grow, or how long; change one here and where it is documented."""
    limits = {
        "host": "127.0.0.1",
        "port": 8080,
        "max_sessions": 2,
        "min_fps": 16.0,
        "max_sessions_per_address": 16,
        "max_connecting_per_address": 4,
        "max_sockets_per_address": 256,
        "max_sockets": 512,
        "requests_per_second": 100.0,
        "connects_per_second": 20.0,
        "max_upload_mb_per_address": 16,
        "max_upload_mb": 64,
        "camera_seconds": 30.0,
        "paused_seconds": 900.0,
        "max_viewers": 8,
        "max_fps": 30.0,
        "latency": "standard",
        "size": None,
        "peer_timeout": 10.0,
        "resume_seconds": 30.0,
        "engine_timeout": 120.0,
        "restart": True,
        "audio": True,
        "traces": False,
        "turn_seconds": 12 * 3600,
        "max_recording_minutes": 10.0,
        "max_recordings_mb": 2048,
        "max_session_recordings_mb": 512,
        "recording_hours": 24.0,
        "recordings_dir": None,
        "allowed_origins": (),
        "auth_secret_file": None,
        "auth_tokens_file": None,
        "open": False,
        "allowed_hosts": (),
        "tls": "off",
        "tls_cert": None,
        "tls_key": None,
        "trusted_proxies": (),
        "public_prefix": "",
        "metrics_port": None,
        "ice_servers": (),
        "turn_secret": None,
        "udp_ports": None,
        "public_address": None,
        "codecs": ("h264", "vp8"),
        "private_candidates": True,
        "random_weights": False,
        "stamp_source": False,
    }
    others = {
        "device": "auto",
        "gpus": 1,
        "model": "embedded",
        "speed": "exact",
        "decoder": "auto",
        "precision": "auto",
        "depth": "auto",
        "controls": ("depth", "gray", "lines"),
        "scribble": None,
        "prompt": "a statue of molten gold",
        "seed": 0,
        "preset_file": None,
        "log_level": "info",
        "log_format": "text",
        "cache_dir": None,
    }
    settings = load_settings({})
    assert {name: getattr(settings, name) for name in Settings.model_fields} == limits | others


@pytest.mark.parametrize(("given", "gpus"), [("auto", "auto"), ("2", 2), (8, 8)])
def test_gpus_are_a_number_or_all(given, gpus):
    assert load_settings({"gpus": given}).gpus == gpus


@pytest.mark.parametrize("given", [0, "0", "-1", "many", 1.5, True, ""])
def test_other_gpus_get_one_complaint(given):
    with pytest.raises(ValidationError, match="expected 1 or more, or auto") as error:
        load_settings({"gpus": given})
    assert error.value.error_count() == 1


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("port", 0, 65535),
        ("seed", 0, 2**63 - 1),
        ("max_sessions", 1, None),
        ("min_fps", 0, 120),
        ("max_viewers", 0, None),
        ("max_fps", 1e-9, 120),
        ("peer_timeout", 1e-9, None),
        ("resume_seconds", 0, 3600),
        ("engine_timeout", 1e-9, None),
        ("max_recording_minutes", 1e-9, 24 * 60),
        ("max_recordings_mb", 1, None),
    ],
)
def test_a_number_may_be_its_limit_and_nothing_beyond(name, least, most):
    for value in [least, *([] if most is None else [most])]:
        assert getattr(load_settings({name: value}), name) == value
    step = 1 if isinstance(least, int) else 1e-9
    for value in [least - step, *([] if most is None else [most + 1])]:
        with pytest.raises(ValidationError, match=name):
            load_settings({name: value})


@pytest.mark.parametrize(
    ("flags", "field"),
    [
        ({"port": 70000}, "port"),
        ({"device": "abacus"}, "device"),
        ({"max_sessions": 0}, "max_sessions"),
        ({"prompt": ""}, "prompt"),
        ({"ice_servers": ["http://example.org"]}, "ice_servers"),
        ({"allowed_origins": ["https://example.org/page"]}, "allowed_origins"),
        ({"allowed_origins": ["*"]}, "allowed_origins"),
        ({"codecs": []}, "codecs"),
        ({"codecs": ["h264", "h264"]}, "codecs"),
        ({"codecs": ["av1"]}, "codecs"),
        ({"controls": []}, "controls"),
        ({"controls": ["depth", "depth"]}, "controls"),
        ({"controls": ["edges"]}, "controls"),
        ({"allowed_origins": ["https://a.org; script-src *"]}, "allowed_origins"),
        ({"max_recording_minutes": 0}, "max_recording_minutes"),
        ({"turn_secret": "s", "ice_servers": ["stun:a:1"]}, "turn_secret"),
        ({"turn_seconds": 59}, "turn_seconds"),
        ({"turn_seconds": 7 * 24 * 3600 + 1}, "turn_seconds"),
        ({"prompt": "x" * 1001}, "prompt"),
        ({"model": ""}, "model"),
        ({"depth": ""}, "depth"),
        ({"ice_servers": [{"urls": []}]}, "ice_servers"),
        ({"ice_servers": [{"urls": ["stun:a:1"], "user": "b"}]}, "ice_servers"),
        ({"udp_ports": "50000"}, "udp_ports"),
        ({"udp_ports": "50100-50000"}, "udp_ports"),
        ({"udp_ports": "80-90"}, "udp_ports"),
        ({"udp_ports": "1023-2000"}, "udp_ports"),
        ({"udp_ports": "50000-65536"}, "udp_ports"),
        ({"udp_ports": "50000-50100-50200"}, "udp_ports"),
        ({"public_address": "example.org"}, "public_address"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_value_is_named(flags, field):
    with pytest.raises(ValidationError) as caught:
        load_settings(flags)
    assert caught.value.errors()[0]["loc"][0] == field


def test_unknown_key_in_the_file_is_an_error(tmp_path):
    file = tmp_path / "depthlive.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(ValidationError, match="prot"):
        load_settings({}, file)


def test_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_settings({}, tmp_path / "none.toml")


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        load_settings({}).port = 1


def test_description_has_every_setting_and_no_secret(monkeypatch):
    server = '[{"urls": ["turn:example.org"], "username": "me", "credential": "hunter2"}]'
    monkeypatch.setenv("DEPTHLIVE_ICE_SERVERS", server)
    settings = load_settings({})
    description = settings.describe()
    assert settings.ice_servers[0].credential.get_secret_value() == "hunter2"
    assert "hunter2" not in description and "hunter2" not in repr(settings)
    assert "turn:example.org" in description
    assert [line.split()[0] for line in description.splitlines()] == list(Settings.model_fields)


def test_the_secret_of_turn_servers_is_not_told(monkeypatch):
    monkeypatch.setenv("DEPTHLIVE_TURN_SECRET", "hunter2")
    settings = load_settings({"ice_servers": ["turn:example.org"]})
    assert settings.turn_secret is not None and settings.turn_secret.get_secret_value() == "hunter2"
    assert "hunter2" not in settings.describe() and "hunter2" not in repr(settings)


def test_a_range_of_ports_is_read_from_flags_environment_and_file(tmp_path, monkeypatch):
    file = tmp_path / "depthlive.toml"
    file.write_text('udp_ports = "50000-50009"\n')
    assert load_settings({"udp_ports": "50000-50009"}).udp_ports == (50000, 50009)
    assert load_settings({}, file).udp_ports == (50000, 50009)
    monkeypatch.setenv("DEPTHLIVE_UDP_PORTS", "50010-50019")
    assert load_settings({}, file).udp_ports == (50010, 50019)


def test_a_range_of_ports_may_be_one_and_reach_both_ends():
    assert load_settings({"udp_ports": "1024-65535"}).udp_ports == (1024, 65535)
    assert load_settings({"udp_ports": "5000-5000"}).udp_ports == (5000, 5000)


def test_only_turn_servers_without_a_user_name_need_credentials():
    servers = ["stun:a", "turn:b", "turns:c", {"urls": ["turn:d"], "username": "u", "credential": "c"}]
    assert [s.needs_credentials for s in load_settings({"ice_servers": servers}).ice_servers] == [
        False,
        True,
        True,
        False,
    ]
    mixed = {"urls": ["stun:a", "turns:b"]}
    assert load_settings({"ice_servers": [mixed], "turn_secret": "s"}).ice_servers[0].needs_credentials


def test_plain_url_stands_for_an_ice_server():
    assert load_settings({"ice_servers": ["stun:a:1"]}).ice_servers[0].urls == ("stun:a:1",)


def test_origins_are_scheme_host_and_port():
    origins = ("https://example.org", "http://127.0.0.1:8080", "http://[::1]:80")
    assert load_settings({"allowed_origins": origins}).allowed_origins == origins


def test_misspelt_variable_is_found():
    environment = {"DEPTHLIVE_PRT": "1", "DEPTHLIVE_PORT": "1", "DEPTHLIVE_CONFIG": "x", "PATH": "y"}
    assert unknown_variables(environment) == ["DEPTHLIVE_PRT"]


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        (
            "ALLOWED_ORIGINS",
            "https://a.example,https://b.example",
            ("https://a.example", "https://b.example"),
        ),
        (
            "ALLOWED_ORIGINS",
            " https://a.example , https://b.example ",
            ("https://a.example", "https://b.example"),
        ),
        ("ALLOWED_ORIGINS", '["https://a.example"]', ("https://a.example",)),
        ("ALLOWED_ORIGINS", "", ()),
        ("CODECS", "vp8", ("vp8",)),
        ("CONTROLS", "lines,depth", ("lines", "depth")),
        ("UDP_PORTS", "50000-50010", (50000, 50010)),
    ],
)
def test_a_list_of_the_environment_needs_no_json(monkeypatch, name, text, wanted):
    monkeypatch.setenv(f"DEPTHLIVE_{name}", text)
    assert getattr(load_settings({}), name.lower()) == wanted


@pytest.mark.parametrize(
    "text", ["stun:a:1,turn:b", '["stun:a:1", "turn:b"]', '[{"urls": ["stun:a:1"]}, "turn:b"]']
)
def test_ice_servers_of_the_environment_may_be_addresses_alone(monkeypatch, text):
    monkeypatch.setenv("DEPTHLIVE_ICE_SERVERS", text)
    assert [one.urls for one in load_settings({}).ice_servers] == [("stun:a:1",), ("turn:b",)]


@pytest.mark.parametrize("text", ['["vp8"', "[" * 5000, '{"vp8": }', "vp8,,h264", "[1]", "av1"])
@pytest.mark.parametrize("name", ["CODECS", "ALLOWED_ORIGINS", "ICE_SERVERS", "CONTROLS"])
def test_law_a_list_that_cannot_be_read_is_a_bad_value_like_others(monkeypatch, name, text):
    monkeypatch.setenv(f"DEPTHLIVE_{name}", text)
    with pytest.raises(ValidationError) as caught:
        load_settings({})
    assert caught.value.errors()[0]["loc"][0] == name.lower()


def test_a_byte_order_mark_in_front_of_the_file_is_passed_over(tmp_path):
    file = tmp_path / "depthlive.toml"
    file.write_bytes(b"\xef\xbb\xbfport = 1001\r\n")
    assert load_settings({}, file).port == 1001


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path):
    with pytest.raises(IsADirectoryError):
        load_settings({}, tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"port: 1", "port = 1".encode("utf-16"), b"\xff", b"a = " + b"[" * 9000, b"a = " + b"9" * 9000],
)
def test_law_a_file_that_is_no_toml_is_named(tmp_path, content):
    file = tmp_path / "depthlive.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigFileError, match=r"depthlive\.toml is not"):
        load_settings({}, file)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"allowed_hosts": "A.example, *.b.example"}, ("a.example", "*.b.example")),
        ({"allowed_hosts": ["a.example.", "[0:0::1]", "10.0.0.1"]}, ("a.example", "::1", "10.0.0.1")),
        ({"allowed_hosts": "fe80::1"}, ("fe80::1",)),
        ({"public_prefix": "/live/"}, "/live"),
        ({"public_prefix": "/a/b-c"}, "/a/b-c"),
        ({"public_prefix": "/"}, ""),
    ],
)
def test_hosts_and_prefix_are_kept_in_one_form(given, expected):
    (name,) = given
    assert getattr(load_settings(given), name) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_hosts", "https://a.example"),
        ("allowed_hosts", "a.example:80"),
        ("allowed_hosts", "*"),
        ("allowed_hosts", "a b"),
        ("allowed_hosts", "a:b:c:zz"),
        ("trusted_proxies", "proxy.example"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("public_prefix", "live"),
        ("public_prefix", "//evil.example"),
        ("public_prefix", "/../x"),
        ("public_prefix", "/a\r\nX: y"),
        ("tls", "on"),
        ("tls_cert", "cert.pem"),
        ("tls_key", "key.pem"),
        ("metrics_port", 70000),
    ],
)
def test_what_is_no_host_network_or_path_is_told(name, value):
    with pytest.raises(ValidationError) as refused:
        load_settings({name: value})
    (error,) = refused.value.errors()
    assert error["loc"][0] in (name, "tls_key")


def test_a_certificate_and_a_self_signed_one_exclude_each_other():
    with pytest.raises(ValidationError, match="either a certificate and its key or"):
        load_settings({"tls": "self-signed", "tls_cert": "a", "tls_key": "b"})
