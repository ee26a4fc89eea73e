"""What an operator sees of a virtual router: the forms `holdfast status --json` prints."""

import msgspec


class MasterView(msgspec.Struct, frozen=True):
    """The master as last heard."""

    address: str
    priority: int
    since: str | None = None


class HeldView(msgspec.Struct, frozen=True):
    """A hand-over that holds against preemption."""

    until: str | None
    by: str


class HeardView(msgspec.Struct, frozen=True, kw_only=True):
    """The other router heard last, whatever state that was in; its priority may be another by now."""

    address: str
    priority: int
    ago_s: float


class TrackedView(msgspec.Struct, frozen=True, kw_only=True):
    """What one tracker does to an instance. `weight` 0: FAULT while it is down (`reverse`: while up)."""

    kind: str
    name: str
    weight: int
    reverse: bool
    up: bool | None  # null until its first verdict
    contribution: int  # to the effective priority, now
    value: int | None = None  # of a file: its number; `up` is then whether it spares the instance FAULT


class CarpView(msgspec.Struct, frozen=True, kw_only=True):
    """What CARP has beside: as configured, and as advertised now (trackers and a hold counted in)."""

    advbase: int
    advskew: int
    demotion: int
    dead_ratio: int
    advertised_advbase: int
    advertised_advskew: int


class InstanceView(msgspec.Struct, frozen=True, kw_only=True):
    """One instance. Times are ISO 8601 with the zone; spans carry their unit in the name."""

    name: str
    state: str  # INIT, BACKUP, MASTER, FAULT
    vrid: int
    interface: str
    family: str  # ipv4, ipv6
    version: int
    priority: int
    effective_priority: int
    advert_interval_s: float
    master_advert_interval_s: float  # as last heard from the master; one's own while none was heard
    master: MasterView | None
    vips: list[str]
    excluded_vips: list[str]
    source: str | None
    since: str
    cause: str
    next: str  # what it waits for
    faults: list[str]
    held: HeldView | None
    sync_group: str | None
    statistics: dict[str, int]
    trackers: list[TrackedView] = []
    base: str = ""  # the interface below a VMAC or ipvlan
    owner: bool = False  # of the addresses: priority 255
    preempt: bool = True
    preempt_delay_s: float = 0.0
    preempt_in_s: float | None = None  # the rest of preempt_delay, while it runs
    accept: bool = True
    tracks_interface: bool = True
    unicast_peers: list[str] = []
    last_heard: HeardView | None = None
    master_down_interval_s: float = 0.0  # a silent master counts as down after it
    takes_over_in_s: float | None = None  # of a backup, if no master is heard until then
    starts_in_s: float | None = None  # of an instance not begun: the rest of its delay
    protocol: str = "vrrp"  # or carp; its vhid is `vrid`, its advskew 254 less `effective_priority`
    carp: CarpView | None = None
    routes: list[str] = []  # as people name them: `10.1.0.0/24 via 192.0.2.9 dev eth0`
    rules: list[str] = []
    undecided: list[str] = []  # trackers whose first verdict is awaited before it may begin


class GroupView(msgspec.Struct, frozen=True, kw_only=True):
    """One sync group."""

    name: str
    state: str
    members: list[str]
