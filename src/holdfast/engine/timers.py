"""One heap of deadlines, checked lazily: a deadline that moves later costs nothing until the earlier one is due."""

from heapq import heappop, heappush

from holdfast.base.time import MILLISECOND, Nanoseconds
from holdfast.engine.slot import LinkSlot, ProcessSlot, ScriptSlot, Slot

LEAD: Nanoseconds = MILLISECOND
"""How long before a silent master counts as down the loop is awake: waking takes time, too."""

AHEAD_SHARE = 4
"""Watched slots are asked about this share of an advert interval ahead of their deadline when the loop is awake."""

MOST_AHEAD: Nanoseconds = 250 * MILLISECOND

Timed = Slot | ScriptSlot | ProcessSlot | LinkSlot


class Timers:
    """When to wake for which slot or script. An entry counts only while it is the one its `timer_at` names."""

    def __init__(self) -> None:
        self._heap: list[tuple[Nanoseconds, int, Timed]] = []
        self._ticket = 0
        self._ahead: Nanoseconds = 0

    def look_ahead(self, shortest_interval_ns: Nanoseconds) -> None:
        """Fit how far ahead watched slots are asked about to the plan's shortest advert interval."""
        self._ahead = min(shortest_interval_ns // AHEAD_SHARE, MOST_AHEAD)

    def set(self, timed: Timed, at: Nanoseconds | None) -> None:
        """Wake for `timed` at `at`, or before; a later deadline leaves the earlier entry, which then moves it on."""
        if at is None or (timed.timer_at is not None and timed.timer_at <= at):
            return
        timed.timer_at = at
        self._ticket += 1
        heappush(self._heap, (at, self._ticket, timed))

    def first(self) -> tuple[Nanoseconds, Timed] | None:
        """The earliest entry; it may have been overtaken."""
        return (self._heap[0][0], self._heap[0][2]) if self._heap else None

    def next_at(self) -> Nanoseconds | None:
        """When the earliest entry is due."""
        return self._heap[0][0] if self._heap else None

    def wake_at(self) -> Nanoseconds | None:
        """As `next_at`, but LEAD before the moment a watched master counts as down."""
        if not self._heap:
            return None
        at, _, timed = self._heap[0]
        return at - LEAD if isinstance(timed, Slot) and timed.watched else at

    def take(self, now: Nanoseconds, due: list[Timed]) -> list[int]:
        """Move what is due by `now` into `due`; the numbers of the watched slots among it.

        Watched slots that come due a little later are taken too: most have been heard since they were entered, and
        then need no wake-up of their own.
        """
        heap = self._heap
        watched = []
        early = []
        ahead = now + self._ahead
        while heap and heap[0][0] <= ahead:
            entry = heappop(heap)
            at, _, timed = entry
            if timed.timer_at != at:
                continue  # moved since
            if isinstance(timed, Slot) and timed.watched:
                watched.append(timed.number)
            elif at > now:
                early.append(entry)
                continue
            timed.timer_at = None
            due.append(timed)
        for entry in early:
            heappush(heap, entry)
        return watched

    def entries(self) -> list[tuple[Nanoseconds, int, Timed]]:
        """All entries, each with the ticket that settles who goes first of two at the same moment.

        One that does not count now may count again, when a deadline returns to where it was.
        """
        return self._heap[:]

    def put_back(self, entries: list[tuple[Nanoseconds, int, Timed]]) -> None:
        """Go on from what `entries` gave."""
        self._heap = sorted(entries, key=lambda entry: entry[:2])
        self._ticket = max((ticket for _, ticket, _ in entries), default=0)


def earlier(one: Nanoseconds | None, other: Nanoseconds | None) -> Nanoseconds | None:
    """The earlier of two moments, of which either may not be."""
    if one is None:
        return other
    return one if other is None or one < other else other
