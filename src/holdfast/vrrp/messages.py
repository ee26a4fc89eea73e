"""What happens to a virtual router (events) and what it asks to be done (effects). Plain, frozen data."""

from enum import IntEnum, StrEnum

import msgspec

from holdfast.base.address import Address
from holdfast.base.time import Nanoseconds


class Role(IntEnum):
    """The state of a virtual router, with the number keepalived's dumps give it (Master is Active in RFC 9568)."""

    INIT = 0
    BACKUP = 1
    MASTER = 2
    FAULT = 3
    DELETED = 97
    STOP = 98


class Level(StrEnum):
    """Log levels: act now, look at it, a fact, detail."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"


# ---- events -------------------------------------------------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, tag=True):
    """Something that happened to one virtual router."""


class Startup(Event, frozen=True):
    """The router may begin: no fault stands against it (RFC 9568 §6.4.1)."""


class TimerDue(Event, frozen=True):
    """A timer may have run out; one that wakes early changes nothing."""


class AdvertReceived(Event, frozen=True):
    """An advert that passed every receive check (RFC 9568 §7.1)."""

    priority: int
    source: Address
    adver_interval_ns: Nanoseconds


class AddressesReady(Event, frozen=True):
    """The kernel has confirmed the addresses: now neighbours may be told."""


class Faulted(Event, frozen=True):
    """Something the router depends on has failed."""

    cause: str


class FaultCleared(Event, frozen=True):
    """Nothing the router depends on is failed any more."""

    cause: str


class GroupOrders(Event, frozen=True):
    """The sync group takes this member along: to MASTER, BACKUP or FAULT."""

    role: Role
    cause: str


class TakeOver(Event, frozen=True):
    """An operator hands the addresses to this router: its standing outranks the master it hears."""

    cause: str


class Withdrawn(Event, frozen=True):
    """The router ends: the daemon stops (STOP) or a reload removed the instance (DELETED)."""

    role: Role
    cause: str


class Slept(Event, frozen=True):
    """The machine or the process was asleep for `span_ns`: no timer that ran out meanwhile is to be trusted."""

    span_ns: Nanoseconds


# ---- effects ------------------------------------------------------------------------------------------------------


class Effect(msgspec.Struct, frozen=True, tag=True):
    """Something to be done for one virtual router; the engine says for which."""


class SendAdvert(Effect, frozen=True):
    """Send one advert with this priority now (0: resigning)."""

    priority: int


class WantAddresses(Effect, frozen=True):
    """The addresses are to be on their interfaces, or off them."""

    present: bool


class Announce(Effect, frozen=True):
    """Tell the neighbours where the addresses are, now and again later."""

    reason: str  # "master" or "rival"


class Silence(Effect, frozen=True):
    """Drop announcements still pending."""


class StateChanged(Effect, frozen=True):
    """The router entered `role`; said once, and everyone who cares listens."""

    role: Role
    cause: str


class RivalHeard(Effect, frozen=True):
    """While MASTER an advert of lower rank was heard (`notify_master_rx_lower_pri`)."""

    source: Address
    priority: int


class Note(Effect, frozen=True):
    """A line for the log."""

    level: Level
    text: str
