"""What a reload changes, in an operator's words, and what may come of each change.

Goes by the same rule as the engine's reload: an instance is the same one when `InstanceConfig.key` agrees.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from holdfast.base.address import Address, text
from holdfast.base.command import Command
from holdfast.base.time import span_text
from holdfast.bfd.config import SessionConfig
from holdfast.config.plan import VrrpPlan
from holdfast.track.config import FileConfig, LinkConfig, ProcessConfig, ScriptConfig
from holdfast.vrrp.config import (
    AuthHmac,
    HmacKey,
    InstanceConfig,
    TrackedUse,
    UnicastPeer,
    VirtualAddress,
    VirtualDevice,
)
from holdfast.vrrp.routes import RouteEntry


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `action` is start, stop, replace or change; `risk` is "" when nothing untoward may come of it."""

    action: str
    subject: str  # "instance web", "script check_things", "group all", "global_defs"
    what: str
    risk: str = ""


ANEW = {"command", "parameters", "match", "neighbor", "source", "multihop"}
"""Fields of a tracker whose change makes it another one."""

DROPPED = "peers drop these adverts until they are changed too, and become MASTER beside this node"
LISTEN = "it gives its addresses up and listens first: a peer takes over, or nobody serves meanwhile"

RISKS = {
    "version": DROPPED,
    "auth_type": DROPPED,
    "auth_pass": DROPPED,
    "auth_hmac": "peers that lack the key, or insist on signatures, drop these adverts, and become MASTER beside it",
    "carp": "peers with another password drop these adverts; with another advskew the addresses may move",
    "unicast_peers": "a peer hears this node only while each names the other",
    "source": "peers that name the old address no longer hear this node",
    "unicast_ttl": "peers with min_ttl or max_ttl may drop these adverts",
    "checksum_as_v2": "peers that expect the other form drop these adverts",
    "old_checksum": "peers that send the other form may no longer be heard",
    "priority": "the election is held again: the addresses may move",
    "preempt": "who takes over from a living master of lower priority changes",
    "trackers": "effective priority or FAULT may change at once: the addresses may move",
}
"""What may come of a change, by field of an instance; the interval and the addresses have words of their own."""

OTHER_OCTETS = "the same with other octets"

RESTART = {"net_namespace", "instance_name"}
"""Settings that a running daemon can't take over: it refuses the reload."""


def changes(running: VrrpPlan, new: VrrpPlan) -> tuple[Change, ...]:
    """Everything that a daemon with the plan `running` would do differently with `new`."""
    return (*_settings(running, new), *_instances(running, new), *_trackers(running, new), *_groups(running, new))


def too_much(running: VrrpPlan, new: VrrpPlan) -> str:
    """Why a reload removes more than one should without being asked twice, or ""; the limit is one half."""
    keys = {one.key for one in running.instances}
    for word, old, left in (
        ("instances", keys, {one.key for one in new.instances}),
        ("addresses", _all_addresses(running), _all_addresses(new)),
    ):
        gone = len(old - left)
        if 2 * gone > len(old):
            return f"{gone} of {len(old)} running {word} would go"
    return ""


def _all_addresses(plan: VrrpPlan) -> set[str]:
    return {text(address.address) for one in plan.instances for address in one.addresses + one.excluded}


def _settings(running: VrrpPlan, new: VrrpPlan) -> Iterator[Change]:
    for field, was, becomes in _differing(running.settings, new.settings):
        risk = "a running daemon refuses this: it needs a restart" if field in RESTART else ""
        yield Change(action="change", subject="global_defs", what=f"{field}: {was} → {becomes}", risk=risk)


