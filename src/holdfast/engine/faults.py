"""What stands against an instance: derived afresh from the interface table and the verdicts, never accumulated."""

from collections.abc import Mapping

from holdfast.base.address import Address, is_link_local, text
from holdfast.engine.messages import Interface
from holdfast.vrrp.config import Family, InstanceConfig
from holdfast.vrrp.priority import failed_trackers

Interfaces = Mapping[str, Interface]
Verdicts = Mapping[tuple[str, str], int | None]


def depends_on(config: InstanceConfig, interface: str) -> bool:
    """Whether the instance depends on that interface in any way."""
    return (
        interface in (config.interface, config.base)
        or any(address.interface == interface for address in (*config.addresses, *config.excluded))
        or any(use.kind == "interface" and use.name == interface for use in config.trackers)
        or any(interface in route.interfaces for route in config.routes)
    )


def expect_verdicts(config: InstanceConfig, verdicts: dict[tuple[str, str], int | None]) -> None:
    """A tracked interface that nobody has seen is down; every other tracker is undecided until it is told of."""
    for use in config.trackers:
        verdicts.setdefault((use.kind, use.name), False if use.kind == "interface" else None)


def primary_address(config: InstanceConfig, interfaces: Interfaces) -> Address | None:
    """The source of an instance's adverts: the configured one, else the first of its home (IPv6: link-local)."""
    interface = interfaces.get(config.home)
    if config.source is not None:
        if config.track_source and (interface is None or config.source not in interface.addresses):
            return None
        return config.source
    if interface is None:
        return None
    virtual = {address.address for address in (*config.addresses, *config.excluded)}
    for address in interface.addresses:
        usable = len(address) == 4 if config.family == Family.IPV4 else is_link_local(address)
        if usable and address not in virtual:
            return address
    return None


def interface_faults(name: str, interfaces: Interfaces) -> list[str]:
    """Why the interface cannot be used now; empty when it can."""
    interface = interfaces.get(name)
    if interface is None or interface.index == 0:
        return [f"interface {name} does not exist"]
    return [] if interface.up else [f"interface {name} is down"]


def own_faults(
    config: InstanceConfig, refused: str, primary: Address | None, interfaces: Interfaces, verdicts: Verdicts
) -> tuple[str, ...]:
    """Every reason of its own for the instance to be in FAULT; `refused` is what the kernel would not do."""
    faults = [*config.faults, refused] if refused else list(config.faults)
    if config.interface and not config.dont_track_primary:
        below = interface_faults(config.base, interfaces) if config.base else []
        faults += below or interface_faults(config.interface, interfaces)
    used = {a.interface for a in (*config.addresses, *config.excluded) if a.interface}
    for name in sorted(used.union(*(route.interfaces for route in config.routes if route.tracked))):
        if name != config.interface:
            faults += interface_faults(name, interfaces)
    if primary is None and not faults:
        if config.source is not None:
            faults.append(f"source address {text(config.source)} is not on {config.home}")
        else:
            family = "IPv4" if config.family == Family.IPV4 else "IPv6 link-local"
            faults.append(f"no {family} address on {config.home}")
    return tuple(faults + failed_trackers(config.trackers, verdicts))
