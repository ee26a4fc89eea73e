"""Gathers the evidence for `holdfast who`: the daemon's belief, the kernel's addresses, what the wire says."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from holdfast.base.address import Address, Mac, is_link_local, mac_text, parse, text
from holdfast.carp.config import priority_of
from holdfast.carp.packet import decode_carp, looks_like_carp
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.neighbour_probe import Answer, NeighbourProbe, Overheard
from holdfast.kernel.netlink import NetlinkSocket
from holdfast.kernel.ports import AddressSeen, LinkSeen
from holdfast.vrrp.packet import Malformed, decode_vrrp
from holdfast.who.judge import Evidence

ASKED = 3
"""Questions for each address, in case one is lost."""

BETWEEN_S = 0.12
AFTER_S = 0.25


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual address to be looked into; `instance` is the daemon's view of it, None where none knows it."""

    address: Address
    interface: str
    instance: dict[str, Any] | None = None
    shown: str = ""


class Kernel:
    """This host's links and addresses, read once."""

    def __init__(self) -> None:
        with_socket = NetlinkSocket()
        try:
            self.links: dict[int, LinkSeen] = {link.index: link for link in with_socket.dump_links()}
            self.addresses: list[AddressSeen] = with_socket.dump_addresses()
        finally:
            with_socket.close()

    def named(self, name: str) -> LinkSeen | None:
        """The interface of that name."""
        return next((link for link in self.links.values() if link.name == name), None)

    def holding(self, address: Address) -> list[tuple[AddressSeen, LinkSeen]]:
        """Where this host has the address."""
        return [(seen, self.links[seen.index]) for seen in self.addresses if seen.address == address]

    def sources(self, name: str, but: frozenset[Address]) -> tuple[Address, Address]:
        """An IPv4 and an IPv6 address to ask from; zeroes where there is none: a probe (RFC 5227)."""
        link = self.named(name)
        mine = [seen for seen in self.addresses if link is not None and seen.index == link.index]
        fit = [seen.address for seen in mine if seen.address not in but and not seen.tentative]
        four = next((one for one in fit if len(one) == 4), Address(bytes(4)))
        six = next((one for one in fit if is_link_local(one)), next((one for one in fit if len(one) == 16), None))
        return four, six or Address(bytes(16))

    def towards(self, address: Address) -> str:
        """The interface by which the kernel reaches an address on the link; "" when none does."""
        held = self.holding(address)
        if held:
            return held[0][1].name
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asked:
                asked.connect((text(address), 9))
                source = parse(asked.getsockname()[0].partition("%")[0])
        except OSError:
            return ""
        return next((self.links[seen.index].name for seen in self.addresses if seen.address == source), "")


def prefix(vip: str) -> Address:
    """The address of `192.0.2.1/24`."""
    return parse(vip.partition("/")[0])


def neighbours_known() -> dict[str, str]:
    """Link-layer address → IPv4 address, of proc(5)'s table; a virtual address that is asked for is left out later."""
    known: dict[str, str] = {}
    try:
        lines = Path("/proc/net/arp").read_text().splitlines()[1:]
    except OSError:
        return known
    for line in lines:
        words = line.split()
        if len(words) >= 4 and words[3] != "00:00:00:00:00:00":
            known.setdefault(words[3].lower(), words[0])
    return known


class Heard(msgspec.Struct):
    """What one interface's wire said; `refused`: why it was not asked."""

    answers: list[Answer]
    adverts: list[Overheard]
    refused: str = ""


def listen(
    interface: str, wanted: Sequence[Address], kernel: Kernel, enough: Callable[[Heard], bool], wait_s: float
) -> Heard:
    """Ask for every address several times; hear on until it is `enough`, for `wait_s` at most."""
    heard = Heard([], [])
    link = kernel.named(interface)
    if link is None:
        heard.refused = f"there is no interface {interface}"
        return heard
    try:
        probe = NeighbourProbe(interface, Mac(link.mac))
    except KernelRefused as refused:
        cure = "" if os.geteuid() == 0 else "; run the command with sudo"
        heard.refused = f"{refused}{cure}"
        return heard

    def take(seconds: float) -> None:
        for one in probe.hear(seconds):
            (heard.answers if isinstance(one, Answer) else heard.adverts).append(one)  # type: ignore[arg-type]

    try:
        four, six = kernel.sources(interface, frozenset(wanted))
        end = time.monotonic() + wait_s
        asks = bool(link.mac) and not link.noarp
        for _ in range(ASKED if asks else 0):
            heard.refused = probe.ask(wanted, four, six)
            take(BETWEEN_S)
        take(AFTER_S)
        while not enough(heard) and (left := end - time.monotonic()) > 0:
            take(min(left, 0.1))
    finally:
        probe.close()
    return heard


