"""The page a worker shares with the supervisor: that its loop turns, how late it turns, how late its adverts leave.

Whoever counts into it spends a few additions; whoever reads it asks nobody, so that it can be read of a worker that
stands still.
"""

import mmap
import struct
from bisect import bisect_left

import msgspec

from holdfast.base.time import MICROSECOND, MILLISECOND, SECOND, Nanoseconds
from holdfast.engine.beats import Beats
from holdfast.engine.engine import LATE

PULSE_BYTES = 4096

BOUNDS_NS: tuple[Nanoseconds, ...] = (
    50 * MICROSECOND, 100 * MICROSECOND, 250 * MICROSECOND, 500 * MICROSECOND,
    MILLISECOND, 2500 * MICROSECOND, 5 * MILLISECOND, 10 * MILLISECOND, 25 * MILLISECOND, 50 * MILLISECOND,
    100 * MILLISECOND, 250 * MILLISECOND, SECOND,
)  # fmt: skip
"""The upper ends of the buckets; what is later is counted in one more."""

_SUM = len(BOUNDS_NS) + 1
_WORD = 2**64 - 1  # what a cell holds: a sum that outgrows it begins again
_LAG = 2  # the first two cells hold the beat, and the number of AH
_LATE = _LAG + _SUM + 1


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How often it was how late: `counts` by bucket, one more than `bounds_s`; `sum_s` of all."""

    bounds_s: tuple[float, ...] = tuple(bound / SECOND for bound in BOUNDS_NS)
    counts: tuple[int, ...]
    sum_s: float


class Pulse:
    """One worker's page. Counters go on over a worker's death: the next one counts further."""

    def __init__(self, page: mmap.mmap | None = None) -> None:
        """Without `page` it is one of our own."""
        self._page = page if page is not None else mmap.mmap(-1, PULSE_BYTES)
        self._cells = memoryview(self._page).cast("Q")

    def beat(self, now: Nanoseconds, ah_number: int = 0) -> None:
        """The loop turns; the AH sequence number reached."""
        struct.pack_into("=QI", self._page, 0, now, ah_number)

    def turned(self, deadline: Nanoseconds | None, now: Nanoseconds) -> None:
        """The loop comes to what was due at `deadline`, if that has passed."""
        if deadline is not None and now >= deadline:
            cells, late = self._cells, now - deadline
            cells[_LAG + bisect_left(BOUNDS_NS, late)] += 1
            cells[_LAG + _SUM] = (cells[_LAG + _SUM] + late) & _WORD

    def sent(self, late: Nanoseconds, adverts: int) -> None:
        """So many adverts were handed to the kernel, so long after they were due."""
        cells = self._cells
        cells[_LATE + bisect_left(BOUNDS_NS, late)] += adverts
        cells[_LATE + _SUM] = (cells[_LATE + _SUM] + late * adverts) & _WORD

    def stalled(self, beats: Beats, now: Nanoseconds) -> None:
        """Count what a beat handled too late to be routine would have sent: its members are stepped one by one."""
        for beat in beats.due(now):
            if now - beat.next_at >= LATE:
                self.sent(now - beat.next_at, len(beat.slots))

    # ---- the supervisor ---------------------------------------------------------------------------------------------

    @property
    def at(self) -> Nanoseconds:
        """When the loop was last known to turn; 0: not yet."""
        return int(struct.unpack_from("=Q", self._page, 0)[0])

    @property
    def ah_number(self) -> int:
        """The AH sequence number reached."""
        return int(struct.unpack_from("=QI", self._page, 0)[1])

    def lag(self) -> Counted:
        """How late the loop came to what was due."""
        return self._counted(_LAG)

    def lateness(self) -> Counted:
        """How late regular adverts left."""
        return self._counted(_LATE)

    def _counted(self, first: int) -> Counted:
        return Counted(counts=tuple(self._cells[first : first + _SUM]), sum_s=self._cells[first + _SUM] / SECOND)
