"""A frame as JSON: the layers by name, numbers as numbers, addresses and opaque fields as text."""

from typing import Any

from holdfast.base.address import Mac, mac_text, text
from holdfast.base.time import CENTISECOND, SECOND
from holdfast.bfd.packet import ControlPacket
from holdfast.dissect.layers import (
    Arp,
    Authentication,
    Carp,
    Cooked,
    Ethernet,
    Frame,
    Hmac,
    Ipv4,
    Ipv6,
    NeighbourAdvert,
    Udp,
    Vrrp,
)
from holdfast.vrrp.config import AuthType


def fields(frame: Frame) -> dict[str, Any]:
    """The layers there are, outermost first; verdicts that nobody can give without a key are null."""
    parts: tuple[tuple[str, Any], ...] = (
        ("ethernet", frame.ethernet and _ethernet(frame.ethernet)),
        ("linux_cooked", frame.cooked and _cooked(frame.cooked)),
        ("arp", frame.arp and _arp(frame.arp)),
        ("ipv4", frame.ipv4 and _ipv4(frame.ipv4)),
        ("ipv6", frame.ipv6 and _ipv6(frame.ipv6)),
        ("ah", frame.ah and _ah(frame.ah)),
        ("vrrp", frame.vrrp and _vrrp(frame.vrrp, frame.ipv6 is not None)),
        ("auth_hmac", frame.hmac and _hmac(frame.hmac)),
        ("carp", frame.carp and _carp(frame.carp)),
        ("udp", frame.udp and _udp(frame.udp)),
        ("bfd", frame.bfd and _bfd(frame.bfd)),
        ("icmpv6_na", frame.na and _na(frame.na)),
    )
    return {name: part for name, part in parts if part}


def _hex(value: int, octets: int) -> str:
    return f"0x{value:0{octets * 2}x}"


def _ethernet(link: Ethernet) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "dst": mac_text(link.destination),
        "src": mac_text(link.source),
        "ethertype": _hex(link.ethertype, 2),
    }
    return shown | {"vlans": list(link.vlans)} if link.vlans else shown


def _cooked(link: Cooked) -> dict[str, Any]:
    return {
        "version": link.version,
        "packet_type": link.packet_type,
        "arphrd": link.arphrd,
        "src": mac_text(link.source),
        "ethertype": _hex(link.ethertype, 2),
    }


def _ipv4(ip: Ipv4) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "ihl": ip.ihl,
        "tos": _hex(ip.tos, 1),
        "total_length": ip.total_length,
        "id": ip.identification,
        "df": ip.dont_fragment,
        "ttl": ip.ttl,
        "protocol": ip.protocol,
        "header_checksum": _hex(ip.header_checksum, 2),
        "header_checksum_ok": ip.header_checksum_ok,
        "src": text(ip.source),
        "dst": text(ip.destination),
    }
    if ip.fragment:
        shown["fragment"] = True
    return shown | {"options": ip.options.hex()} if ip.options else shown


def _ipv6(ip: Ipv6) -> dict[str, Any]:
    return {
        "traffic_class": _hex(ip.traffic_class, 1),
        "flow_label": f"0x{ip.flow_label:05x}",
        "payload_length": ip.payload_length,
        "next_header": ip.next_header,
        "hop_limit": ip.hop_limit,
        "src": text(ip.source),
        "dst": text(ip.destination),
    }


def _ah(part: Authentication) -> dict[str, Any]:
    header = part.header
    return {
        "next_header": header.next_header,
        "payload_len": header.payload_len,
        "reserved": header.reserved,
        "spi": _hex(header.spi, 4),
        "spi_is_source_ip": part.spi_is_source,
        "sequence_number": header.sequence_number,
        "icv": header.icv.hex(),
        "icv_valid_ttl_kept": part.valid_ttl_kept,
        "icv_valid_ttl_zeroed": part.valid_ttl_zeroed,
    }


