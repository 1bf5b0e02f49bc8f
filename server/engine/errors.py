"""Errors of the engine, as the event loop is told of them."""


class EngineUnavailable(Exception):
    """The model could not be loaded, or the engine has been stopped; the text says why."""


class InputRejected(Exception):
    """The model refused this chunk's input. The stream is unharmed."""


class StreamWasReset(Exception):
    """The chunk could not be generated. The stream has started afresh, with its prompt."""

    def __init__(self, reason: str, frames_wanted: int) -> None:
        """`frames_wanted`: by the stream's next chunk."""
        super().__init__(reason)
        self.frames_wanted = frames_wanted
