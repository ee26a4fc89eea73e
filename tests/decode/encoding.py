"""The other direction: from the fields of a frame back to its octets, by the codecs that the daemon uses."""

import struct
from typing import Any

from holdfast.base.address import Address, Mac, parse
from holdfast.base.time import CENTISECOND, SECOND
from holdfast.bfd.packet import BfdState, ControlPacket, encode_bfd
from holdfast.carp.packet import CarpAdvert, encode_carp
from holdfast.kernel.frames import gratuitous_arp, unsolicited_na
from holdfast.vrrp.ah import AuthenticationHeader, encode_ah, encode_ah_packet
from holdfast.vrrp.hmac_trailer import Trailer, encode_trailer, sign
from holdfast.vrrp.packet import Advert, ChecksumForm, encode_vrrp

_IPV4 = struct.Struct("!BBHHHBBH4s4s")


def mac(text: str) -> Mac:
    return Mac(bytes.fromhex(text.replace(":", "")))


def encode(fields: dict[str, Any]) -> bytes:
    """The whole Ethernet frame."""
    link = fields["ethernet"]
    head = mac(link["dst"]) + mac(link["src"]) + bytes.fromhex(link["ethertype"][2:])
    if "arp" in fields:
        arp = fields["arp"]
        frame = gratuitous_arp(mac(arp["sender_mac"]), parse(arp["sender_ip"]))
        return frame[:32] + mac(arp["target_mac"]) + frame[38:]
    if "icmpv6_na" in fields:
        na = fields["icmpv6_na"]
        return unsolicited_na(mac(na["target_lladdr_option"]["mac"]), parse(na["target"]), na["router"])
    ip = fields.get("ipv4") or fields["ipv6"]
    source, destination = parse(ip["src"]), parse(ip["dst"])
    payload = _payload(fields, source, destination)
    if "ipv6" in fields:
        first = 6 << 28 | int(ip["traffic_class"], 16) << 20 | int(ip["flow_label"], 16)
        fixed = struct.pack("!IHBB", first, len(payload), ip["next_header"], ip["hop_limit"])
        return head + fixed + source + destination + payload
    flags = 0x4000 if ip["df"] else 0
    checksum = int(ip["header_checksum"], 16)
    total = 20 + len(payload)
    fixed = _IPV4.pack(
        0x45, int(ip["tos"], 16), total, ip["id"], flags, ip["ttl"], ip["protocol"], checksum, source, destination
    )
    return head + fixed + payload


def _payload(fields: dict[str, Any], source: Address, destination: Address) -> bytes:
    if "carp" in fields:
        return encode_carp(carp(fields["carp"]))
    if "bfd" in fields:
        udp = fields["udp"]
        packet = encode_bfd(bfd(fields["bfd"]))
        ports = struct.pack("!HHHH", udp["src_port"], udp["dst_port"], 8 + len(packet), int(udp["checksum"], 16))
        return ports + packet
    shown = fields["vrrp"]
    form = ChecksumForm(shown["checksum_covers"])
    message = encode_vrrp(advert(shown), source=source, destination=destination, checksum_form=form)
    if "ah" in fields:
        ah = fields["ah"]
        return encode_ah(header(ah)) + message
    if "auth_hmac" in fields:
        shown = fields["auth_hmac"]
        key, sequence = bytes.fromhex(shown["key_hex"]), int(shown["sequence"], 16)
        signed = sign(
            message, key=key, key_id=shown["key_id"], sequence=sequence, source=source, destination=destination
        )
        assert signed[-28:] == encode_trailer(
            Trailer(key_id=shown["key_id"], sequence=sequence, hmac=bytes.fromhex(shown["hmac"]))
        )
        return signed
    return message


def advert(shown: dict[str, Any]) -> Advert:
    if shown["version"] == 2:
        interval_ns = shown["adver_int_s"] * SECOND
    else:
        interval_ns = shown["max_adver_int_cs"] * CENTISECOND
    return Advert(
        version=shown["version"],
        vrid=shown["vrid"],
        priority=shown["priority"],
        addresses=tuple(parse(one) for one in shown["addresses"]),
        adver_interval_ns=interval_ns,
        auth_type=shown.get("auth_type", 0),
        auth_data=bytes.fromhex(shown.get("auth_data", "00" * 8)),
        reserved=shown.get("rsvd", 0),
    )


def header(shown: dict[str, Any]) -> AuthenticationHeader:
    return AuthenticationHeader(
        spi=int(shown["spi"], 16),
        sequence_number=shown["sequence_number"],
        icv=bytes.fromhex(shown["icv"]),
        next_header=shown["next_header"],
        payload_len=shown["payload_len"],
    )


def carp(shown: dict[str, Any]) -> CarpAdvert:
    return CarpAdvert(
        vhid=shown["vhid"],
        advbase=shown["advbase"],
        advskew=shown["advskew"],
        counter=int(shown["counter"], 16),
        hmac=bytes.fromhex(shown["hmac_sha1"]),
        demotion=shown["pad"],
    )


def bfd(shown: dict[str, Any]) -> ControlPacket:
    return ControlPacket(
        state={"AdminDown": BfdState.ADMIN_DOWN, "Down": BfdState.DOWN, "Init": BfdState.INIT, "Up": BfdState.UP}[
            shown["state"]
        ],
        detect_mult=shown["detect_mult"],
        my_discriminator=int(shown["my_discriminator"], 16),
        your_discriminator=int(shown["your_discriminator"], 16),
        desired_min_tx_us=shown["desired_min_tx_us"],
        required_min_rx_us=shown["required_min_rx_us"],
        required_min_echo_rx_us=shown["required_min_echo_rx_us"],
        diag=shown["diag"],
        poll=shown["poll"],
        final=shown["final"],
    )


def ah_packet(fields: dict[str, Any], password: bytes) -> bytes:
    """An AH packet made from nothing but what a sender decides."""
    ip, source, destination = fields["ipv4"], parse(fields["ipv4"]["src"]), parse(fields["ipv4"]["dst"])
    return encode_ah_packet(
        encode_vrrp(advert(fields["vrrp"]), source=source, destination=destination),
        source=source,
        destination=destination,
        password=password,
        sequence_number=fields["ah"]["sequence_number"],
        identification=ip["id"],
        keep_ttl=fields["ah"]["icv_valid_ttl_kept"],
        ttl=ip["ttl"],
    )
