"""Margin of a pacer: how much longer than until the next chunk is expected what there is must last. Pure.

A chunk that comes later than the margin leaves a gap; a margin makes every picture older by as much. So it is
to be the least that leaves no freeze, and follows what is measured.

How late a chunk comes is counted against what was expected of it, without the margin. If the next chunk is
as likely to be the latest as each of the N before it, it is later than all of these once in N + 1 times,
however lateness is distributed. So the margin covers the latest of the last CHUNKS, less TOLERATED_S: a
picture that is late by so much keeps its place, and those after it catch up (server/media/pacing.py). For a
freeze, a gap of a fifth of a second, a chunk must then be later than all of these, and by about a tenth.

* It grows at once: what was late is likely to be late again soon.
* It shrinks slowly. What was late more than CHUNKS ago is forgotten; then the margin falls by a share of what
  there is too much of with each chunk, so that nobody sees motion quicken.
* What was late at a stream's beginning is forgotten when that is over: until its window is full, and what the
  device prepares is prepared, chunks take other times than ever after.
* The least is 0: a model that keeps time needs none.
* The most is half of the time for which a chunk is played, and MOST_S: more would push out pictures when a
  chunk comes early. A chunk that not even this could have bridged is a stall: its freeze cannot be had away,
  and no later picture is made older for it.
"""

from collections import deque

CHUNKS = 64  # 26 s at 30 pictures a second
BEGINNING = 6  # chunks of a stream since its reset
TOLERATED_S = 0.05
MOST_S = 0.5
SHRINKING = 0.1  # of what there is too much of, with each chunk


class PacingMargin:
    """Follows how late chunks come.

    margin.chunk(late, span, number)    # whenever a chunk has come of which it was said when it would
    margin.piece(late)                  # more of its pictures have come
    margin.seconds                      # for the pictures that there are
    """

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=CHUNKS)
        self._most = MOST_S
        self._begins = False
        self.seconds = 0.0

    def chunk(self, late: float, span: float, number: int = BEGINNING) -> None:
        """The first pictures of a chunk came `late` seconds after they were expected (below 0: before it).
        All of it is played for `span` > 0 seconds. It has `number` >= 0 since its stream's last reset."""
        begins, self._begins = self._begins, number < BEGINNING
        if begins and not self._begins:
            self._late.clear()
        self._most = min(span / 2, MOST_S)
        self._late.append(0.0)
        self.piece(late)
        self.seconds = max(self.seconds - SHRINKING * max(self.seconds - self._wanted, 0.0), self._wanted)

    def piece(self, late: float) -> None:
        """Later pictures of that chunk came `late` seconds after they were due without a margin."""
        if self._late and late <= self._most + TOLERATED_S:
            self._late[-1] = max(self._late[-1], late)
            self.seconds = max(self.seconds, self._wanted)

    @property
    def _wanted(self) -> float:
        return min(max(max(self._late) - TOLERATED_S, 0.0), self._most)
