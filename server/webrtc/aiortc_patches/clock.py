"""Clock of aiortc that does not jump when the system's is set.

aiortc 1.16 measures by the time of day. When the system's clock is set forwards by more than nine days, the
jitter that it makes of that fits no receiver report: the task that sends them dies, and a connection with
it does not close. Its own rate counter takes one step for each millisecond of the jump, and the event loop
stands still for as long. SCTP takes the jump for the time of a round trip. To report: all of these want a
monotonic clock.
"""

from datetime import UTC, datetime
from types import SimpleNamespace

from aiortc import clock, rtcrtpreceiver, rtcrtpsender, rtcsctptransport

from server.steady_clock import steady_clock

_now = steady_clock()
_time = SimpleNamespace(time=_now)  # all that they use of the module


def use_steady_clock() -> None:
    """For the whole process, now and after the clock is set. Safe to call again."""
    clock.current_datetime = _current_datetime
    for module in (rtcrtpreceiver, rtcrtpsender, rtcsctptransport):
        setattr(module, "time", _time)  # noqa: B010 -- its type is that of a module


def _current_datetime() -> datetime:
    return datetime.fromtimestamp(_now(), UTC)
