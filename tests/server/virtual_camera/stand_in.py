"""For tests: what stands in for pyvirtualcam, with the signatures of 0.15 and what it refuses."""

import enum
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest


class PixelFormat(enum.Enum):
    RGB = "raw "
    BGR = "24BG"


class Camera:
    """As pyvirtualcam's. Keeps what it is sent."""

    opened: "list[Camera]" = []

    def __init__(
        self,
        width: int,
        height: int,
        fps: float,
        *,
        fmt: PixelFormat = PixelFormat.RGB,
        device: str | None = None,
        backend: str | None = None,
        print_fps: bool = False,
        **kw: Any,
    ) -> None:
        self.width, self.height, self.fps, self.fmt = width, height, fps, fmt
        self._device = device or "/dev/video9"
        self.sent: list[np.ndarray] = []
        self.is_closed = False
        self.breaks = False
        self.opened.append(self)

    @property
    def device(self) -> str:
        return self._device

    def send(self, frame: np.ndarray) -> None:
        assert not self.is_closed
        if self.breaks:
            raise RuntimeError("error writing frame: No such device")
        if frame.dtype != np.uint8:
            raise TypeError(f"unexpected frame dtype: {frame.dtype} != uint8")
        if frame.shape != (self.height, self.width, 3):
            raise ValueError(f"unexpected frame shape: {frame.shape} != {(self.height, self.width, 3)}")
        self.sent.append(frame.copy())

    def close(self) -> None:
        self.is_closed = True


def install(monkeypatch: pytest.MonkeyPatch, problem: str | None = None) -> list[Camera]:
    """In place of pyvirtualcam; the cameras that are opened. `problem`: why its backend opens none."""

    class Own(Camera):
        opened: list[Camera] = []

        def __init__(self, *args: Any, **kw: Any) -> None:
            if problem is not None:
                raise RuntimeError(problem)
            super().__init__(*args, **kw)

    module: Any = ModuleType("pyvirtualcam")
    module.Camera, module.PixelFormat = Own, PixelFormat
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    return Own.opened
