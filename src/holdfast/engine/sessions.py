"""BFD between the routers of a pair: a backup that loses its session with the master need not wait for adverts.

Only where the configuration says as much: the instance tracks the session with a weight and `reverse`, its neighbour is
the master heard, and with the session down this router outranks it. The election comes out the same, sooner.
"""

from typing import TYPE_CHECKING

import msgspec

from holdfast.base.time import Nanoseconds
from holdfast.engine.slot import Slot
from holdfast.vrrp.config import TrackedUse
from holdfast.vrrp.machine import Backup
from holdfast.vrrp.messages import TimerDue

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine


def lost(engine: "Engine", name: str, slots: list[Slot], now: Nanoseconds) -> None:
    """The session `name` went down; `slots` use it, and have their new priority."""
    neighbor = next((session.neighbor for session in engine.plan.bfd if session.name == name), None)
    for slot in slots:
        state = slot.state
        if (
            isinstance(state, Backup)
            and state.master == neighbor
            and neighbor is not None
            and state.master_priority < slot.standing.priority
            and slot.held is None
            and any((use.kind, use.name) == ("bfd", name) and _reversed(use) for use in slot.config.trackers)
        ):
            slot.state = msgspec.structs.replace(state, master_down_at=now)
            engine.step(slot, TimerDue(), now)


def _reversed(use: TrackedUse) -> bool:
    return use.reverse and use.weight != 0
