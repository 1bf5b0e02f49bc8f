"""Device that other programs take for a webcam: pyvirtualcam, and the system's driver below it."""

import importlib
import platform
from contextlib import suppress
from typing import Any

from server.media.frames import Rgb, Size

MISSING = "a virtual camera needs pyvirtualcam, which is not installed: pip install 'depthlive[camera]'"
OBS = "Install OBS 30 or newer, press Start Virtual Camera in it once, then stop it again and close OBS."
HOW_TO: dict[str, str] = {  # by the system's name: what its backend is part of
    "Windows": OBS,
    "Darwin": f"{OBS} Allow its camera extension in System Settings when macOS asks.",
    "Linux": "Install v4l2loopback (on Debian and Ubuntu: sudo apt-get install v4l2loopback-dkms), then "
    "sudo modprobe v4l2loopback devices=1 exclusive_caps=1.",
}
ELSEWHERE = "pyvirtualcam has a backend for Windows, macOS and Linux alone."


class CameraUnavailable(Exception):
    """There is no virtual camera, or none any more; the text says what to install or to do."""


class VirtualCamera:
    """One virtual camera that is open.

    camera = VirtualCamera.open((1280, 720), fps=30)
    camera.send(rgb)
    camera.close()
    """

    def __init__(self, device: Any, size: Size) -> None:
        """`device`: a pyvirtualcam.Camera."""
        self._device = device
        self.size = size

    @classmethod
    def open(cls, size: Size, *, fps: float, device: str | None = None) -> "VirtualCamera":
        """A camera of `size` (width, height); `device` names one of several. Raises CameraUnavailable."""
        try:
            library: Any = importlib.import_module("pyvirtualcam")
        except ModuleNotFoundError as error:
            raise CameraUnavailable(MISSING) from error
        except (ImportError, OSError) as error:  # its compiled part does not fit this system
            raise CameraUnavailable(f"pyvirtualcam cannot be loaded: {error}") from error
        width, height = size
        try:
            opened = library.Camera(width, height, fps, fmt=library.PixelFormat.RGB, device=device)
        # Whatever its backends raise; it says RuntimeError itself.
        except Exception as error:
            wanted = f"the virtual camera {device}" if device else "a virtual camera"
            how = HOW_TO.get(platform.system(), ELSEWHERE)
            raise CameraUnavailable(
                f"{wanted} ({width}x{height}) cannot be opened: {error}\n{how}"
            ) from error
        return cls(opened, size)

    @property
    def name(self) -> str:
        """What other programs call it."""
        return str(self._device.device)

    def send(self, picture: Rgb) -> None:
        """Show a picture of the camera's size, (H, W, 3) uint8. Raises CameraUnavailable."""
        try:
            self._device.send(picture)
        except Exception as error:  # as above: a driver that is gone
            raise CameraUnavailable(f"the virtual camera takes no more pictures: {error}") from error

    def close(self) -> None:
        with suppress(Exception):  # nothing can be done about a driver that is gone
            self._device.close()
