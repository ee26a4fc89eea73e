"""Decide again: a recording (engine/record.py) is fed to a new engine, and what it decides compared with what is told.

The file: a line of text, MAGIC and a JSON header; then the frames, deflated (RFC 1950). What of a damaged file can be
read is replayed. Reading it from the disk is the caller's.
"""

import zlib
from array import array
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from holdfast.base.time import Nanoseconds
from holdfast.config.plan import VrrpPlan
from holdfast.engine import holds, record
from holdfast.engine.engine import Engine
from holdfast.engine.messages import EngineEffect, Interface, SendBeat, TimersDue
from holdfast.engine.record import Begun, Entry, Frame, Happened, Instances, PlanHead, Reloaded, Routine
from holdfast.engine.reload import reload
from holdfast.engine.slot import LinkSlot, ProcessSlot, ScriptSlot, Slot
from holdfast.engine.timers import Timed
from holdfast.vrrp.machine import ROLES

MAGIC = b"holdfast-recording "
FORMAT = 1
MOST_BYTES = 64 * 1024 * 1024
"""More than any recording of ours comes to when it is inflated."""

PIECE_BYTES = 1024

STATES: dict[str, type[Any]] = {state.__name__: state for state in ROLES}


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a recording's first line. `wall_ns` and `monotonic_ns` are the same moment: that of writing."""

    format: int
    version: str
    node: str
    pid: int
    reason: str
    time: str
    wall_ns: int
    monotonic_ns: Nanoseconds


class BadRecordingError(ValueError):
    """It is not a recording, or none that can be read; the text says why and what helps."""


class Recording(msgspec.Struct, kw_only=True):
    """A recording as it was read. `damage` says what could not be; "" when all could."""

    header: Header
    plans: dict[int, VrrpPlan] = {}
    start: record.Fresh | record.Checkpoint | None = None
    slots: list[record.SlotPoint] = []
    entries: list[Entry] = []
    damage: str = ""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where the replay first differs. `number` counts the events from 1; both sides as MessagePack's own values."""

    number: int
    now: Nanoseconds
    event: Any
    recorded: Any
    replayed: Any
    what: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay came to; `crashed`: the recording ends with an event over which the engine failed."""

    events: int
    span_ns: Nanoseconds
    difference: Difference | None = None
    crashed: str = ""


E = TypeVar("E", bound=Engine)
OnEvent = Callable[[Any, Nanoseconds, list[EngineEffect]], None]
"""Told of each event replayed: the entry's event (or the entry itself, if it was none), its time, the effects."""


# ---- writing and reading --------------------------------------------------------------------------------------------


def file_octets(header: Header, frames: bytes) -> bytes:
    """A recording as a file holds it."""
    return MAGIC + msgspec.json.encode(header) + b"\n" + zlib.compress(frames, 1)


def read(octets: bytes) -> Recording:
    """The recording in a file's octets; raises BadRecordingError when nothing of it can be replayed."""
    if not octets.startswith(MAGIC):
        raise BadRecordingError("it is not a recording of holdfast: write one with `holdfast dump --record FILE`")
    line, _, body = octets.partition(b"\n")
    header = _header(line[len(MAGIC) :])
    recording = Recording(header=header, plans={}, slots=[], entries=[])
    heads: dict[int, VrrpPlan] = {}
    instances: dict[int, list[Any]] = {}
    try:
        for frame in _frames(_inflated(body, recording), recording):
            if isinstance(frame, PlanHead):
                heads[frame.plan] = frame.body
            elif isinstance(frame, Instances):
                instances.setdefault(frame.plan, []).extend(frame.instances)
            elif isinstance(frame, record.Fresh | record.Checkpoint):
                recording.start = frame
            elif isinstance(frame, record.Slots):
                recording.slots.extend(frame.slots)
            elif isinstance(frame, Routine):
                recording.entries.extend(_routine(frame))
            else:
                recording.entries.append(frame)
    except (ValueError, OverflowError, RecursionError) as wrong:  # msgspec's own errors are ValueErrors
        recording.damage = f"a frame can't be read ({wrong})"
    for number, head in heads.items():
        recording.plans[number] = msgspec.structs.replace(head, instances=tuple(instances.get(number, ())))
    if recording.start is None:
        why = recording.damage or "it holds nothing"
        raise BadRecordingError(f"{why}: it was cut off before the first event; copy it again, or write a new one")
    return recording


