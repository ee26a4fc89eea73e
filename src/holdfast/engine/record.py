"""The always-on recording: what the engine was told and what it decided, bounded, ready to be written at any time.

`RecordedEngine` is the engine, and notes each event with its time and the effects. It must cost next to nothing:

- Routine (a deadline at which beats left, or nothing happened) becomes two integers in an array.
- Everything else is encoded at once: a few hundred nanoseconds, and no object stays behind; but for the many effects
  of a common take-over, which must not wait for that.
- The ring is made of segments. Each begins with a *checkpoint*, from which a replay can begin: references to the
  engine's frozen states, 0.3 ms for 1,000 instances, encoded only when the recording is written. When a segment is
  full the oldest one goes.

What is written is a series of frames (`frames`), each a MessagePack array behind its length: 4 octets, little-endian.
"""

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

import msgspec

from holdfast.base.time import MILLISECOND, Nanoseconds
from holdfast.config.plan import VrrpPlan
from holdfast.engine import holds
from holdfast.engine.engine import Engine
from holdfast.engine.messages import (
    AddressesApplied,
    AddressesRefused,
    AddressLost,
    AdvertArrived,
    AdvertRefused,
    Asleep,
    EngineEffect,
    EngineEvent,
    Interface,
    InterfaceSeen,
    LinkPolled,
    ProcessesCounted,
    ReannounceAsked,
    RoutineHeard,
    ScriptFinished,
    SendBeat,
    StopAsked,
    TimersDue,
    TrackerReported,
)
from holdfast.engine.reload import reload
from holdfast.engine.slot import Held, Slot
from holdfast.track.machine import ScriptState
from holdfast.track.process import ProcessState
from holdfast.vrrp.announce import Announcements
from holdfast.vrrp.config import InstanceConfig, hidden
from holdfast.vrrp.machine import Standing
from holdfast.vrrp.messages import Role

SEGMENTS = 4
"""So many segments make the ring, the one being written among them."""

SEGMENT_BYTES = 512 * 1024
ENTRY_BYTES = 48  # what an entry takes beside its octets
PLAN_BYTES = 1024  # an instance of a plan that came by a reload
MANY = 32
"""Effects of one event that are not encoded before they are carried out: a thousand adverts would wait for it."""

EFFECT_BYTES = 320  # what an effect that was not encoded takes, at most

ROOM: Nanoseconds = 2 * MILLISECOND
"""A checkpoint is taken while nothing is due for so long."""

SLICE = 64
"""Instances or plain entries a frame or step of `frames`, which may be taken between beats."""

AnyEvent = (
    TimersDue
    | AdvertArrived
    | AdvertRefused
    | RoutineHeard
    | InterfaceSeen
    | AddressesApplied
    | AddressesRefused
    | AddressLost
    | ScriptFinished
    | TrackerReported
    | ProcessesCounted
    | LinkPolled
    | Asleep
    | ReannounceAsked
    | StopAsked
)

# ---- the frames -----------------------------------------------------------------------------------------------------


