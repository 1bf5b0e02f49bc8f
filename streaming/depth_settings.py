"""What a person may set about depth while the stream runs."""

from dataclasses import dataclass

MAX_POINTS = 64

Point = tuple[float, float, float]  # x and y from the top left corner, value: all 0 ... 1, near = 1


@dataclass(frozen=True, slots=True)
class DepthSettings:
    """Raises ValueError naming the field, the value and what was expected."""

    enabled: bool = True  # False: no depth guides the picture, and none is estimated
    smoothing: float = 0.0  # 0 ... 1: how much of the past a still pixel keeps
    refinement: float = 0.0  # 0 ... 1: how far the pictures generated last have a say in depth
    points: tuple[Point, ...] = ()  # sparse depth, which replaces the estimate; () is the camera's depth

    def __post_init__(self) -> None:
        for name, value in (("smoothing", self.smoothing), ("refinement", self.refinement)):
            if not 0 <= value <= 1:  # False for NaN, too
                raise ValueError(f"depth {name}: expected 0 ... 1, got {value}")
        if len(self.points) > MAX_POINTS:
            raise ValueError(f"depth points: expected at most {MAX_POINTS}, got {len(self.points)}")
        for index, point in enumerate(self.points):
            if len(point) != 3 or not all(0 <= value <= 1 for value in point):
                raise ValueError(f"depth points[{index}]: expected (x, y, value), each 0 ... 1, got {point}")