def advertised(heard: Heard, question: Question) -> dict[tuple[Address, Mac], int]:
    """Who advertises the address (with the instance's VRID, where that is known): (source, MAC) → last priority."""
    found: dict[tuple[Address, Mac], int] = {}
    vrid = question.instance["vrid"] if question.instance else None
    family = question.instance["family"] if question.instance else None
    for one in heard.adverts:
        if looks_like_carp(one.message):  # names no address: known by the instance
            carp = decode_carp(one.message)
            if question.instance and question.instance.get("protocol") == "carp" and vrid == carp.vhid:
                found[one.source, one.mac] = priority_of(carp.advbase, carp.advskew)
            continue
        six = len(one.source) == 16
        try:
            advert = decode_vrrp(one.message, six)
        except Malformed:
            continue
        if question.address not in advert.addresses:
            # excluded addresses are on the master though no advert names them
            excluded = question.instance is not None and question.shown in (question.instance["excluded_vips"] or [])
            if not excluded or family != ("ipv6" if six else "ipv4"):
                continue
        if vrid in (None, advert.vrid):
            found[one.source, one.mac] = advert.priority
    return {who: priority for who, priority in found.items() if priority}


def of_daemon(question: Question) -> list[Evidence]:
    """What this node's daemon believes."""
    instance = question.instance
    if instance is None:
        return []
    name, state, master = instance["name"], instance["state"], instance["master"]
    if state == "MASTER":
        says = f"{name} is MASTER here, priority {instance['effective_priority']}"
        return [Evidence(source="daemon", says=says, here=True, claims=False, address=instance["source"])]
    if master:
        says = f"{name} is {state} here; the master is {master['address']}, priority {master['priority']}"
        return [Evidence(source="daemon", says=says, address=master["address"])]
    return [Evidence(source="daemon", says=f"{name} is {state} here; no master is heard: {instance['cause']}")]


def of_kernel(question: Question, kernel: Kernel) -> list[Evidence]:
    """Whether this host has the address."""
    found = []
    source = question.instance["source"] if question.instance else None
    for seen, link in kernel.holding(question.address):
        source = source or text(kernel.sources(link.name, frozenset((question.address,)))[len(question.address) == 16])
        own = None if source in ("0.0.0.0", "::") else source
        doubt = ", tentative: not usable yet" if seen.tentative else ""
        says = f"this host has {text(seen.address)}/{seen.prefix_length} on {link.name}{doubt}"
        found.append(
            Evidence(source="kernel", says=says, claims=True, here=True, address=own, mac=mac_text(Mac(link.mac)))
        )
    return found or [Evidence(source="kernel", says="this host does not have the address")]


def of_wire(question: Question, heard: Heard, kernel: Kernel) -> list[Evidence]:
    """What the neighbours answered and who advertised."""
    found = []
    if heard.refused:
        found.append(Evidence(source="neighbours", says=f"the wire was not asked: {heard.refused}"))
    # a VMAC's MAC is the master's, whichever host that is
    own = {link.mac for link in kernel.links.values() if link.kind != "macvlan"}
    own |= {link.mac for _, link in kernel.holding(question.address)}
    macs = dict.fromkeys(one.mac for one in heard.answers if one.address == question.address and one.mac not in own)
    for mac in macs:
        asked = "a question on" if len(question.address) == 4 else "a solicitation on"
        says = f"{mac_text(mac)} answers {asked} {question.interface}"
        found.append(Evidence(source="neighbours", says=says, claims=True, mac=mac_text(mac)))
    if not macs and not heard.refused:
        found.append(Evidence(source="neighbours", says=f"nobody else answers on {question.interface}"))
    mine = {seen.address for seen in kernel.addresses}
    for (source, mac), priority in sorted(advertised(heard, question).items()):
        if source not in mine:
            says = f"{text(source)} advertises it, priority {priority}"
            found.append(Evidence(source="adverts", says=says, claims=True, address=text(source), mac=mac_text(mac)))
    return found
