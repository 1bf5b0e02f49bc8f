"""Recovery of a received video from loss: packets are asked for again, waited for so long, and no longer.

aiortc asks for a missing packet (NACK) when a new gap is seen, not by a clock, and once for a key frame
(PLI); what is lost after that holds up all that comes behind. Here a timer looks after both.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiortc import RTCRtpReceiver

from server.webrtc.aiortc_patches.decoding import Decoding
from server.webrtc.aiortc_patches.jitter_buffer import MarkerJitterBuffer

LOOK_PERIOD_S = 0.02
NACK_AGAIN_S = 0.06  # after the last time: an answer may be lost, too
GIVE_UP_S = 0.3  # since a gap was seen: longer, and the picture stands still for people to see
PLI_AGAIN_S = 0.5  # while no key frame comes


class Gaps:
    """Which missing packets are to be asked for, or given up. Pure: the caller brings them and the clock."""

    def __init__(self) -> None:
        self._seen: dict[int, float] = {}  # when each of those that are missing was seen to be
        self._asked: dict[int, float] = {}

    def look(self, missing: Sequence[int], now: float) -> tuple[list[int], int | None]:
        """Those of `missing`, in order, to ask for again, and the last one to give up with all before it."""
        self._seen = {number: self._seen.get(number, now) for number in missing}
        self._asked = {number: self._asked.get(number, now) for number in missing}  # aiortc has just asked
        late = [number for number in missing if now - self._seen[number] >= GIVE_UP_S]
        rest = missing[missing.index(late[-1]) + 1 :] if late else missing
        again = [number for number in rest if now - self._asked[number] >= NACK_AGAIN_S]
        self._asked.update(dict.fromkeys(again, now))
        return again, late[-1] if late else None


class LossRecovery:
    """Looks after one video receiver. Run `run` while it receives."""

    def __init__(self, receiver: RTCRtpReceiver, buffer: MarkerJitterBuffer, decoding: Decoding) -> None:
        """`buffer` and `decoding` are the receiver's."""
        self._receiver: Any = receiver
        self._buffer = buffer
        self._decoding = decoding
        self._gaps = Gaps()
        self._last_pli: float | None = None

    async def run(self) -> None:
        """For ever."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(LOOK_PERIOD_S)
            await self._look(now())

    async def _look(self, now: float) -> None:
        ssrc = self._buffer.ssrc
        if ssrc is None:
            return
        again, given_up = self._gaps.look(self._buffer.missing(), now)
        if given_up is not None:
            self._buffer.give_up(given_up)
            self._decoding.wants_entry = True
        if again:
            await self._receiver._send_rtcp_nack(ssrc, again)
        if self._decoding.wants_entry and (self._last_pli is None or now - self._last_pli >= PLI_AGAIN_S):
            self._last_pli = now
            await self._receiver._send_rtcp_pli(ssrc)
