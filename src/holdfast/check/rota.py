"""Which checks are due, of tens of thousands, gathered into beats.

A check begun alone wakes the daemon three times; ten begun together wake it three times as well. So what is due within
one beat of 5 ms is begun at its end: at 2,000 checks a second that halves what a check costs, and no schedule of
health checks can tell the difference.
"""

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

from holdfast.base.time import MILLISECOND, Nanoseconds

BEAT_NS = 5 * MILLISECOND

Key = TypeVar("Key")


class Rota(Generic[Key]):
    """Deadlines of many, each with one that holds: the last one booked."""

    def __init__(self, beat_ns: Nanoseconds = BEAT_NS) -> None:
        self._beat_ns = beat_ns
        self._heap: list[tuple[Nanoseconds, int, Key]] = []
        self._booked: dict[Key, Nanoseconds] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._booked)

    def book(self, key: Key, at: Nanoseconds) -> None:
        """`key` is due at `at`, and no more at what was booked before."""
        if self._booked.get(key) != at:
            self._booked[key] = at
            self._count += 1
            heapq.heappush(self._heap, (at, self._count, key))

    def strike(self, key: Key) -> None:
        """`key` is not due any more; unknown ones are left aside."""
        self._booked.pop(key, None)

    def due_at(self) -> Nanoseconds | None:
        """When to call `take`: the end of the first beat in which something is due."""
        heap, booked = self._heap, self._booked
        while heap and booked.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return -(-heap[0][0] // self._beat_ns) * self._beat_ns if heap else None

    def take(self, now: Nanoseconds) -> Iterator[Key]:
        """Each that is due by `now`, in order; it is booked no more."""
        heap, booked = self._heap, self._booked
        while heap and heap[0][0] <= now:
            at, _, key = heapq.heappop(heap)
            if booked.get(key) == at:
                del booked[key]
                yield key
