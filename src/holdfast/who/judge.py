"""Weighs what was found about one virtual address: who claims it, whether there is one owner. Pure.

Evidence has four sources: `daemon` (what this node believes), `kernel` (what this host has on its interfaces),
`neighbours` (every answer to an ARP request or neighbour solicitation), `adverts` (VRRP messages that passed).
"""

from collections.abc import Iterable

import msgspec


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One thing found; `claims`: it says that the host at `address` or `mac` has the virtual address now."""

    source: str
    says: str
    claims: bool = False
    here: bool = False
    address: str | None = None
    mac: str | None = None


class Claimant(msgspec.Struct, frozen=True, kw_only=True):
    """A host that has the address, as far as can be told."""

    address: str | None
    name: str | None
    mac: str | None
    here: bool
    by: tuple[str, ...]  # the sources that say so


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The one host that has the address."""

    address: str | None
    name: str | None
    mac: str | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What `holdfast who --json` prints for one address. `since` is known only where a daemon runs."""

    vip: str
    instance: str | None
    owner: Owner | None
    here: bool
    conflict: bool
    claimants: list[Claimant]
    evidence: list[Evidence]
    since: str | None


def claimants(evidence: Iterable[Evidence], addresses: dict[str, str], names: dict[str, str]) -> list[Claimant]:
    """The hosts that claim the address: this one first, then by address.

    What names the same link-layer address is one host, unless several sources of adverts share it (a virtual MAC).
    `addresses` gives the IP address of a link-layer address where the kernel knows it, `names` the name of an IP
    address.
    """
    claims = [one for one in evidence if one.claims]
    found: list[Claimant] = []
    own = [one for one in claims if one.here]
    if own:
        found.append(_joined(own, addresses, names, here=True))
    others = [one for one in claims if not one.here]
    by_mac: dict[str, list[Evidence]] = {}
    loose = []
    for one in others:
        if one.mac:
            by_mac.setdefault(one.mac, []).append(one)
        else:
            loose.append(one)
    for together in by_mac.values():
        sources = sorted({one.address for one in together if one.address and one.source == "adverts"})
        if len(sources) < 2:
            found.append(_joined(together, addresses, names))
        else:
            found += [_joined([one for one in together if one.address in (None, s)], {}, names, s) for s in sources]
    known = {one.address for one in found}
    found += [_joined([one], addresses, names) for one in loose if one.address not in known]
    return sorted(_without_shadows(found), key=lambda one: (not one.here, one.address or "", one.mac or ""))


def _joined(
    together: list[Evidence],
    addresses: dict[str, str],
    names: dict[str, str],
    address: str | None = None,
    here: bool = False,
) -> Claimant:
    mac = next((one.mac for one in together if one.mac), None)
    if address is None:
        address = next((one.address for one in together if one.address), None) or addresses.get(mac or "")
    return Claimant(
        address=address,
        name=names.get(address or ""),
        mac=mac,
        here=here,
        by=tuple(dict.fromkeys(one.source for one in together)),
    )


def _without_shadows(found: list[Claimant]) -> list[Claimant]:
    """One host seen twice is one: its adverts leave the real device, its answers carry the virtual MAC."""
    kept = []
    for one in found:
        virtual = (one.mac or "").startswith("00:00:5e:00:")
        adverts = [other for other in found if other is not one and "adverts" in other.by and not other.here]
        if virtual and one.by == ("neighbours",) and not one.address and len(adverts) == 1:
            continue
        kept.append(one)
    return kept


def verdict(
    vip: str,
    instance: str | None,
    evidence: list[Evidence],
    addresses: dict[str, str],
    names: dict[str, str],
    since: tuple[str | None, str | None],
) -> Verdict:
    """Who owns `vip`, from the evidence. `since`: whom this node's daemon believes to be master, and since when."""
    found = claimants(evidence, addresses, names)
    first = found[0] if len(found) == 1 else None
    believed = first is not None and since[0] is not None and first.address == since[0]
    return Verdict(
        vip=vip,
        instance=instance,
        owner=Owner(address=first.address, name=first.name, mac=first.mac) if first else None,
        here=any(one.here for one in found),
        conflict=len(found) > 1,
        claimants=found,
        evidence=evidence,
        since=since[1] if believed else None,
    )


def exit_status(verdicts: Iterable[Verdict]) -> int:
    """4 when some address has several owners, else 3 when one has none, else 0."""
    counts = [len(one.claimants) for one in verdicts]
    return 4 if any(count > 1 for count in counts) else 3 if any(count == 0 for count in counts) else 0
