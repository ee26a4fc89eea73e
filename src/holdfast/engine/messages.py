"""What goes in and out of the engine, beside the events and effects of the domains. Plain, frozen data.

`slot` is the number of an instance within the running plan: an index, stable until the next reload.
The *notices* at the end are what the vrrp worker tells the supervisor: everything that may take time (scripts, logs,
state files, FIFOs) is done there, so that no advert ever waits for it.
"""

import msgspec

from holdfast.base.address import Address, Mac
from holdfast.base.command import Command
from holdfast.base.time import Nanoseconds
from holdfast.vrrp.messages import Level

# ---- events ---------------------------------------------------------------------------------------------------------


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """One network interface as the kernel has it now; `index` 0 when there is none of that name."""

    name: str
    index: int = 0
    up: bool = False  # administratively up and running
    mac: Mac = Mac(b"")
    mtu: int = 0
    multicast: bool = True
    arp: bool = True
    loopback: bool = False
    addresses: tuple[Address, ...] = ()  # usable as a source: not ours, not tentative; in the kernel's order


class EngineEvent(msgspec.Struct, frozen=True, tag=True):
    """Something the edge tells the engine."""


class TimersDue(EngineEvent, frozen=True):
    """A deadline may have come. `heard`: for watched slots, when the routine advert was last heard (0: not yet)."""

    heard: dict[int, Nanoseconds] = {}


class AdvertArrived(EngineEvent, frozen=True):
    """A packet for a slot that passed every receive check; `remarks` are worth a line in the log."""

    slot: int
    priority: int
    source: Address
    adver_interval_ns: Nanoseconds
    remarks: tuple[str, ...] = ()
    counted: str = ""  # the counter of a fault that did not keep it out
    stranger: bool = False  # it names none of our addresses


class AdvertRefused(EngineEvent, frozen=True):
    """A packet for a slot that failed a receive check."""

    slot: int
    reason: str  # the counter's name
    text: str
    source: Address = Address(b"")
    stranger: bool = False  # it names none of our addresses


class RoutineHeard(EngineEvent, frozen=True):
    """The answer to Unwatch: what the watch had seen since it was last asked."""

    slot: int
    at: Nanoseconds
    count: int


class InterfaceSeen(EngineEvent, frozen=True):
    """An interface appeared, changed or vanished (index 0)."""

    interface: Interface


class TrackerReported(EngineEvent, frozen=True):
    """What a tracker that is watched outside says now: the number of a file, else whether it is up."""

    kind: str  # as in TrackedUse
    name: str
    value: bool | int
    detail: str = ""


class ProcessesCounted(EngineEvent, frozen=True):
    """So many processes match the `vrrp_track_process` of that name now."""

    name: str
    count: int


class LinkPolled(EngineEvent, frozen=True):
    """Whether an interface has a link, as the interface itself says (`linkbeat_interfaces`)."""

    interface: str
    up: bool


class AddressesApplied(EngineEvent, frozen=True):
    """The kernel has confirmed the addresses of these slots."""

    slots: tuple[int, ...]


class AddressesRefused(EngineEvent, frozen=True):
    """The kernel would not take an address; `fatal` when the slot cannot serve without it."""

    slot: int
    text: str
    fatal: bool


class AddressLost(EngineEvent, frozen=True):
    """Somebody else removed an address of a master."""

    slot: int
    address: Address
    interface: str


class Asleep(EngineEvent, frozen=True):
    """The machine was suspended for `span_ns`: the monotonic clock stood still meanwhile."""

    span_ns: Nanoseconds


class ReannounceAsked(EngineEvent, frozen=True):
    """A rival of this instance is gone: a master tells the neighbours of its addresses once more."""

    instance: str


class StopAsked(EngineEvent, frozen=True):
    """Leave cleanly; `cause` says at whose word."""

    cause: str = "the daemon stops"


# ---- effects --------------------------------------------------------------------------------------------------------


class EngineEffect(msgspec.Struct, frozen=True, tag=True):
    """Something the engine asks of the edge. Adverts go first, then addresses, then everything else."""


class SendOne(EngineEffect, frozen=True):
    """One advert of a slot, outside its beat."""

    slot: int
    priority: int


class SendBeat(EngineEffect, frozen=True):
    """The regular adverts of all slots in a beat; `version` changes whenever its members do."""

    beat: int
    version: int


class SetAddresses(EngineEffect, frozen=True):
    """The addresses of a slot are to be on their interfaces (or off); answered by AddressesApplied when on."""

    slot: int
    present: bool


class AnnounceAddresses(EngineEffect, frozen=True):
    """`rounds` rounds of gratuitous ARP and unsolicited NA over all addresses of a slot."""

    slot: int
    rounds: int


class Hush(EngineEffect, frozen=True):
    """Drop announcements of a slot that wait for their pace."""

    slot: int


class Watch(EngineEffect, frozen=True):
    """The packet just handed over is routine for the slot: absorb packets identical to it and only note their time."""

    slot: int


class Unwatch(EngineEffect, frozen=True):
    """Absorb nothing for the slot any more; answered by RoutineHeard."""

    slot: int


