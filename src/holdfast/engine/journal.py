"""What happened, as an operator reads it: one entry for each transition, tracker, incident, reload and command.

Pure: notices come in, entries go out. `edge/journal.py` writes them, `control/journal.py` reads them.
"""

import msgspec

from holdfast.engine.messages import (
    AnyNotice,
    HoldNotice,
    IncidentNotice,
    PriorityNotice,
    PutBackNotice,
    ServiceNotice,
    StateNotice,
    TrackerNotice,
)

FILE = "events.jsonl"
"""The journal's name in the run directory; what was written before the last rotation has `.1` behind."""

KINDS = ("state", "tracker", "incident", "reload", "command", "daemon", "priority", "service", "kernel")


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event, a line of JSON. The first five are always there; the others where they apply."""

    time: str  # ISO 8601 with milliseconds and the zone
    kind: str  # one of KINDS
    name: str  # of the instance, the group or the tracker; "" for the daemon
    what: str
    cause: str
    of: str = ""  # instance or group; of a tracker its kind
    state: str = ""
    was: str = ""  # the state before
    priority: int | None = None
    before: int | None = None  # the priority before
    up: bool | None = None
    instances: tuple[str, ...] = ()  # whom a tracker concerns
    changes: tuple[str, ...] = ()  # what a reload changed
    number: int | None = None  # of an incident
    slug: str = ""  # an incident's cause in a word that stays
    opened: bool | None = None
    count: int | None = None
    cure: str = ""
    by: str = ""  # who gave a command
    uid: int | None = None
    left_out: int = 0  # so many like this one, just before it, were not written


class Narrator:
    """Turns notices into entries; remembers what state each instance and group was in."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], str] = {}

    def entry(self, notice: AnyNotice, time: str) -> Entry | None:
        """What a notice comes to at `time`; None when it is no event."""
        if isinstance(notice, StateNotice):
            return self._state(notice, time)
        if isinstance(notice, TrackerNotice):
            return _tracker(notice, time)
        if isinstance(notice, IncidentNotice):
            return _incident(notice, time)
        if isinstance(notice, PriorityNotice):
            what = f"priority {notice.was} → {notice.priority}"
            return Entry(
                time=time, kind="priority", name=notice.name, what=what, cause=notice.cause,
                state=notice.state, priority=notice.priority, before=notice.was,
            )  # fmt: skip
        if isinstance(notice, ServiceNotice):
            return _service(notice, time)
        if isinstance(notice, PutBackNotice):
            what = f"{notice.what} put back"
            return Entry(time=time, kind="kernel", name=notice.name, what=what, cause=notice.cause, of=notice.of)
        if isinstance(notice, HoldNotice):
            return Entry(time=time, kind="command", name=notice.name, what=f"hold {notice.what}", cause=notice.cause)
        return None

    def _state(self, notice: StateNotice, time: str) -> Entry | None:
        key = (notice.kind, notice.name)
        was = self._states.get(key, "")
        if notice.state in ("STOP", "DELETED"):
            self._states.pop(key, None)
        else:
            self._states[key] = notice.state
        what = f"{was} → {notice.state}" if was not in ("", notice.state) else notice.state
        return Entry(
            time=time, kind="state", name=notice.name, what=what, cause=notice.cause, of=notice.kind.lower(),
            state=notice.state, was=was, priority=notice.priority if notice.kind == "INSTANCE" else None,
        )  # fmt: skip


def _tracker(notice: TrackerNotice, time: str) -> Entry:
    what = f"{notice.kind} {notice.value if notice.value is not None else 'up' if notice.up else 'down'}"
    return Entry(
        time=time, kind="tracker", name=notice.name, what=what, cause=notice.detail, of=notice.kind, up=notice.up,
        instances=notice.instances,
    )  # fmt: skip


def _service(notice: ServiceNotice, time: str) -> Entry:
    if notice.server:
        what = f"server {notice.server} {'up' if notice.up else 'down'}"
    else:
        what = "quorum gained" if notice.up else "quorum lost"
    return Entry(time=time, kind="service", name=notice.service, what=what, cause=notice.cause, up=notice.up)


def _incident(notice: IncidentNotice, time: str) -> Entry:
    return Entry(
        time=time, kind="incident", name=notice.name, what="split brain" if notice.opened else "split brain over",
        cause=notice.text, number=notice.number, slug=notice.cause, opened=notice.opened, count=notice.count,
        cure=notice.cure,
    )  # fmt: skip
