"""What the vrrp worker answers, a slice at a time: its view, its recording, and its routine.

A view costs 20 µs an instance: 20 ms for a thousand. Whoever looks on each second would cost many times what the
elections do. What changes from one second to the next while nothing happens is only routine, and that is counted in
few places: how often each beat was sent, and in the filters' maps what was absorbed. `routine` hands these over as they
are, in 20 µs for all instances together; a view that was asked for with hints says where each instance is found there.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from holdfast.base.time import Nanoseconds
from holdfast.edge.channel import Ask, AskRoutine, Record, Reply
from holdfast.edge.clock import monotonic_ns, wall_text
from holdfast.engine.node import Hint, Hints, Routine
from holdfast.engine.view import instance_view, shared_view

if TYPE_CHECKING:
    from holdfast.edge.worker import VrrpWorker

REPLY_BYTES = 32 * 1024
SLICE = 20
"""So many instances in a piece of work between which others are done: 0.4 ms."""

_encode = msgspec.json.encode


def view(worker: "VrrpWorker", asked: Ask) -> Iterator[None]:
    """The view, told as it is made: the whole would be as large as the plan. Counters are zeroed if so asked."""
    engine, now = worker.engine, monotonic_ns()
    heard = {slot: worker.adverts.heard_since(slot) for slot in engine.slots}
    slots, hints = list(engine.slots.values()), dict[str, Hint]()
    begun = b'{"instances":['
    for start in range(0, len(slots), SLICE):
        rows = []
        for slot in slots[start : start + SLICE]:
            rows.append(_encode(instance_view(engine, slot, heard.get(slot.number), wall_text, now)))
            # after the row: what is counted between the two, the next view has
            if asked.hints and (hint := _hint(worker, slot.number)) is not None:
                hints[slot.config.name] = hint
        _tell(worker, asked.ask, begun + b",".join(rows))
        begun = b","
        yield
    shared = shared_view(engine, wall_text)
    if worker.parts.bfd is not None:
        shared = msgspec.structs.replace(shared, bfd=worker.parts.bfd.views(wall_text))
    if asked.hints:
        shared = msgspec.structs.replace(shared, routine=Hints(at=now, by_name=hints))
    end = _encode(shared)
    _tell(worker, asked.ask, end.removeprefix(b'{"instances":[') if slots else end, last=True)
    if asked.clear:
        for slot in engine.slots.values():
            slot.counters = {"advert_sent": -engine.beats.sent(slot.number)}


def _tell(worker: "VrrpWorker", ask: int, octets: bytes, last: bool = False) -> None:
    for start in range(0, len(octets), REPLY_BYTES):
        ends = last and start + REPLY_BYTES >= len(octets)
        worker.channel.put(Reply(ask, octets[start : start + REPLY_BYTES], ends))


def _hint(worker: "VrrpWorker", slot: int) -> Hint | None:
    """Where the routine of a slot is counted."""
    beat = worker.engine.beats.of(slot)
    if beat is not None:
        return Hint(beat=beat.number, strokes=beat.strokes)
    place = worker.adverts.place_of(slot)
    if place is None:
        return None
    port, vrid, heard_at, count = place
    return Hint(port=port, vrid=vrid, heard_at=heard_at, count=count)


def routine(worker: "VrrpWorker", asked: AskRoutine, now: Nanoseconds) -> None:
    """What is counted where the hints lead."""
    told = Routine(at=now, beats=worker.engine.beats.strokes(), ports=worker.adverts.absorbed())
    worker.channel.put(Reply(asked.ask, msgspec.json.encode(told), True))


def recording(worker: "VrrpWorker", asked: Record) -> Iterator[None]:
    """The recording, in pieces."""
    for frames in worker.engine.frames():
        for start in range(0, len(frames), REPLY_BYTES):
            worker.channel.put(Reply(asked.ask, frames[start : start + REPLY_BYTES], False))
        yield
    worker.channel.put(Reply(asked.ask, b"", True))
