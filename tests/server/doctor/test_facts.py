import os
import socket
from pathlib import Path

import pytest

from server.doctor import facts
from server.settings import load_settings


@pytest.fixture
def taken():
    """A port of loopback on which somebody listens."""
    with socket.socket() as other:
        other.bind((facts.LOOPBACK, 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_that_is_taken_is_told(taken):
    assert facts.listen_problem(facts.LOOPBACK, taken) == "Address already in use"
    assert facts.listen_problem(facts.LOOPBACK, 0) is None
    assert facts.listen_problem("a" * 70 + ".invalid", 80), "no name that a host could have"


def test_udp_ports_that_are_taken_do_not_count():
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind((facts.LOOPBACK, 0))
        port = other.getsockname()[1]
        assert facts.free_udp_ports((port, port), facts.LOOPBACK) == 0
    assert facts.free_udp_ports((port, port), facts.LOOPBACK) == 1
    assert facts.free_udp_ports(None, facts.LOOPBACK) == 0


def test_a_folder_is_tried_and_not_made(tmp_path):
    assert facts.folder_problem(tmp_path / "new" / "deep") is None
    assert not (tmp_path / "new").exists() and not list(tmp_path.iterdir())
    file = tmp_path / "file"
    file.touch()
    assert facts.folder_problem(file) == f"{file} is no folder"
    assert facts.free_bytes(tmp_path / "new") > 0


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a folder that root cannot write to")
def test_a_folder_that_cannot_be_written_is_told():
    assert facts.folder_problem(Path("/proc/depthlive"))


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    assert facts.file_problem(tmp_path / "none") == os.strerror(2)
    assert facts.file_problem(Path(__file__)) is None


def test_access_is_what_serve_refuses(tmp_path):
    assert "host" in (facts.access_problem(load_settings({"host": "0.0.0.0"})) or "")
    assert facts.access_problem(load_settings({})) is None
    missing = load_settings({"auth_secret_file": tmp_path / "none"})
    assert "auth_secret_file" in (facts.access_problem(missing) or "")
    certificate = {"tls_cert": tmp_path / "none", "tls_key": tmp_path / "none"}
    assert "tls_cert" in (facts.access_problem(load_settings(certificate)) or "")


def test_the_installed_package_is_read():
    found = facts.distribution()
    assert found.python is not None and found.python.startswith(">=3")
    assert {"torch", "aiohttp"} <= set(found.installed)
    assert not any("extra ==" in one for one in found.requirements)


def test_files_of_a_model_are_counted_without_a_network():
    assert facts.model_files("embedded") == ([], None)
    files, problem = facts.model_files("longlive-1.3b")
    assert files and problem is None
    assert "there is no preset" in (facts.model_files("none")[1] or "")


def test_the_hub_folder_is_that_of_the_library(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    assert facts.hub_folder() == tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "other"))
    assert facts.hub_folder() == tmp_path / "other"


def test_a_size_that_the_model_cannot_make_is_told_with_its_multiples():
    assert facts.size_problem("embedded", (144, 256)) is None
    assert "multiples of 16" in (facts.size_problem("embedded", (150, 256)) or "")
    assert "nosuch" in (facts.size_problem("nosuch", (144, 256)) or "")
