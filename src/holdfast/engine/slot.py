"""One instance as the engine runs it: the only mutable thing in the house, owned by the engine alone."""

import msgspec

from holdfast.base.address import Address
from holdfast.base.time import Nanoseconds
from holdfast.carp.config import interval_ns
from holdfast.engine.messages import Interface
from holdfast.track.config import LinkConfig, ProcessConfig, ScriptConfig
from holdfast.track.machine import ScriptState
from holdfast.track.process import ProcessState
from holdfast.vrrp.announce import QUIET, Announcements
from holdfast.vrrp.config import InstanceConfig
from holdfast.vrrp.machine import Initialize, Standing, State
from holdfast.vrrp.messages import Role


class Held(msgspec.Struct, frozen=True):
    """A hand-over that holds: its priority replaces the effective one. `by` is who asked for it."""

    here: bool
    priority: int
    by: str
    until: Nanoseconds | None = None  # the end of `--for`
    give_up_at: Nanoseconds | None = None  # by when somebody must have taken over

    def due_at(self) -> Nanoseconds | None:
        """The next moment that ends something."""
        return min((at for at in (self.until, self.give_up_at) if at is not None), default=None)


class Slot:
    """An instance: what was asked, where it stands, its state, and what is counted."""

    __slots__ = (
        "announcements",
        "cause",
        "config",
        "counters",
        "down_ns",
        "faults",
        "group",
        "heard_after",
        "held",
        "master_since",
        "number",
        "peer",
        "refused",
        "resigned",
        "role",
        "since",
        "standing",
        "start_at",
        "state",
        "suspected",
        "timer_at",
        "watched",
    )

    def __init__(self, number: int, config: InstanceConfig, now: Nanoseconds) -> None:
        self.number = number
        self.config = config
        self.state: State = Initialize()
        self.role = Role.INIT
        self.standing = Standing(config.priority)
        self.announcements: Announcements = QUIET
        self.timer_at: Nanoseconds | None = None  # what stands for it in the heap
        self.start_at: Nanoseconds = now
        self.watched = False
        self.held: Held | None = None
        self.down_ns: Nanoseconds = 0  # while watched: how long after the last advert the master counts as down
        self.heard_after: Nanoseconds = 0  # routine adverts heard before this were overtaken by an event
        self.group: str | None = None
        self.faults: tuple[str, ...] = ()
        self.refused = ""  # what the kernel would not do, while that keeps the slot in FAULT
        self.since: Nanoseconds = now
        self.cause = "starting"
        self.counters: dict[str, int] = {}
        self.peer: tuple[Address, int] | None = None  # whom it heard last, with which priority: shown, decides nothing
        self.master_since: Nanoseconds = now  # since when the master that a backup hears is that one
        self.resigned = False  # the last advert heard had priority 0
        self.suspected: tuple[tuple[str, Nanoseconds], ...] = ()  # told to the supervisor, and when

    @property
    def adver_interval_ns(self) -> Nanoseconds:
        """How often it advertises as master; with CARP that is its rank and follows the trackers."""
        config = self.config
        return config.adver_interval_ns if config.carp is None else interval_ns(config.carp, self.standing.priority)

    @property
    def starts_silent(self) -> bool:
        """Whether its first BACKUP runs no script (CARP's `neutral`)."""
        return self.config.carp is not None and self.config.carp.neutral

    def count(self, name: str, by: int = 1) -> None:
        """Add to one of the slot's counters."""
        self.counters[name] = self.counters.get(name, 0) + by


class ScriptSlot:
    """A tracking script as the engine runs it."""

    __slots__ = ("config", "state", "timer_at")

    def __init__(self, config: ScriptConfig, state: ScriptState) -> None:
        self.config = config
        self.state = state
        self.timer_at: Nanoseconds | None = None


class ProcessSlot:
    """A tracked process as the engine sees it."""

    __slots__ = ("config", "state", "timer_at")

    def __init__(self, config: ProcessConfig) -> None:
        self.config = config
        self.state = ProcessState()
        self.timer_at: Nanoseconds | None = None


class LinkSlot:
    """An interface whose link is not believed at once, or is asked for: what the kernel says, and what that counts."""

    __slots__ = ("config", "due_at", "seen", "silent", "timer_at")

    def __init__(self, config: LinkConfig, seen: Interface | None) -> None:
        self.config = config
        self.seen = seen  # as the kernel tells it
        self.silent = False  # whoever polls it found no link
        self.due_at: Nanoseconds | None = None  # when another state of the link counts
        self.timer_at: Nanoseconds | None = None
