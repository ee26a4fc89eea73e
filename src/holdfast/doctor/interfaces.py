"""Are the interfaces of the instances there, up, and fit to send adverts from?"""

import socket
from collections.abc import Iterator

from holdfast.base.address import text
from holdfast.doctor.facts import Facts, Finding, Severity
from holdfast.kernel.ports import ADDRESS_PROTOCOL
from holdfast.vrrp.config import Family, InstanceConfig

IFF_MULTICAST = 0x1000
OURS = (ADDRESS_PROTOCOL, 18)
"""Address protocols (IFA_PROTO) of what a VRRP daemon added: ours and keepalived's (RTPROT_KEEPALIVED)."""


def findings(instances: tuple[InstanceConfig, ...], facts: Facts) -> Iterator[Finding]:
    """What each instance's interface lacks."""
    for instance in instances:
        faults = list(_faults(instance, facts))
        yield from faults
        if not faults and instance.interface:
            yield Finding(check="interface", severity=Severity.OK, what=f"({instance.name}) {instance.interface} is up")


def _faults(instance: InstanceConfig, facts: Facts) -> Iterator[Finding]:
    def obstacle(what: str, cure: str, evidence: str = "ip address show") -> Finding:
        said = f"({instance.name}) {what}"
        return Finding(check="interface", severity=Severity.OBSTACLE, what=said, evidence=evidence, cure=cure)

    held = facts.addresses
    vips = {vip.address for vip in (*instance.addresses, *instance.excluded)}
    if instance.source is not None and all(seen.address != instance.source for seen in held):
        yield obstacle(f"{text(instance.source)}, the source of its adverts, is on no interface",
                       "correct unicast_src_ip or mcast_src_ip, or add the address")  # fmt: skip
    if not instance.interface:
        return
    link = next((link for link in facts.links if link.name == instance.interface), None)
    if link is None:
        there = ", ".join(sorted(one.name for one in facts.links if one.name != "lo")) or "none but lo"
        yield obstacle(f"no interface {instance.interface}", "correct `interface`, or make it", f"there are: {there}")
        return
    if not link.up:
        yield obstacle(f"{link.name} is down: the instance stays in FAULT", f"ip link set {link.name} up")
    elif not link.running:
        yield obstacle(f"{link.name} has no carrier: the instance stays in FAULT", "look at the cable and the switch")
    if not instance.unicast and not link.flags & IFF_MULTICAST:
        cure = f"ip link set {link.name} multicast on, or use unicast_peer"
        yield obstacle(f"{link.name} carries no multicast, and adverts go to a group", cure, f"flags {link.flags:#x}")
    kind = socket.AF_INET if instance.family == Family.IPV4 else socket.AF_INET6
    size = 4 if kind == socket.AF_INET else 16
    own = [seen for seen in held if seen.index == link.index and len(seen.address) == size and seen.address not in vips]
    if not own and instance.source is None:
        named = "IPv4" if size == 4 else "IPv6"
        yield obstacle(f"{link.name} has no {named} address of its own to send adverts from",
                       f"ip address add ADDRESS/PREFIX dev {link.name}")  # fmt: skip
    for seen in held:
        if seen.address in vips and seen.protocol not in OURS:
            yield Finding(
                check="interface",
                severity=Severity.WARNING,
                what=f"({instance.name}) the VIP {text(seen.address)} is on this host, and no VRRP daemon put it there",
                evidence=f"address protocol {seen.protocol}",
                cure="remove it from the host's network configuration: only the master may have it",
            )
