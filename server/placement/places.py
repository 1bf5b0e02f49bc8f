"""Places of a worker: how many sessions its model serves at once, by its measured pace. Pure."""


def places_at(pace: float | None, *, most: int, min_fps: float, max_fps: float) -> int:
    """As many sessions as each keep `min_fps`, of a pace in pictures a second of all; `most` at most.
    Whoever is alone may always be there. `max_fps`: no session is made more pictures than that."""
    needed = min(min_fps, max_fps)
    if pace is None or not needed:
        return most
    return max(1, min(most, int(pace / needed)))
