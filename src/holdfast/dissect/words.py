"""A frame in one line, for an operator."""

from holdfast.base.address import Address, mac_text, text
from holdfast.base.time import span_text
from holdfast.bfd.packet import DIAGNOSTICS, ControlPacket
from holdfast.carp.packet import BOW_OUT
from holdfast.dissect.layers import Carp, Frame

_MANY = 4  # addresses shown before the rest is counted


def line(frame: Frame) -> str:
    """What it is, who sent it to whom and what it says; without what is wrong with it (`Frame.problems`)."""
    between = f"{_shown(frame.source)} > {_shown(frame.destination)}"
    if frame.vrrp:
        return f"{between}  {_vrrp(frame)}"
    if frame.carp:
        return f"{between}  {_carp(frame.carp)}"
    if frame.bfd:
        return f"{between}  {_bfd(frame.bfd)}"
    if frame.arp:
        return _arp(frame)
    if frame.na:
        kind = "answer" if frame.na.solicited else "unsolicited"
        where = mac_text(frame.na.link_address) if frame.na.link_address else "an address it doesn't tell"
        router = ", a router" if frame.na.router else ""
        return f"NA {text(frame.na.target)} is at {where} ({kind}{router})"
    if frame.source:
        name = {"vrrp": "VRRP", "carp": "CARP", "bfd": "BFD", "na": "NA"}.get(frame.kind)
        return f"{between}  {name or f'IP protocol {_protocol(frame)}'}"
    if frame.kind == "arp":
        return "ARP"
    return f"ethertype 0x{frame.ethernet.ethertype:04x}" if frame.ethernet else "not known"


def _shown(address: Address | None) -> str:
    return text(address) if address else "?"


def _protocol(frame: Frame) -> int:
    return frame.ipv4.protocol if frame.ipv4 else frame.ipv6.next_header if frame.ipv6 else 0


def addresses_text(addresses: tuple[Address, ...]) -> str:
    """The first addresses, and how many more there are."""
    shown = " ".join(text(one) for one in addresses[:_MANY])
    return f"{shown} (+{len(addresses) - _MANY})" if len(addresses) > _MANY else shown


def authentication(frame: Frame) -> str:
    """How an advert is authenticated: `` (not at all), `PASS`, `AH`, `HMAC key 1`."""
    if frame.hmac:
        return f"HMAC key {frame.hmac.trailer.key_id}"
    if frame.ah:
        return "AH"
    kind = frame.vrrp.advert.auth_type if frame.vrrp else 0
    return {0: "", 1: "PASS", 2: "AH"}.get(kind, f"auth type {kind}")


def _vrrp(frame: Frame) -> str:
    assert frame.vrrp is not None
    advert = frame.vrrp.advert
    meaning = {0: " (resigns)", 255: " (owns the addresses)"}.get(advert.priority, "")
    parts = [
        f"VRRPv{advert.version} vrid {advert.vrid} priority {advert.priority}{meaning}",
        f"every {span_text(advert.adver_interval_ns)}",
    ]
    authenticated = authentication(frame)
    if frame.ah:
        authenticated += f" seq {frame.ah.header.sequence_number}"
    if authenticated:
        parts.append(authenticated)
    if frame.ttl != 255:
        parts.append(f"TTL {frame.ttl}")
    return f"{', '.join(parts)}: {addresses_text(advert.addresses) or '-'}"


def _carp(part: Carp) -> str:
    advert = part.advert
    rank = f"advbase {advert.advbase} advskew {advert.advskew}"
    if advert.advbase == advert.advskew == BOW_OUT:
        return f"CARP vhid {advert.vhid} {rank} (resigns)"
    demoted = f", demoted by {advert.demotion}" if advert.demotion else ""
    return f"CARP vhid {advert.vhid} {rank}, every {span_text(advert.interval_ns)}{demoted}"


def _bfd(packet: ControlPacket) -> str:
    bits = (("poll", packet.poll), ("final", packet.final), ("demand", packet.demand))
    flags = [word for word, is_set in bits if is_set]
    why = ""
    if packet.diag:
        known = packet.diag < len(DIAGNOSTICS)
        why = f" ({DIAGNOSTICS[packet.diag] if known else f'diagnostic {packet.diag}'})"
    return (
        f"BFD {packet.state.word}{why}{''.join(f' {flag}' for flag in flags)}, "
        f"{packet.my_discriminator:08x} to {packet.your_discriminator:08x}, "
        f"sends every {span_text(packet.desired_min_tx_ns)}, takes every {span_text(packet.required_min_rx_ns)}, "
        f"down after {packet.detect_mult} missed"
    )


def _arp(frame: Frame) -> str:
    arp = frame.arp
    assert arp is not None
    if arp.gratuitous:
        return f"GARP {text(arp.sender_address)} is at {mac_text(arp.sender_mac)}"
    if arp.opcode == 1:
        return f"ARP who has {text(arp.target_address)}? {text(arp.sender_address)} at {mac_text(arp.sender_mac)} asks"
    return f"ARP {text(arp.sender_address)} is at {mac_text(arp.sender_mac)}"
