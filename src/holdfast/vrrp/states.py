"""The states of a virtual router, VRRP's and CARP's alike: each carries exactly the timers that run in it."""

from typing import Any

import msgspec

from holdfast.base.address import Address
from holdfast.base.time import Nanoseconds
from holdfast.vrrp.messages import Effect, Role


class Standing(msgspec.Struct, frozen=True):
    """What holds for a router at the moment and is not its state.

    `primary` is the source of its adverts (None while the interface has no address of the family); `may_lead` is false
    while a sync group holds the router back.
    """

    priority: int
    primary: Address | None = None
    may_lead: bool = True


class Initialize(msgspec.Struct, frozen=True):
    """Not begun: waiting for Startup (RFC 9568 §6.4.1)."""


class Backup(msgspec.Struct, frozen=True):
    """Waiting for the master to fall silent (RFC 9568 §6.4.2)."""

    master_down_at: Nanoseconds  # Active_Down_Timer
    master_adver_interval_ns: Nanoseconds  # Active_Adver_Interval, as last heard
    master: Address | None = None  # whom we heard, and with which priority
    master_priority: int = 0
    preempt_at: Nanoseconds | None = None  # end of preempt_delay, once it runs
    wants_master: bool = False  # the timer ran out while the sync group held us back
    listening: bool = False  # the timer was restarted after a stall: the next time it is trusted


class Master(msgspec.Struct, frozen=True):
    """Answering for the virtual addresses (RFC 9568 §6.4.3)."""

    adver_at: Nanoseconds  # Adver_Timer
    other_owner_at: Nanoseconds = 0  # an address owner, we hear another one: since when; 0: no


class Fault(msgspec.Struct, frozen=True):
    """Something the router depends on has failed: it neither sends nor listens."""

    cause: str


class Left(msgspec.Struct, frozen=True):
    """Resigned for good."""


State = Initialize | Backup | Master | Fault | Left
Step = tuple[State, tuple[Effect, ...]]

NOTHING: tuple[Effect, ...] = ()

ROLES: dict[type[Any], Role] = {
    Initialize: Role.INIT,
    Backup: Role.BACKUP,
    Master: Role.MASTER,
    Fault: Role.FAULT,
    Left: Role.STOP,
}


def role_of(state: State) -> Role:
    """The state's name."""
    return ROLES[state.__class__]
