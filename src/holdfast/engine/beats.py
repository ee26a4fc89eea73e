"""Beats: masters with one interval whose adverts leave together.

A master advertises at a fixed interval and nothing about that needs deciding, so it is not stepped for it: it joins a
beat, and when the beat is due all its members' ready-made packets leave in one go. A master joins a beat that comes a
little before its own time (an advert may be early, never late); otherwise it begins a beat of its own. A beat holds at
most BEAT_SIZE members, so that no burst overruns a peer's receive buffer.
"""

from collections.abc import Sequence

from holdfast.base.time import Nanoseconds

BEAT_SIZE = 128
EARLY_SHARE = 16
"""A member's first regular advert may come earlier by this share of its interval."""


class Beat:
    """One rhythm: `next_at`, and the slots that send then. `version` changes whenever the members do."""

    __slots__ = ("interval_ns", "next_at", "number", "slots", "strokes", "version")

    def __init__(self, number: int, interval_ns: Nanoseconds, next_at: Nanoseconds) -> None:
        self.number = number
        self.interval_ns = interval_ns
        self.next_at = next_at
        self.slots: list[int] = []
        self.strokes = 0  # how often it has been sent
        self.version = 0


class Beats:
    """All beats of the running plan."""

    def __init__(self) -> None:
        self._beats: dict[int, Beat] = {}
        self._of_slot: dict[int, tuple[Beat, int]] = {}  # the beat, and its strokes when the slot joined
        self._counter = 0
        self.next_at: Nanoseconds | None = None

    def join(self, slot: int, interval_ns: Nanoseconds, adver_at: Nanoseconds) -> None:
        """`slot` advertises every `interval_ns`, next at `adver_at` or a little before."""
        self.leave(slot)
        earliest = adver_at - interval_ns // EARLY_SHARE
        best: Beat | None = None
        for beat in self._beats.values():
            if (
                beat.interval_ns == interval_ns
                and earliest <= beat.next_at <= adver_at
                and len(beat.slots) < BEAT_SIZE
                and (best is None or beat.next_at > best.next_at)
            ):
                best = beat
        if best is None:
            self._counter += 1
            best = self._beats[self._counter] = Beat(self._counter, interval_ns, adver_at)
        best.slots.append(slot)
        best.version += 1
        self._of_slot[slot] = (best, best.strokes)
        if self.next_at is None or best.next_at < self.next_at:
            self.next_at = best.next_at

    def leave(self, slot: int) -> int:
        """`slot` advertises no more; how many regular adverts it had sent since it joined."""
        found = self._of_slot.pop(slot, None)
        if found is None:
            return 0
        beat, since = found
        beat.slots.remove(slot)
        beat.version += 1
        if not beat.slots:
            del self._beats[beat.number]
            self._set_next()
        return beat.strokes - since

    def sent(self, slot: int) -> int:
        """How many regular adverts `slot` has sent since it joined."""
        found = self._of_slot.get(slot)
        return found[0].strokes - found[1] if found else 0

    def adver_at(self, slot: int) -> Nanoseconds | None:
        """When `slot`'s next regular advert is due (its Adver_Timer); None when it sends none."""
        found = self._of_slot.get(slot)
        return found[0].next_at if found else None

    def members(self, number: int) -> list[int]:
        """The slots of a beat, in the order in which they joined; none when the last one left since it was due."""
        beat = self._beats.get(number)
        return beat.slots if beat is not None else []

    def due(self, now: Nanoseconds) -> list[Beat]:
        """The beats whose time has come; they are not advanced yet."""
        if self.next_at is None or now < self.next_at:
            return []
        return [beat for beat in self._beats.values() if beat.next_at <= now]

    def advance(self, beats: list[Beat], now: Nanoseconds) -> None:
        """These beats were sent: each comes next an interval after its last time, or after now when that has passed."""
        for beat in beats:
            beat.strokes += 1
            beat.next_at += beat.interval_ns
            if beat.next_at <= now:
                beat.next_at = now + beat.interval_ns
        self._set_next()

    def rhythms(self) -> list[tuple[int, Nanoseconds, Nanoseconds, tuple[int, ...]]]:
        """Every beat: its number, interval, next time and slots."""
        return [(beat.number, beat.interval_ns, beat.next_at, tuple(beat.slots)) for beat in self._beats.values()]

    def put_back(self, rhythms: Sequence[tuple[int, Nanoseconds, Nanoseconds, tuple[int, ...]]]) -> None:
        """Go on from what `rhythms` gave; nothing is counted as sent."""
        for number, interval_ns, next_at, slots in rhythms:
            beat = self._beats[number] = Beat(number, interval_ns, next_at)
            beat.slots = list(slots)
            self._of_slot.update((slot, (beat, 0)) for slot in slots)
            self._counter = max(self._counter, number)
        self._set_next()

    def of(self, slot: int) -> Beat | None:
        """The beat of a slot; None when it sends none."""
        found = self._of_slot.get(slot)
        return found[0] if found else None

    def strokes(self) -> dict[int, int]:
        """How often each beat has been sent, by its number."""
        return {beat.number: beat.strokes for beat in self._beats.values()}

    def skip(self, until: Nanoseconds) -> list[tuple[Beat, int, Nanoseconds]]:
        """In virtual time: enter every stroke up to `until` as sent; (beat, how many, when the last one was)."""
        skipped = []
        for beat in self._beats.values():
            count = (until - beat.next_at) // beat.interval_ns + 1
            if count > 0:
                beat.strokes += count
                beat.next_at += count * beat.interval_ns
                skipped.append((beat, count, beat.next_at - beat.interval_ns))
        self._set_next()
        return skipped

    def _set_next(self) -> None:
        self.next_at = min((beat.next_at for beat in self._beats.values()), default=None)
