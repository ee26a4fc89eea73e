"""What an operator sees of a virtual router: the forms `holdfast status --json` prints."""

import msgspec


class MasterView(msgspec.Struct, frozen=True):
    """The master as last heard."""

    address: str
    priority: int


class HeldView(msgspec.Struct, frozen=True):
    """A hand-over that holds against preemption."""

    until: str | None
    by: str


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


class GroupView(msgspec.Struct, frozen=True, kw_only=True):
    """One sync group."""

    name: str
    state: str
    members: list[str]
