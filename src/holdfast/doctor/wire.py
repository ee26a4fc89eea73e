"""Whose adverts reach our interfaces: a stranger with our VRID spoils an election."""

from collections.abc import Iterator

from holdfast.base.address import text
from holdfast.doctor.facts import Facts, Finding, Overheard, Severity
from holdfast.vrrp.config import InstanceConfig


def findings(instances: tuple[InstanceConfig, ...], facts: Facts) -> Iterator[Finding]:
    """What was overheard, compared with the instances."""
    for why in facts.not_heard:
        yield Finding(check="wire", severity=Severity.WARNING, what="could not listen for adverts", evidence=why,
                      cure="run as root, or grant CAP_NET_RAW")  # fmt: skip
    if not facts.listened_s:
        return
    strange = 0
    own = {seen.address for seen in facts.addresses}
    told = set()
    for heard in facts.overheard:
        for instance in instances:
            size = 4 if instance.family == 4 else 16
            same = heard.interface == instance.interface and heard.advert.vrid == instance.vrid
            if not same or heard.source in own or len(heard.source) != size:
                continue
            what = difference(instance, heard)
            if what and (instance.name, heard.source, what) not in told:
                told.add((instance.name, heard.source, what))
                strange += 1
                yield _strange(instance, heard, what)
    if not strange and not facts.not_heard:
        what = f"no stranger uses our VRIDs (listened for {facts.listened_s:g} s)"
        yield Finding(check="wire", severity=Severity.OK, what=what)


def difference(instance: InstanceConfig, heard: Overheard) -> str:
    """What makes this advert a stranger's, in words; "" when it may be a peer's."""
    advert = heard.advert
    if advert.version != instance.version:
        return f"speaks VRRP version {advert.version}, {instance.name} version {instance.version}"
    if instance.unicast and all(peer.address != heard.source for peer in instance.unicast_peers):
        return "is no unicast_peer of ours"
    wanted = {vip.address for vip in instance.addresses}
    theirs = set(advert.addresses)
    if theirs != wanted and not instance.unicast:
        listed = ", ".join(sorted(text(one) for one in theirs)) or "no address"
        return f"advertises {listed}, {instance.name} {', '.join(sorted(text(one) for one in wanted)) or 'none'}"
    return ""


def _strange(instance: InstanceConfig, heard: Overheard, what: str) -> Finding:
    return Finding(
        check="wire",
        severity=Severity.OBSTACLE,
        what=f"({instance.name}) {text(heard.source)} uses our VRID "
        f"{instance.vrid} on {instance.interface} and {what}",
        evidence=f"an advert with priority {heard.advert.priority}",
        cure="give one of the two groups of routers another virtual_router_id, or make the two files agree",
    )
