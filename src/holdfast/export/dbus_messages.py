"""What the supervisor and the process on the D-Bus say to each other, and the names and numbers of that interface."""

import msgspec

ROOT = "/org/keepalived/Vrrp1"

STATES = {"INIT": 0, "BACKUP": 1, "MASTER": 2, "FAULT": 3, "DELETED": 97, "STOP": 98}
"""The numbers of states as keepalived's D-Bus interface gives them."""


class BusInstance(msgspec.Struct, frozen=True, kw_only=True):
    """An object of the bus: a virtual router."""

    name: str
    path: str
    state: str = "INIT"


class BusPlan(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What is offered from now on; `reloaded` says so to who listens."""

    service: str
    root: str  # path of the daemon's own objects
    instances: tuple[BusInstance, ...]
    reloaded: bool = False


class BusState(msgspec.Struct, frozen=True, tag=True):
    """An instance has another state (a key of STATES)."""

    name: str
    state: str


class BusStop(msgspec.Struct, frozen=True, tag=True):
    """The daemon leaves."""


ToBus = BusPlan | BusState | BusStop


class BusCall(msgspec.Struct, frozen=True, tag=True):
    """Somebody called a method; `instance` of an instance's."""

    method: str
    instance: str = ""


class BusSaid(msgspec.Struct, frozen=True, tag=True):
    """How it stands with the bus: reached, or why not."""

    text: str
    reached: bool


FromBus = BusCall | BusSaid


def root_path(namespace: str, instance: str) -> str:
    """Where the objects of a daemon are: those of several do not get into each other's way."""
    parts = (ROOT, *(element(part) for part in (namespace, instance) if part))
    return "/".join(parts)


def instance_path(root: str, interface: str, vrid: int, six: bool) -> str:
    """Where the object of a virtual router is."""
    return f"{root}/Instance/{element(interface)}/{vrid}/{'IPv6' if six else 'IPv4'}"


def element(name: str) -> str:
    """A name as an element of a path: what is neither letter nor digit becomes `_`."""
    return "".join(one if one.isascii() and one.isalnum() else "_" for one in name)
