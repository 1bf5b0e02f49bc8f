"""The device: what is missing is told in words, per system; pictures reach the library as it wants them."""

import platform
import sys

import numpy as np
import pytest

from server.virtual_camera.device import CameraUnavailable, VirtualCamera
from tests.server.virtual_camera.stand_in import PixelFormat, install

SIZE = (64, 36)
NO_DEVICE = "'v4l2loopback' backend: no loopback device found"


def test_without_the_extra_it_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(CameraUnavailable, match=r"pip install 'depthlive\[camera\]'"):
        VirtualCamera.open(SIZE, fps=30)


@pytest.mark.parametrize(
    ("system", "told"),
    [
        ("Windows", "Install OBS"),
        ("Darwin", "camera extension in System Settings"),
        ("Linux", "sudo modprobe v4l2loopback"),
        ("Haiku", "Windows, macOS and Linux alone"),
    ],
)
def test_without_the_systems_backend_it_says_what_to_install(monkeypatch, system, told):
    monkeypatch.setattr(platform, "system", lambda: system)
    install(monkeypatch, problem=NO_DEVICE)
    with pytest.raises(CameraUnavailable) as raised:
        VirtualCamera.open(SIZE, fps=30)
    assert told in str(raised.value) and NO_DEVICE in str(raised.value)


def test_a_device_that_is_asked_for_is_named_when_it_is_not_there(monkeypatch):
    install(monkeypatch, problem="no such device")
    with pytest.raises(CameraUnavailable, match=r"the virtual camera /dev/video7 \(64x36\)"):
        VirtualCamera.open(SIZE, fps=30, device="/dev/video7")


def test_pictures_reach_it(monkeypatch):
    opened = install(monkeypatch)
    camera = VirtualCamera.open(SIZE, fps=24, device="/dev/video2")
    (device,) = opened
    assert (device.width, device.height, device.fps, device.fmt) == (*SIZE, 24, PixelFormat.RGB)
    assert camera.name == "/dev/video2" and camera.size == SIZE
    camera.send(np.full((36, 64, 3), 7, np.uint8))
    assert len(device.sent) == 1 and (device.sent[0] == 7).all()
    camera.close()
    assert device.is_closed


def test_a_driver_that_is_gone_is_told(monkeypatch):
    opened = install(monkeypatch)
    camera = VirtualCamera.open(SIZE, fps=24)
    opened[0].breaks = True
    with pytest.raises(CameraUnavailable, match="takes no more pictures: .*No such device"):
        camera.send(np.zeros((36, 64, 3), np.uint8))