class Fresh(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A segment begins with a new engine of plan number `plan`."""

    now: Nanoseconds
    boot_age_ns: Nanoseconds
    plan: int


class PlanHead(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A plan, without its instances and without passwords; `Instances` follow."""

    plan: int
    body: VrrpPlan


class Instances(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """More instances of a plan. Passwords are replaced: the same number stands for the same one."""

    plan: int
    instances: tuple[InstanceConfig, ...]


class ScriptPoint(msgspec.Struct, frozen=True, array_like=True):
    """A tracking script at a checkpoint."""

    name: str
    state: ScriptState
    timer_at: Nanoseconds | None


class ProcessPoint(msgspec.Struct, frozen=True, array_like=True):
    """A tracked process at a checkpoint."""

    name: str
    state: ProcessState
    timer_at: Nanoseconds | None


class LinkPoint(msgspec.Struct, frozen=True, array_like=True):
    """An interface whose link is not believed at once, at a checkpoint."""

    name: str
    seen: Interface | None
    silent: bool
    due_at: Nanoseconds | None
    timer_at: Nanoseconds | None


class SlotPoint(msgspec.Struct, frozen=True, array_like=True):
    """A slot at a checkpoint; `kind` names the state's class."""

    number: int
    key: str  # of its configuration
    kind: str
    state: dict[str, Any]
    role: Role
    standing: Standing
    announcements: Announcements
    timer_at: Nanoseconds | None
    start_at: Nanoseconds
    watched: bool
    held: Held | None
    down_ns: Nanoseconds
    heard_after: Nanoseconds
    faults: tuple[str, ...]
    refused: str
    since: Nanoseconds
    cause: str
    resigned: bool
    master_since: Nanoseconds
    suspected: tuple[tuple[str, Nanoseconds], ...]


class Checkpoint(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A segment begins with an engine as it stands; `Slots` follow. Counters are not kept: nothing depends on them.

    Nor is what is settled before an event is over (`Groups.left_master`).
    """

    now: Nanoseconds
    plan: int
    number: int
    hold_until: Nanoseconds
    leaving: bool
    interfaces: tuple[Interface, ...]
    verdicts: tuple[tuple[str, str, bool | int | None], ...]
    roles: dict[str, Role]
    beats: tuple[tuple[int, Nanoseconds, Nanoseconds, tuple[int, ...]], ...]
    timers: tuple[tuple[Nanoseconds, int, int | str | tuple[str, str]], ...]  # when, ticket, who (`_who`)
    scripts: tuple[ScriptPoint, ...]
    processes: tuple[ProcessPoint, ...] = ()
    links: tuple[LinkPoint, ...] = ()


class Slots(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """More slots of a checkpoint."""

    slots: tuple[SlotPoint, ...]


class Begun(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The engine was begun. Here and below: `effects` None when it failed over it."""

    now: Nanoseconds
    interfaces: tuple[Interface, ...]
    effects: list[Any] | None


class Happened(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The engine was given an event."""

    now: Nanoseconds
    event: AnyEvent
    effects: list[Any] | None


class Reloaded(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The engine was brought to plan number `plan`."""

    now: Nanoseconds
    plan: int
    interfaces: tuple[Interface, ...]
    effects: list[Any] | None


class Commanded(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """An operator handed over or released."""

    now: Nanoseconds
    instance: str
    direction: str
    by: str
    for_ns: Nanoseconds | None
    force: bool
    effects: list[Any] | None


class Routine(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """TimersDue again and again, nothing heard: pairs of time and the beat that left (0: none), as 64-bit integers."""

    moments: bytes


Entry = Begun | Happened | Reloaded | Commanded
Frame = Fresh | PlanHead | Instances | Checkpoint | Slots | Begun | Happened | Reloaded | Commanded | Routine

# ---- the ring -------------------------------------------------------------------------------------------------------

_POINT = attrgetter(
    "number", "config", "state", "role", "standing", "announcements", "timer_at", "start_at", "watched", "held",
    "down_ns", "heard_after", "faults", "refused", "since", "cause", "resigned",
    "master_since", "suspected",
)  # fmt: skip


class _Segment:
    """A stretch of the recording: where it begins, the plans that come in it, its entries."""

    __slots__ = ("items", "plans", "run", "size_bytes", "slots", "start")

    def __init__(self, start: Fresh | Checkpoint, slots: list[tuple[Any, ...]], plans: dict[int, VrrpPlan]) -> None:
        self.start = start
        self.slots = slots
        self.plans = plans
        self.items: list[bytes | array[int] | Entry] = []
        self.run: array[int] = array("q")
        self.size_bytes = 0

    def filled_bytes(self) -> int:
        """How much it holds by now."""
        return self.size_bytes + len(self.run) * 8

    def copy(self) -> "_Segment":
        """The same as it is now; what it holds never changes."""
        twin = _Segment(self.start, self.slots, dict(self.plans))
        twin.items = [*self.items, self.run[:]] if self.run else self.items[:]
        return twin


class RecordedEngine(Engine):
    """An engine that remembers what it was told and what it decided."""

    def __init__(self, plan: VrrpPlan, now: Nanoseconds, boot_age_ns: Nanoseconds = 0) -> None:
        super().__init__(plan, now, boot_age_ns)
        self._encode = msgspec.msgpack.Encoder().encode
        self._plan_number = 0
        self._at_work: Any = None  # an event, or a frame without effects, while the engine works on it
        self._at_work_at = now
        self._segment = _Segment(Fresh(now, boot_age_ns, 0), [], {0: plan})
        self._segments = deque([self._segment], maxlen=SEGMENTS)

    # ---- what is recorded -------------------------------------------------------------------------------------------

    def handle(self, event: EngineEvent | ScriptFinished, now: Nanoseconds) -> list[EngineEffect]:
        """As the engine's, and noted."""
        self._at_work, self._at_work_at = event, now
        effects = Engine.handle(self, event, now)
        self._at_work = None
        if (
            event.__class__ is TimersDue
            and not event.heard
            and (not effects or (len(effects) == 1 and effects[0].__class__ is SendBeat))
        ):
            self._segment.run.extend((now, effects[0].beat if effects else 0))  # type: ignore[attr-defined]
        else:
            self._keep(Happened(now, event, effects))  # type: ignore[arg-type]
        return effects

    def begin(self, interfaces: Iterable[Interface], now: Nanoseconds) -> list[EngineEffect]:
        """As the engine's, and noted."""
        known = tuple(interfaces)
        self._at_work = Begun(now, known, None)
        effects = super().begin(known, now)
        self._keep(Begun(now, known, effects))
        return effects

    def reload(self, plan: VrrpPlan, interfaces: list[Interface], now: Nanoseconds) -> list[EngineEffect]:
        """Bring it to `plan` (engine/reload.py), and note that."""
        self._plan_number += 1
        self._segment.plans[self._plan_number] = plan
        self._at_work = Reloaded(now, self._plan_number, tuple(interfaces), None)
        effects = reload(self, plan, interfaces, now)
        self._keep(Reloaded(now, self._plan_number, tuple(interfaces), effects))
        self._segment.size_bytes += PLAN_BYTES * len(plan.instances)
        return effects

    def command(
        self, name: str, direction: str, *, by: str, for_ns: int | None, force: bool, dry_run: bool, now: Nanoseconds
    ) -> tuple[holds.Answer, list[EngineEffect]]:
        """What an operator asked for (engine/holds.py), noted unless it is only a rehearsal."""
        self._at_work = Commanded(now, name, direction, by, for_ns, force, None)
        answer = holds.command(
            self, name, direction, by=by, for_ns=for_ns, force=force, dry_run=dry_run, now=now
        )
        effects = self.take()
        if not dry_run:
            self._keep(Commanded(now, name, direction, by, for_ns, force, effects))
        self._at_work = None
        return answer, effects

    def _keep(self, frame: Entry) -> None:
        self._at_work = None
        segment = self._segment
        if segment.run:
            segment.items.append(segment.run)
            segment.size_bytes += len(segment.run) * 8 + ENTRY_BYTES
            segment.run = array("q")
        if frame.effects is not None and len(frame.effects) > MANY:
            segment.items.append(frame)
            segment.size_bytes += len(frame.effects) * EFFECT_BYTES
        else:
            octets = self._encode(frame)
            segment.items.append(octets)
            segment.size_bytes += len(octets) + ENTRY_BYTES
        if segment.size_bytes > 2 * SEGMENT_BYTES:  # nobody found a quiet moment for `turn`
            self._begin_segment(frame.now)

    # ---- segments ---------------------------------------------------------------------------------------------------

    def turn(self, now: Nanoseconds) -> None:
        """Begin a new segment when this one is full; called often, at moments when nothing is due."""
        if self._segment.filled_bytes() > SEGMENT_BYTES:
            deadline = self.deadline()
            if deadline is None or deadline - now > ROOM:
                self._begin_segment(now)

    def _begin_segment(self, now: Nanoseconds) -> None:
        known = self._who()
        point = Checkpoint(
            now=now,
            plan=self._plan_number,
            number=self.number,
            hold_until=self.hold_until,
            leaving=self.leaving,
            interfaces=tuple(self.interfaces.values()),
            verdicts=tuple((*key, up) for key, up in self.verdicts.items()),
            roles=dict(self.groups.roles),
            beats=tuple(self.beats.rhythms()),
            timers=tuple(
                (at, ticket, known[id(timed)]) for at, ticket, timed in self._timers.entries() if id(timed) in known
            ),
            scripts=tuple(ScriptPoint(name, s.state, s.timer_at) for name, s in self.scripts.items()),
            processes=tuple(ProcessPoint(name, p.state, p.timer_at) for name, p in self.processes.items()),
            links=tuple(
                LinkPoint(name, link.seen, link.silent, link.due_at, link.timer_at) for name, link in self.links.items()
            ),
        )
        self._segment = _Segment(point, list(map(_POINT, self.slots.values())), {self._plan_number: self.plan})
        self._segments.append(self._segment)

    def _who(self) -> dict[int, int | str | tuple[str, str]]:
        """How whatever has a timer is named: a slot by its number, a script by its name, others by kind and name."""
        known: dict[int, int | str | tuple[str, str]] = {id(slot): slot.number for slot in self.slots.values()}
        known.update((id(script), name) for name, script in self.scripts.items())
        known.update((id(slot), ("process", name)) for name, slot in self.processes.items())
        known.update((id(link), ("link", name)) for name, link in self.links.items())
        return known

    # ---- writing ----------------------------------------------------------------------------------------------------

    def frames(self) -> Iterator[bytes]:
        """The recording up to now, in pieces of some kilobytes; what happens between two of them is not in it."""
        segments = [segment.copy() for segment in self._segments]
        unanswered = self._unanswered()
        passwords: dict[bytes, bytes] = {}
        told: set[int] = set()
        for number, segment in enumerate(segments):
            for plan_number, plan in segment.plans.items():
                if plan_number not in told:
                    told.add(plan_number)
                    yield from _plan_frames(plan_number, plan, passwords)
            if number == 0:
                yield _framed(self._encode(segment.start))
                for start in range(0, len(segment.slots), SLICE):
                    points = tuple(_slot_point(*fields) for fields in segment.slots[start : start + SLICE])
                    yield _framed(self._encode(Slots(points)))
            for start in range(0, len(segment.items), SLICE):
                yield b"".join(map(self._item, segment.items[start : start + SLICE]))
        if unanswered is not None:
            yield _framed(self._encode(unanswered))

    def _unanswered(self) -> Entry | None:
        """What the engine works on at this moment: after a failure, what it failed over."""
        work = self._at_work
        if work is None or isinstance(work, Begun | Reloaded | Commanded):
            return work
        return Happened(self._at_work_at, work, None)

    def _item(self, item: "bytes | array[int] | Entry") -> bytes:
        if isinstance(item, bytes):
            return _framed(item)
        return _framed(self._encode(Routine(item.tobytes()) if isinstance(item, array) else item))


def _framed(octets: bytes) -> bytes:
    return len(octets).to_bytes(4, "little") + octets


def _plan_frames(number: int, plan: VrrpPlan, passwords: dict[bytes, bytes]) -> Iterator[bytes]:
    yield _framed(msgspec.msgpack.encode(PlanHead(number, msgspec.structs.replace(plan, instances=()))))
    for start in range(0, len(plan.instances), SLICE):
        hidden = tuple(_without_password(config, passwords) for config in plan.instances[start : start + SLICE])
        yield _framed(msgspec.msgpack.encode(Instances(number, hidden)))


def _without_password(config: InstanceConfig, passwords: dict[bytes, bytes]) -> InstanceConfig:
    """A digest could be guessed at; a number tells no more than whether two passwords are the same."""
    return hidden(config, lambda secret: passwords.setdefault(secret, b"hidden%2d" % min(len(passwords) + 1, 99)))


def _slot_point(
    number: int, config: InstanceConfig, state: Any, role: Role, standing: Standing, *rest: Any
) -> SlotPoint:
    fields = msgspec.structs.asdict(state)
    return SlotPoint(number, config.key, type(state).__name__, fields, role, standing, *rest)


def slot_fields(point: SlotPoint) -> Iterator[tuple[str, Any]]:
    """The attributes of a Slot that a checkpoint holds as they are."""
    for name in Slot.__slots__:
        if name not in ("number", "config", "state", "group", "counters", "peer"):
            yield name, getattr(point, name)
