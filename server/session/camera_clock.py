"""Camera clock: when a frame was taken, on the server's clock. Pure: the caller brings both clocks."""

DRIFT = 5e-4  # the fastest that the two clocks may run apart, in seconds per second; crystals stay below 1e-4
LOST_S = 0.5  # a timestamp that far off its arrival belongs to a new timeline


class CameraClock:
    """Maps RTP timestamps to the server's clock: even like the camera, not jittered like the network.

    The least delayed frame tells the offset between the clocks; the others are assumed to have been held up
    on their way. Times never fall, and never lie after the arrival, as long as the camera's timestamps rise.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._arrival = 0.0

    def map(self, timestamp: float, arrival: float) -> float:
        """When a frame was taken. All in seconds; `timestamp` has any origin, `arrival` is the server's."""
        offset = arrival - timestamp
        if self._offset is not None:
            offset = min(offset, self._offset + DRIFT * (arrival - self._arrival))
            if arrival - (timestamp + offset) > LOST_S:
                offset = arrival - timestamp
        self._offset = offset
        self._arrival = arrival
        return timestamp + offset