class Configure(EngineEffect, frozen=True):
    """A slot is new or its configuration changed: open what it needs."""

    slot: int


class Readvertise(EngineEffect, frozen=True):
    """The priority or source address of a slot's adverts changed: make its packets anew."""

    slot: int


class Dismiss(EngineEffect, frozen=True):
    """A slot is gone: close what only it needed."""

    slot: int


class Tell(EngineEffect, frozen=True):
    """Hand a notice to the supervisor."""

    notice: "Notice"


# ---- notices to the supervisor --------------------------------------------------------------------------------------


class Notice(msgspec.Struct, frozen=True, tag=True):
    """Something the vrrp worker tells the supervisor's listeners."""


class LogLine(Notice, frozen=True):
    """A line for the log, in keepalived's words where it has them: `(VI_1) Entering MASTER STATE`."""

    level: Level
    text: str
    category: str = ""  # debug lines name the category they belong to


class StateNotice(Notice, frozen=True, kw_only=True):
    """An instance or a sync group changed state.

    `kind` is INSTANCE or GROUP; `state` MASTER, BACKUP, FAULT, STOP or DELETED; `priority` the effective one
    (0 for groups); `quiet`: it may not notify (the first state of a reload that changed nothing).
    """

    kind: str
    name: str
    state: str
    priority: int
    cause: str
    quiet: bool = False


class LowerPriorityNotice(Notice, frozen=True):
    """A master heard an advert of lower rank (`notify_master_rx_lower_pri`)."""

    name: str
    priority: int


class PriorityNotice(Notice, frozen=True):
    """The effective priority changed; `notify`: it is asked to be told (`notify_priority_changes`)."""

    name: str
    state: str  # MASTER or BACKUP, where it is to be told
    priority: int
    was: int = 0
    cause: str = ""  # what counts for or against the base priority now
    notify: bool = True


class TrackerNotice(Notice, frozen=True, kw_only=True):
    """A tracker has another verdict than before, or its first.

    `instances` names those that use it; empty when they are too many to name.
    """

    kind: str  # as in TrackedUse
    name: str
    up: bool
    detail: str
    instances: tuple[str, ...] = ()
    value: int | None = None  # of a file: its number


class HoldNotice(Notice, frozen=True, kw_only=True):
    """A hand-over that held has ended by itself: `what` is expired or given up."""

    name: str
    what: str
    cause: str


class PutBackNotice(Notice, frozen=True, kw_only=True):
    """Somebody removed what is ours from the kernel, and it is put back. `of`: address, route, rule."""

    name: str  # of the instance; "": it is static
    of: str
    what: str  # `route 10.1.0.0/24 via …`
    cause: str


class RunScript(Notice, frozen=True):
    """Run the tracking script `name` once."""

    name: str
    run: int  # counts the runs of this script
    command: Command


class SuspicionNotice(Notice, frozen=True, kw_only=True):
    """Something that may show a split brain, or explain one; at most a few a second for each instance and source.

    `kind`: `rival` (an advert of lower rank heard while MASTER; `reason` "owner": both are address owners), `refused`
    (an advert that failed the check `reason`), `odd` (one that was taken all the same), `silent` (taken over from
    `source`, which had not resigned), `stalled` (this process was late by `text`; `name` is empty: it concerns every
    instance).
    """

    name: str
    kind: str
    source: str = ""
    priority: int = 0
    reason: str = ""
    stranger: bool = False
    text: str = ""


class IncidentNotice(Notice, frozen=True, kw_only=True):
    """A split brain was found, is better understood (`opened` again, same `number`), or is over.

    `name` is the instance, `cause` a slug that stays, `count` how much evidence there was so far.
    """

    number: int
    name: str
    opened: bool
    cause: str
    text: str
    cure: str
    count: int


class ServiceNotice(Notice, frozen=True, kw_only=True):
    """A balanced service gained or lost its quorum, or (with `server`) one of its servers came or went.

    Names are labels as in keepalived's FIFO lines: `[192.0.2.1]:tcp:80`. `command` is to be run for it.
    """

    service: str
    up: bool
    server: str = ""
    command: Command | None = None
    cause: str = ""
    fifo_line: str = ""


class MailNotice(Notice, frozen=True):
    """Something of the load balancer that the operators are written about."""

    subject: str
    text: str


class Leaving(Notice, frozen=True):
    """The vrrp worker has resigned and removed its addresses: every state is now STOP."""


class ScriptFinished(msgspec.Struct, frozen=True, tag=True):
    """The answer to RunScript: `status` is the exit status, or -signal; `timed_out` when it took too long."""

    name: str
    run: int
    status: int
    timed_out: bool = False
    output: str = ""  # the first line or two of what it printed
    spent_ns: Nanoseconds = 0


AnyNotice = (
    LogLine
    | StateNotice
    | LowerPriorityNotice
    | PriorityNotice
    | TrackerNotice
    | HoldNotice
    | PutBackNotice
    | RunScript
    | SuspicionNotice
    | IncidentNotice
    | ServiceNotice
    | MailNotice
    | Leaving
)
