"""The kernel settings (sysctl) that change who gets adverts, and who answers for a VIP."""

from collections.abc import Iterator

from holdfast.base.address import text
from holdfast.doctor.facts import Facts, Finding, Severity
from holdfast.vrrp.config import Family, InstanceConfig

GLOBAL = ("net/ipv4/ip_nonlocal_bind", "net/ipv6/ip_nonlocal_bind", "net/ipv4/igmp_max_memberships")
PER_INTERFACE = ("rp_filter", "arp_ignore", "arp_filter", "promote_secondaries")


def names(interfaces: frozenset[str]) -> list[str]:
    """The settings to read under /proc/sys."""
    places = sorted(interfaces | {"all"})
    several = [f"net/ipv4/conf/{place}/{setting}" for place in places for setting in PER_INTERFACE]
    return [*GLOBAL, *several, *(f"net/ipv6/conf/{place}/disable_ipv6" for place in places)]


def findings(instances: tuple[InstanceConfig, ...], facts: Facts) -> Iterator[Finding]:
    """What the settings do to the instances; the greater of `all` and the interface's counts (ip-sysctl)."""
    seen = []
    for interface in sorted({one.interface for one in instances if one.interface}):
        here = tuple(one for one in instances if one.interface == interface)
        seen += [*_ipv4(interface, here, facts), *_ipv6(interface, here, facts)]
    groups = any(one.family == Family.IPV4 and not one.unicast for one in instances)
    if groups and _value(facts, "net/ipv4/igmp_max_memberships") == 0:
        what = "no group can be joined: multicast adverts are not heard"
        cure = "sysctl net.ipv4.igmp_max_memberships=20"
        seen.append(_said(Severity.OBSTACLE, what, "net.ipv4.igmp_max_memberships=0", cure))
    for family, version in ((Family.IPV4, "ipv4"), (Family.IPV6, "ipv6")):
        if any(one.family == family for one in instances) and _value(facts, f"net/{version}/ip_nonlocal_bind") == 0:
            seen.append(
                _said(
                    Severity.ADVICE,
                    "a service that binds to a VIP cannot start while this host is backup",
                    f"net.{version}.ip_nonlocal_bind=0",
                    f"sysctl net.{version}.ip_nonlocal_bind=1, or let the service bind to all addresses",
                )
            )
    yield from seen
    if instances and not any(one.severity in (Severity.WARNING, Severity.OBSTACLE) for one in seen):
        yield Finding(check="sysctl", severity=Severity.OK, what="no kernel setting stands in the way")


def _value(facts: Facts, name: str) -> int | None:
    try:
        return int(facts.sysctls[name])
    except (KeyError, ValueError):
        return None


def _said(severity: Severity, what: str, evidence: str, cure: str) -> Finding:
    return Finding(check="sysctl", severity=severity, what=what, evidence=evidence, cure=cure)


def _ipv4(interface: str, instances: tuple[InstanceConfig, ...], facts: Facts) -> Iterator[Finding]:
    def greater(setting: str) -> int:
        places = (interface, "all")
        return max(_value(facts, f"net/ipv4/conf/{place}/{setting}") or 0 for place in places)

    def shown(setting: str) -> str:
        return f"net.ipv4.conf.{interface}.{setting}"

    adverts = [one for one in instances if one.family == Family.IPV4]
    vips = [vip for one in instances for vip in (*one.addresses, *one.excluded) if len(vip.address) == 4]
    if adverts and greater("rp_filter") == 1:
        yield _said(
            Severity.ADVICE,
            f"adverts from a source that is not routed through {interface} are dropped",
            f"{shown('rp_filter')}=1, strict",
            f"sysctl {shown('rp_filter')}=2 (and of `all`) if peers are in other networks",
        )
    ignore = greater("arp_ignore")
    mute = [text(vip.address) for vip in vips if ignore == 8 or (ignore == 2 and vip.prefix_length == 32)]
    if mute:
        why = "for no address at all" if ignore == 8 else "only to askers in its own network, and /32 has none"
        yield _said(Severity.OBSTACLE, f"nobody on {interface} is answered who asks for {', '.join(mute)}: ARP is "
                    f"answered {why}", f"{shown('arp_ignore')}={ignore}",
                    f"sysctl {shown('arp_ignore')}=1 (and of `all`)")  # fmt: skip
    if vips and greater("arp_filter") == 1:
        yield _said(Severity.WARNING, f"ARP for a VIP is answered only if the way back to the asker is {interface}",
                    f"{shown('arp_filter')}=1", f"sysctl {shown('arp_filter')}=0")  # fmt: skip
    wide = [text(vip.address) for vip in vips if vip.prefix_length < 32]
    handled = all(one.promote_secondaries for one in instances)
    known = f"net/ipv4/conf/{interface}/promote_secondaries" in facts.sysctls
    if wide and known and not handled and greater("promote_secondaries") == 0:
        yield _said(
            Severity.WARNING,
            f"when {wide[0]} goes, other addresses of its network on {interface} may go too",
            f"{shown('promote_secondaries')}=0",
            f"write the VIP with /32, or sysctl {shown('promote_secondaries')}=1",
        )


def _ipv6(interface: str, instances: tuple[InstanceConfig, ...], facts: Facts) -> Iterator[Finding]:
    wanted = [one for one in instances if one.family == Family.IPV6 or any(len(a.address) == 16 for a in one.excluded)]
    if wanted and _value(facts, f"net/ipv6/conf/{interface}/disable_ipv6") == 1:
        name = f"net.ipv6.conf.{interface}.disable_ipv6"
        yield _said(Severity.OBSTACLE, f"IPv6 is off on {interface}: no IPv6 VIP can be added", f"{name}=1",
                    f"sysctl {name}=0")  # fmt: skip