def _instances(running: VrrpPlan, new: VrrpPlan) -> Iterator[Change]:
    old = {one.key: one for one in running.instances}
    kept = {one.key for one in new.instances}
    gone = {one.name: one for key, one in old.items() if key not in kept}
    for one in new.instances:
        before = old.get(one.key)
        subject = f"instance {one.name}"
        if before is not None:
            yield from _changed(before, one)
        elif one.name in gone:
            what = f"{_identity(gone.pop(one.name))} → {_identity(one)}: stops, and starts as another virtual router"
            yield Change(action="replace", subject=subject, what=what, risk=LISTEN)
        else:
            what = f"{_identity(one)}, priority {one.priority}, addresses {_shown(one.addresses + one.excluded)}"
            yield Change(action="start", subject=subject, what=what)
    for one in gone.values():
        what = f"{_identity(one)}, addresses {_shown(one.addresses + one.excluded)}"
        risk = "where it is MASTER its addresses go away; a peer takes them over, if there is one"
        yield Change(action="stop", subject=f"instance {one.name}", what=what, risk=risk)


def _identity(one: InstanceConfig) -> str:
    how = "unicast" if one.unicast else "multicast"
    number = f"{'VRID' if one.carp is None else 'CARP vhid'} {one.vrid}"
    return f"{number} on {one.interface or 'any interface'} (IPv{int(one.family)}, {how})"


def _changed(was: InstanceConfig, becomes: InstanceConfig) -> Iterator[Change]:
    for field, x, y in _differing(was, becomes):
        if field in ("addresses", "excluded"):
            what, risk = _addresses(getattr(was, field), getattr(becomes, field))
        elif field in ("routes", "rules"):
            what, risk = _entries(field, getattr(was, field), getattr(becomes, field)), ""
        elif becomes.carp is not None and field in ("priority", "adver_interval_ns", "down_timer_adverts"):
            continue  # `carp` has said it
        elif field == "adver_interval_ns":
            what = f"advert_int: {x} → {y}"
            risk = DROPPED if becomes.version == 2 else "backups take this over from a master's next advert"
        else:
            what, risk = f"{field.removesuffix('_ns')}: {x} → {y}", RISKS.get(field, "")
        yield Change(action="change", subject=f"instance {becomes.name}", what=what, risk=risk)


def _addresses(was: tuple[VirtualAddress, ...], becomes: tuple[VirtualAddress, ...]) -> tuple[str, str]:
    gone = tuple(one for one in was if one not in becomes)
    new = tuple(one for one in becomes if one not in was)
    said = [f"{word} {_shown(some)}" for word, some in (("removes", gone), ("adds", new)) if some]
    risk = "peers must have the same list: an address that only one has is lost when the master changes"
    return ", ".join(said) or "another order of the addresses", risk if said else ""


def _entries(field: str, was: tuple[RouteEntry, ...], becomes: tuple[RouteEntry, ...]) -> str:
    gone, new = [one for one in was if one not in becomes], [one for one in becomes if one not in was]
    said = [f"{word} {_value('', tuple(some))}" for word, some in (("removes", gone), ("adds", new)) if some]
    return f"{field}: {', '.join(said) or 'another order'}"


def _trackers(running: VrrpPlan, new: VrrpPlan) -> Iterator[Change]:
    """Scripts, files, processes, static addresses, routes and rules, and how links are believed."""
    for kind, field in (
        ("script", "scripts"), ("file", "files"), ("process", "processes"), ("static address", "statics"),
        ("link", "links"), ("static", "static_entries"), ("BFD session", "bfd"), ("device", "devices"),
    ):  # fmt: skip
        old, now = [{one.name: one for one in getattr(plan, field)} for plan in (running, new)]
        for name in [*now, *(name for name in old if name not in now)]:
            subject = f"{kind} {name}"
            if name not in old:
                yield Change(action="start", subject=subject, what=_about(now[name]))
            elif name not in now:
                yield Change(action="stop", subject=subject, what=_about(old[name]))
            for of, x, y in _differing(old[name], now[name]) if name in old and name in now else ():
                if of in ("add", "delete", "devices", "joins"):
                    continue  # octets: the text says it
                risk = "its result is forgotten and found anew" if of in ANEW else ""
                yield Change(action="change", subject=subject, what=f"{of.removesuffix('_ns')}: {x} → {y}", risk=risk)