def _header(line: bytes) -> Header:
    try:
        said = msgspec.json.decode(line)
        format_ = said.get("format") if isinstance(said, dict) else None
        if isinstance(format_, int) and format_ != FORMAT:
            version = said.get("version")
            raise BadRecordingError(
                f"it has format {format_}, written by holdfast {version}, and this holdfast reads format {FORMAT}: "
                f"replay it with holdfast {version}"
            )
        return msgspec.convert(said, Header)
    except msgspec.MsgspecError as wrong:
        raise BadRecordingError(f"its first line is damaged ({wrong}): copy it again, or write a new one") from None


def _inflated(body: bytes, recording: Recording) -> bytes:
    inflater = zlib.decompressobj()
    octets = bytearray()
    try:
        for start in range(0, len(body), PIECE_BYTES):
            octets += inflater.decompress(body[start : start + PIECE_BYTES])
            if len(octets) > MOST_BYTES:
                recording.damage = "it is longer than any recording"
                return bytes(octets[:MOST_BYTES])
        if not inflater.eof:
            recording.damage = "its end is missing"
    except zlib.error as wrong:
        recording.damage = f"it is damaged ({wrong})"
    return bytes(octets)


def _frames(octets: bytes, recording: Recording) -> Iterator[Frame]:
    decode = msgspec.msgpack.Decoder(Frame).decode
    at = 0
    while at < len(octets):
        size = int.from_bytes(octets[at : at + 4], "little")
        if at + 4 + size > len(octets):
            recording.damage = recording.damage or "its end is missing"
            return
        yield decode(memoryview(octets)[at + 4 : at + 4 + size])
        at += 4 + size


