"""Recovery of a received video from loss: packets are asked for again, waited for so long, and no longer.

aiortc 1.16 asks for missing packets (NACK) when a new gap is seen, not by a clock, and then for all of them
again; it asks once for a key frame (PLI). So what is lost after that holds up all that comes behind. And on a
line that is too slow, where each packet leaves a gap, what is sent again takes more of it than the pictures.
Here a timer looks after both, and asks for no more than a share of what comes. To be reported upstream;
`test_loss_recovery.py` has the laws.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from aiortc import RTCRtpReceiver

from server.webrtc.aiortc_patches.decoding import Decoding
from server.webrtc.aiortc_patches.jitter_buffer import MarkerJitterBuffer

LOOK_PERIOD_S = 0.02
NACK_AGAIN_S = 0.06  # after the last time: an answer may be lost, too
NACK_SHARE = 0.5  # packets asked for, of those that come: where more are lost, the line has no room for them
NACK_BURST = 32  # that may be asked for at once
GIVE_UP_S = 0.3  # since a gap was seen: longer, and the picture stands still for people to see
PLI_AGAIN_S = 0.5  # while no key frame comes
_NACKS = "_RTCRtpReceiver__nack_generator"  # aiortc has no public place for it


class Gaps:
    """Which missing packets are to be asked for, or given up. Pure: the caller brings them and the clock."""

    def __init__(self) -> None:
        self._seen: dict[int, float] = {}  # when each of those that are missing was seen to be
        self._asked: dict[int, float] = {}
        self._allowance = float(NACK_BURST)

    def look(self, missing: Sequence[int], now: float, came: int = 0) -> tuple[list[int], int | None]:
        """Those of `missing`, in order, to ask for, and the last one to give up with all before it.

        `came`: packets since the last look.
        """
        self._seen = {number: self._seen.get(number, now) for number in missing}
        self._asked = {number: self._asked.get(number, -math.inf) for number in missing}
        self._allowance = min(NACK_BURST, self._allowance + NACK_SHARE * came)
        late = [number for number in missing if now - self._seen[number] >= GIVE_UP_S]
        rest = missing[missing.index(late[-1]) + 1 :] if late else missing
        asked = [number for number in rest if now - self._asked[number] >= NACK_AGAIN_S][
            : int(self._allowance)
        ]
        self._allowance -= len(asked)
        self._asked.update(dict.fromkeys(asked, now))
        return asked, late[-1] if late else None


class LossRecovery:
    """Looks after one video receiver. Run `run` while it receives."""

    def __init__(self, receiver: RTCRtpReceiver, buffer: MarkerJitterBuffer, decoding: Decoding) -> None:
        """`buffer` and `decoding` are the receiver's, which asks for nothing by itself from now on.

        Raises AttributeError where aiortc keeps what it asks for elsewhere.
        """
        getattr(receiver, _NACKS)
        setattr(receiver, _NACKS, None)
        self._receiver: Any = receiver
        self._buffer = buffer
        self._decoding = decoding
        self._gaps = Gaps()
        self._last_pli: float | None = None
        self._came = 0

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
        came, self._came = self._buffer.came - self._came, self._buffer.came
        asked, given_up = self._gaps.look(self._buffer.missing(), now, came)
        if given_up is not None:
            self._buffer.give_up(given_up)
            self._decoding.wants_entry = True
        if asked:
            await self._receiver._send_rtcp_nack(ssrc, asked)
        if self._decoding.wants_entry and (self._last_pli is None or now - self._last_pli >= PLI_AGAIN_S):
            self._last_pli = now
            await self._receiver._send_rtcp_pli(ssrc)