def _about(tracker: Any) -> str:
    """What is run, watched or kept."""
    if isinstance(tracker, ProcessConfig):
        return " ".join((tracker.command, *tracker.parameters))
    if isinstance(tracker, VirtualDevice):
        mac = f", MAC {tracker.mac.hex(':')}" if tracker.mac else ""
        return f"{tracker.kind} on {tracker.base}{mac}"
    if isinstance(tracker, SessionConfig):
        return f"with {text(tracker.neighbor)}"
    if isinstance(tracker, FileConfig):
        return tracker.path
    if isinstance(tracker, LinkConfig):
        said = [f"down after {span_text(tracker.down_ns)}"] if tracker.down_ns else []
        said += [f"up after {span_text(tracker.up_ns)}"] if tracker.up_ns else []
        return ", ".join([*said, "asked every second"] if tracker.polled else said) or "as the kernel says"
    if isinstance(tracker, RouteEntry):
        return tracker.text
    return str(tracker.command.text()) if isinstance(tracker, ScriptConfig) else _shown((tracker.address,))


def _groups(running: VrrpPlan, new: VrrpPlan) -> Iterator[Change]:
    old, now = [{one.name: one for one in plan.groups} for plan in (running, new)]
    for name in [*now, *(name for name in old if name not in now)]:
        subject = f"group {name}"
        if name not in old:
            what, risk = ", ".join(now[name].members), "a fault of one member now moves them all"
            yield Change(action="start", subject=subject, what=what, risk=risk)
        elif name not in now:
            what, risk = ", ".join(old[name].members), "its members no longer move together"
            yield Change(action="stop", subject=subject, what=what, risk=risk)
        for field, x, y in _differing(old[name], now[name]) if name in old and name in now else ():
            yield Change(action="change", subject=subject, what=f"{field}: {x} → {y}")


def _differing(was: msgspec.Struct, becomes: msgspec.Struct) -> Iterator[tuple[str, str, str]]:
    for field in was.__struct_fields__:
        x, y = getattr(was, field), getattr(becomes, field)
        if x != y:
            shown = _value(field, x), _value(field, y)
            same = field in ("auth_hmac", "carp") and shown[0] == shown[1]
            yield field, shown[0], OTHER_OCTETS if same else shown[1]


def _shown(addresses: tuple[VirtualAddress, ...]) -> str:
    return ", ".join(f"{text(one.address)}/{one.prefix_length}" for one in addresses) or "none"


def _value(field: str, value: object) -> str:
    """A value for people; passwords are not shown."""
    match value:
        case bool():
            return "on" if value else "off"
        case int() if field.endswith("_ns"):
            return span_text(value)
        case bytes() if field in ("auth_pass", "password"):
            return "********"
        case bytes():
            return text(Address(value)) if len(value) in (4, 16) else value.hex()
        case HmacKey():
            return f"key {value.id} ********"
        case AuthHmac():
            return f"{_value('keys', value.keys)}, active {value.active_key}, {value.mode.value}, " + (
                "monotonic" if value.monotonic else f"window {value.time_window_s} s"
            )
        case Command():
            return value.text()
        case RouteEntry():
            return value.name.partition(" ")[2]
        case VirtualAddress():
            return _shown((value,))
        case UnicastPeer():
            return text(value.address)
        case TrackedUse():
            return f"{value.kind} {value.name} weight {value.weight}{' reverse' if value.reverse else ''}"
        case msgspec.Struct():
            set_here = {name: getattr(value, name) for name in value.__struct_fields__ if getattr(value, name)}
            return ", ".join(f"{name.removesuffix('_ns')} {_value(name, inner)}" for name, inner in set_here.items())
        case tuple():
            return ", ".join(_value(field, one) for one in value) or "none"
        case None | "":
            return "none"
        case _:
            return str(value)