def _routine(frame: Routine) -> Iterator[Happened]:
    moments: array[int] = array("q")
    moments.frombytes(frame.moments[: len(frame.moments) // 16 * 16])
    due = TimersDue()
    sent: dict[int, list[Any]] = {0: []}
    for index in range(0, len(moments), 2):
        now, beat = moments[index], moments[index + 1]
        effects = sent.setdefault(beat, [{"type": "SendBeat", "beat": beat, "version": 0}])
        yield Happened(now, due, effects)


# ---- the engine as it was -------------------------------------------------------------------------------------------


def restored(recording: Recording, kind: type[E]) -> E:
    """An engine of class `kind` as it stood when the recording begins; raises BadRecordingError."""
    start = recording.start
    assert start is not None, "`read` refuses a recording without a beginning"
    try:
        return _restored(recording, start, kind)
    except (LookupError, TypeError, ValueError, AttributeError, msgspec.MsgspecError) as wrong:
        if isinstance(wrong, BadRecordingError):
            raise
        raise BadRecordingError(f"its beginning is damaged ({wrong!r}): copy it again, or write a new one") from None


def _restored(recording: Recording, start: record.Fresh | record.Checkpoint, kind: type[E]) -> E:
    plan = recording.plans.get(start.plan)
    if plan is None:
        raise BadRecordingError(f"plan {start.plan}, with which it begins, is not in it: write a new one")
    if isinstance(start, record.Fresh):
        return kind(plan, start.now, start.boot_age_ns)
    engine = kind(plan, start.now)
    engine.number, engine.hold_until, engine.leaving = start.number, start.hold_until, start.leaving
    engine.interfaces = {interface.name: interface for interface in start.interfaces}
    engine.verdicts = {(kind_, name): up for kind_, name, up in start.verdicts}
    configs = {config.key: config for config in plan.instances}
    by_number: dict[int | str | tuple[str, str], Timed] = {}
    for point in recording.slots:
        if point.key not in configs or point.kind not in STATES:
            raise BadRecordingError(f"slot {point.number} ({point.key}, {point.kind}) is unknown: write a new one")
        slot = engine.slots[point.number] = Slot(point.number, configs[point.key], start.now)
        slot.state = msgspec.convert(point.state, STATES[point.kind])
        by_number[point.number] = slot
    engine.form_groups()
    for point in recording.slots:
        for name, value in record.slot_fields(point):
            setattr(engine.slots[point.number], name, value)
    scripts = {config.name: config for config in plan.scripts}
    for script in start.scripts:
        timed = engine.scripts[script.name] = ScriptSlot(scripts[script.name], script.state)
        timed.timer_at = script.timer_at
        by_number[script.name] = timed
    _restore_watched(engine, plan, start, by_number)
    engine.groups.roles = dict(start.roles)
    engine.beats.put_back(start.beats)
    engine.resume([(at, ticket, by_number[who]) for at, ticket, who in start.timers])
    return engine


def _restore_watched(
    engine: Engine, plan: VrrpPlan, start: record.Checkpoint, by_number: dict[int | str | tuple[str, str], Timed]
) -> None:
    processes = {config.name: config for config in plan.processes}
    for point in start.processes:
        slot = engine.processes[point.name] = ProcessSlot(processes[point.name])
        slot.state, slot.timer_at = point.state, point.timer_at
        by_number["process", point.name] = slot
    links = {config.name: config for config in plan.links}
    for at in start.links:
        link = engine.links[at.name] = LinkSlot(links[at.name], at.seen)
        link.silent, link.due_at, link.timer_at = at.silent, at.due_at, at.timer_at
        by_number["link", at.name] = link


# ---- deciding again -------------------------------------------------------------------------------------------------


def replay(recording: Recording, engine: Engine, on_event: OnEvent | None = None) -> Outcome:
    """Give `engine` (see `restored`) every event of the recording, up to the first difference."""
    first = recording.entries[0].now if recording.entries else 0
    span_ns, beats = 0, dict[int, int]()
    for number, entry in enumerate(recording.entries, 1):
        span_ns = entry.now - first
        event: Any = entry.event if isinstance(entry, Happened) else entry
        effects: list[EngineEffect] | None = None
        failed, strange = "", ""
        try:
            if isinstance(entry, Happened) and isinstance(entry.event, TimersDue):
                asked = engine.take_due(entry.now)
                unasked = entry.event.heard.keys() - set(asked)
                strange = f"the timers of slots {sorted(unasked)} were due then, and are not now" if unasked else ""
            effects = _decide(engine, entry, recording.plans)
        except Exception as wrong:  # whatever the engine failed over, it may fail over it again
            failed = f"{type(wrong).__name__}: {wrong}"
        if effects is not None and on_event is not None:
            on_event(event, entry.now, effects)
        if failed and entry.effects is None:
            return Outcome(events=number, span_ns=span_ns, crashed=failed)
        replayed = None if effects is None else plain(effects)
        if not failed and not strange and _same(entry.effects, replayed, beats):
            continue
        what = f"the engine failed: {failed}" if failed else strange or "other effects"
        if entry.effects is None and not failed:
            what = "the engine failed over it then, and does not now"
        difference = Difference(
            number=number, now=entry.now, event=event, recorded=entry.effects, replayed=replayed, what=what
        )
        return Outcome(events=number, span_ns=span_ns, difference=difference)
    return Outcome(events=len(recording.entries), span_ns=span_ns)


def _decide(engine: Engine, entry: Entry, plans: dict[int, VrrpPlan]) -> list[EngineEffect]:
    if isinstance(entry, Happened):
        return engine.handle(entry.event, entry.now)
    if isinstance(entry, Begun):
        return engine.begin(entry.interfaces, entry.now)
    if isinstance(entry, Reloaded):
        known: list[Interface] = list(entry.interfaces)
        return reload(engine, plans[entry.plan], known, entry.now)
    holds.command(
        engine,
        entry.instance,
        entry.direction,
        by=entry.by,
        for_ns=entry.for_ns,
        force=entry.force,
        dry_run=False,
        now=entry.now,
    )
    return engine.take()


def plain(effects: list[EngineEffect]) -> Any:
    """Effects as they come out of a recording: lists and dicts."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(effects))


def _same(recorded: list[Any] | None, replayed: Any, beats: dict[int, int]) -> bool:
    """Whether both are the same effects. A beat may bear another number: rehearsals take numbers, too."""
    if recorded is None or len(recorded) != len(replayed):
        return False
    for one, other in zip(recorded, replayed, strict=True):
        if one == other:
            continue
        if not isinstance(one, dict) or not isinstance(one.get("beat"), int):
            return False  # another effect, or a damaged one
        both_beats = one.get("type") == SendBeat.__name__ == other.get("type")
        if not both_beats or beats.setdefault(one["beat"], other["beat"]) != other["beat"]:
            return False
    return True