def _vrrp(part: Vrrp, ipv6: bool) -> dict[str, Any]:
    advert = part.advert
    shown: dict[str, Any] = {
        "version": advert.version,
        "type": advert.type,
        "vrid": advert.vrid,
        "priority": advert.priority,
        "count_ip_addrs": len(advert.addresses),
    }
    if advert.version == 2:
        shown |= {"auth_type": advert.auth_type, "adver_int_s": advert.adver_interval_ns // SECOND}
    else:
        shown |= {"rsvd": advert.reserved, "max_adver_int_cs": advert.adver_interval_ns // CENTISECOND}
    shown |= {"checksum": _hex(advert.checksum, 2), "addresses": [text(one) for one in advert.addresses]}
    if advert.version == 2 and not ipv6:
        shown["auth_data"] = advert.auth_data.hex()
        if advert.auth_type == AuthType.PASS:
            shown["auth_password"] = advert.auth_data.rstrip(b"\0").decode("utf-8", "backslashreplace")
    shown |= {"message_length": part.message_bytes, "checksum_covers": part.covers and str(part.covers)}
    return shown | {"extra": part.extra.hex()} if part.extra else shown


def _hmac(part: Hmac) -> dict[str, Any]:
    trailer = part.trailer
    shown: dict[str, Any] = {
        "ext_type": trailer.ext_type,
        "key_id": trailer.key_id,
        "reserved": trailer.reserved,
        "sec": trailer.seconds,
        "subsec": trailer.subseconds,
        "ctr": trailer.counter,
        "sequence": _hex(trailer.sequence, 8),
        "hmac": trailer.hmac.hex(),
        "pseudo_header": part.pseudo_header.hex(),
        "hmac_valid_with_listed_key": part.valid,
    }
    return shown if part.key is None else shown | {"key_hex": part.key.hex()}


def _carp(part: Carp) -> dict[str, Any]:
    advert = part.advert
    return {
        "version": advert.version,
        "type": advert.type,
        "vhid": advert.vhid,
        "advskew": advert.advskew,
        "authlen": advert.authlen,
        "pad": advert.demotion,
        "advbase": advert.advbase,
        "checksum": _hex(advert.checksum, 2),
        "checksum_ok": part.checksum_ok,
        "counter": _hex(advert.counter, 8),
        "hmac_sha1": advert.hmac.hex(),
        "hmac_valid_with_listed_password": part.hmac_valid,
    }


def _udp(part: Udp) -> dict[str, Any]:
    return {
        "src_port": part.source_port,
        "dst_port": part.destination_port,
        "length": part.length,
        "checksum": _hex(part.checksum, 2),
        "checksum_ok": part.checksum_ok,
    }


def _bfd(packet: ControlPacket) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "version": packet.version,
        "diag": packet.diag,
        "state": packet.state.word,
        "poll": packet.poll,
        "final": packet.final,
        "control_plane_independent": packet.control_plane_independent,
        "auth_present": packet.auth_present,
        "demand": packet.demand,
        "multipoint": packet.multipoint,
        "detect_mult": packet.detect_mult,
        "length": packet.length,
        "my_discriminator": _hex(packet.my_discriminator, 4),
        "your_discriminator": _hex(packet.your_discriminator, 4),
        "desired_min_tx_us": packet.desired_min_tx_us,
        "required_min_rx_us": packet.required_min_rx_us,
        "required_min_echo_rx_us": packet.required_min_echo_rx_us,
    }
    return shown | {"authentication": packet.authentication.hex()} if packet.authentication else shown


def _arp(arp: Arp) -> dict[str, Any]:
    return {
        "htype": 1,
        "ptype": "0x0800",
        "hlen": 6,
        "plen": 4,
        "opcode": arp.opcode,
        "sender_mac": mac_text(arp.sender_mac),
        "sender_ip": text(arp.sender_address),
        "target_mac": mac_text(arp.target_mac),
        "target_ip": text(arp.target_address),
        "gratuitous": arp.gratuitous,
    }


def _na(na: NeighbourAdvert) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": 136,
        "code": na.code,
        "checksum": _hex(na.checksum, 2),
        "checksum_ok": na.checksum_ok,
        "router": na.router,
        "solicited": na.solicited,
        "override": na.override,
        "target": text(na.target),
    }
    return shown | {"target_lladdr_option": _option(na.link_address)} if na.link_address else shown


def _option(mac: Mac) -> dict[str, Any]:
    return {"length_units": 1, "mac": mac_text(mac)}
