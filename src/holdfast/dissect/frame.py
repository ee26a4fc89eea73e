"""From the octets of a captured frame to its layers. Whatever the octets are, this raises nothing and ends soon."""

import struct

from msgspec.structs import replace

from holdfast.base.address import Address, Mac, is_multicast
from holdfast.base.checksum import internet_checksum
from holdfast.bfd.packet import CONTROL_PORT, MULTIHOP_PORT, MalformedBfd, decode_bfd, refusal
from holdfast.carp.packet import checksum_is_valid, decode_carp, looks_like_carp
from holdfast.carp.packet import hmac_is_valid as carp_hmac_is_valid
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
from holdfast.dissect.pcap import COOKED, COOKED_2, ETHERNET
from holdfast.dissect.secrets import Secrets
from holdfast.vrrp.ah import AH_PROTOCOL, ah_bytes, decode_ah, icv_is_valid
from holdfast.vrrp.hmac_trailer import TRAILER_BYTES, decode_trailer, hmac_is_valid, hmac_pseudo_header
from holdfast.vrrp.packet import (
    ADVERTISEMENT,
    VRRP_PROTOCOL,
    Advert,
    ChecksumForm,
    Malformed,
    checksum_of,
    decode_vrrp,
    message_bytes,
)

IPV4, ARP, IPV6, VLAN, SERVICE_VLAN = 0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8
UDP_PROTOCOL, ICMPV6_PROTOCOL = 17, 58
NEIGHBOUR_ADVERT = 136
_MOST_TAGS = 2
_NO_SECRETS = Secrets()
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_LINK_ADDRESS_OPTION = 2


def dissect(link_type: int, octets: bytes, secrets: Secrets = _NO_SECRETS) -> Frame:
    """The layers of a frame of that LINKTYPE_; what is not VRRP, CARP, BFD, ARP or NA has kind `other`."""
    if link_type == ETHERNET:
        return _ethernet(octets, secrets)
    if link_type in (COOKED, COOKED_2):
        return _cooked(link_type, octets, secrets)
    version = octets[0] >> 4 if octets else 0
    ethertype = {4: IPV4, 6: IPV6}.get(version, 0)
    return _network(Frame(), ethertype, octets, secrets)


def _worse(frame: Frame, *problems: str) -> Frame:
    return replace(frame, problems=frame.problems + problems)


def _ethernet(octets: bytes, secrets: Secrets) -> Frame:
    if len(octets) < 14:
        return Frame(problems=(f"{len(octets)} octets are too few for an Ethernet frame",))
    position = 12
    vlans: list[int] = []
    ethertype = int.from_bytes(octets[12:14], "big")
    while ethertype in (VLAN, SERVICE_VLAN) and len(vlans) < _MOST_TAGS and len(octets) >= position + 6:
        vlans.append(int.from_bytes(octets[position + 2 : position + 4], "big") & 0x0FFF)
        position += 4
        ethertype = int.from_bytes(octets[position : position + 2], "big")
    link = Ethernet(destination=Mac(octets[:6]), source=Mac(octets[6:12]), ethertype=ethertype, vlans=tuple(vlans))
    return _network(Frame(ethernet=link), ethertype, octets[position + 2 :], secrets)


def _cooked(link_type: int, octets: bytes, secrets: Secrets) -> Frame:
    size = 16 if link_type == COOKED else 20
    if len(octets) < size:
        return Frame(problems=(f"{len(octets)} octets are too few for a cooked frame",))
    if link_type == COOKED:
        packet_type, arphrd, length, address, ethertype = struct.unpack_from("!HHH8sH", octets)
    else:
        ethertype, _, _, arphrd, packet_type, length, address = struct.unpack_from("!HHIHBB8s", octets)
    link = Cooked(
        version=1 if link_type == COOKED else 2,
        packet_type=packet_type,
        arphrd=arphrd,
        source=Mac(address[: min(length, 8)]),
        ethertype=ethertype,
    )
    return _network(Frame(cooked=link), ethertype, octets[size:], secrets)


def _network(frame: Frame, ethertype: int, octets: bytes, secrets: Secrets) -> Frame:
    if ethertype == IPV4:
        return _ipv4(frame, octets, secrets)
    if ethertype == IPV6:
        return _ipv6(frame, octets, secrets)
    if ethertype == ARP:
        return _arp(frame, octets)
    return frame


def _ipv4(frame: Frame, octets: bytes, secrets: Secrets) -> Frame:
    if len(octets) < 20:
        return _worse(frame, f"{len(octets)} octets are too few for an IPv4 header")
    first, tos, total, identification, flags, ttl, protocol, checksum, source, destination = _IPV4.unpack_from(octets)
    header_bytes = (first & 15) * 4
    if first >> 4 != 4 or header_bytes < 20 or len(octets) < header_bytes or total < header_bytes:
        return _worse(frame, "no IPv4 header")
    header = octets[:header_bytes]
    ip = Ipv4(
        ihl=first & 15,
        tos=tos,
        total_length=total,
        identification=identification,
        dont_fragment=bool(flags & 0x4000),
        fragment=bool(flags & 0x3FFF),
        ttl=ttl,
        protocol=protocol,
        header_checksum=checksum,
        header_checksum_ok=internet_checksum(header) == 0,
        source=Address(source),
        destination=Address(destination),
        options=header[20:],
    )
    frame = replace(frame, ipv4=ip)
    payload = octets[header_bytes:total]  # never the padding behind it
    whole = len(octets) >= total
    found = _transport(frame, protocol, header, payload, whole and not ip.fragment, secrets)
    if found.kind == "other":
        return frame
    if not ip.header_checksum_ok:
        found = _worse(found, "the IPv4 header checksum is wrong")
    if ip.fragment:
        return _worse(found, "a fragment: receivers drop it")
    return found if whole else _worse(found, f"cut off: {len(octets)} of {total} octets are there")


def _ipv6(frame: Frame, octets: bytes, secrets: Secrets) -> Frame:
    if len(octets) < 40:
        return _worse(frame, f"{len(octets)} octets are too few for an IPv6 header")
    first, length, next_header, hop_limit, source, destination = _IPV6.unpack_from(octets)
    if first >> 28 != 6:
        return _worse(frame, "no IPv6 header")
    ip = Ipv6(
        traffic_class=first >> 20 & 0xFF,
        flow_label=first & 0xFFFFF,
        payload_length=length,
        next_header=next_header,
        hop_limit=hop_limit,
        source=Address(source),
        destination=Address(destination),
    )
    frame = replace(frame, ipv6=ip)
    payload = octets[40 : 40 + length]
    whole = len(payload) == length
    found = _transport(frame, next_header, octets[:40], payload, whole, secrets)
    if found.kind == "other":
        return frame
    return found if whole else _worse(found, f"cut off: {40 + len(payload)} of {40 + length} octets are there")


def _transport(frame: Frame, protocol: int, header: bytes, payload: bytes, whole: bool, secrets: Secrets) -> Frame:
    """What the IP packet holds; a packet that is not whole is recognised, but not looked into."""
    if protocol == VRRP_PROTOCOL:
        return _vrrp_or_carp(frame, payload, secrets) if whole else replace(frame, kind="vrrp")
    if protocol == AH_PROTOCOL and frame.ipv4 and payload[:1] == bytes((VRRP_PROTOCOL,)):
        return _ah(frame, header, payload, secrets) if whole else replace(frame, kind="vrrp")
    if protocol == UDP_PROTOCOL:
        return _udp(frame, payload, whole)
    if protocol == ICMPV6_PROTOCOL and frame.ipv6 and payload[:1] == bytes((NEIGHBOUR_ADVERT,)):
        return _neighbour_advert(frame, payload) if whole else replace(frame, kind="na")
    return frame


def _ah(frame: Frame, ip_header: bytes, payload: bytes, secrets: Secrets) -> Frame:
    try:
        header = decode_ah(payload)
    except Malformed as wrong:
        return _worse(replace(frame, kind="vrrp"), str(wrong))
    message = payload[ah_bytes(header.payload_len) :]
    source, destination = frame.source, frame.destination
    assert source is not None
    assert destination is not None
    kept = zeroed = None
    if secrets.ah_key is not None:
        kept = icv_is_valid(secrets.ah_key, ip_header, header, message, keep_ttl=True)
        zeroed = icv_is_valid(secrets.ah_key, ip_header, header, message, keep_ttl=False)
    part = Authentication(
        header=header,
        spi_is_source=header.spi == int.from_bytes(source, "big"),
        valid_ttl_kept=kept,
        valid_ttl_zeroed=zeroed,
    )
    frame = _vrrp(replace(frame, ah=part), message, secrets)
    if not part.spi_is_source:
        frame = _worse(frame, "its SPI is not its source address")
    if kept is False and zeroed is False:
        frame = _worse(frame, "its ICV is wrong: another password, or the packet was changed on its way")
    elif kept is False and is_multicast(destination):
        frame = _worse(frame, "its ICV leaves the TTL out, which receivers of multicast adverts refuse")
    return frame


def _vrrp_or_carp(frame: Frame, payload: bytes, secrets: Secrets) -> Frame:
    return _carp(frame, payload, secrets) if looks_like_carp(payload) else _vrrp(frame, payload, secrets)


def _vrrp(frame: Frame, payload: bytes, secrets: Secrets) -> Frame:
    frame = replace(frame, kind="vrrp")
    source, destination = frame.source, frame.destination
    assert source is not None
    assert destination is not None
    ipv6 = frame.ipv6 is not None
    try:
        advert = decode_vrrp(payload, ipv6)
    except Malformed as wrong:
        return _worse(frame, str(wrong))
    length = message_bytes(advert.version, ipv6, len(advert.addresses))
    message, extra = payload[:length], payload[length:]
    part = Vrrp(
        advert=advert,
        message_bytes=length,
        covers=_covers(payload if ipv6 else message, advert.checksum, source, destination),
        extra=extra,
    )
    frame = replace(frame, vrrp=part)
    if len(extra) == TRAILER_BYTES and any(extra):
        frame = _hmac(replace(frame, vrrp=replace(part, extra=b"")), message, extra, source, secrets)
    elif extra:
        frame = _worse(frame, f"{len(extra)} octets too many behind the message")
    return _worse(frame, *_vrrp_problems(frame, advert, part.covers, secrets))


def _covers(message: bytes, checksum: int, source: Address, destination: Address) -> ChecksumForm | None:
    """Which form of the checksum fits; the first of those that do."""
    plain = message[0] >> 4 == 2 and len(source) == 4
    forms = (ChecksumForm.MESSAGE_ONLY,) if plain else tuple(ChecksumForm)
    if len(source) == 16:
        forms = (ChecksumForm.PSEUDO_HEADER,)
    for form in forms:
        should = checksum_of(message, source, destination, form)
        if checksum == should or {checksum, should} == {0, 0xFFFF}:  # the two zeros of one's complement
            return form
    return None


def _vrrp_problems(frame: Frame, advert: Advert, covers: ChecksumForm | None, secrets: Secrets) -> list[str]:
    problems = []
    if advert.type != ADVERTISEMENT:
        problems.append(f"type {advert.type} is no advertisement")
    if covers is None:
        problems.append("its checksum is wrong")
    multicast = frame.destination is not None and is_multicast(frame.destination)
    if multicast and frame.ttl != 255:
        problems.append(f"TTL {frame.ttl} instead of 255: receivers drop it")
    if advert.vrid == 0:
        problems.append("VRID 0 is no virtual router")
    if not advert.addresses:
        problems.append("no virtual address in it")
    if advert.adver_interval_ns == 0:
        problems.append("its interval is 0")
    if advert.version == 2 and advert.auth_type > 2:
        problems.append(f"authentication type {advert.auth_type} is unknown")
    if advert.version == 2 and advert.auth_type == 2 and frame.ah is None:
        problems.append("it says AH and has no authentication header")
    if frame.ah is not None and (advert.version != 2 or advert.auth_type != 2):
        problems.append("an authentication header around a message that doesn't say so")
    expected = None if secrets.auth_pass is None else secrets.auth_pass[:8].ljust(8, b"\0")
    if advert.auth_type == 1 and advert.auth_data and expected not in (None, advert.auth_data):
        problems.append("its password is another one")
    return problems


def _hmac(frame: Frame, message: bytes, octets: bytes, source: Address, secrets: Secrets) -> Frame:
    trailer = decode_trailer(octets)
    keys = [key for number, key in secrets.hmac_keys if number == trailer.key_id]
    fitting = next((key for key in keys if hmac_is_valid(key, message, trailer, source)), None)
    valid = (fitting is not None) if keys else None
    pseudo = hmac_pseudo_header(message[0] >> 4, message[1], source)
    frame = replace(frame, hmac=Hmac(trailer=trailer, pseudo_header=pseudo, valid=valid, key=fitting))
    if not trailer.well_formed:
        return _worse(frame, "its authentication trailer is malformed")
    if valid is False:
        return _worse(frame, f"its HMAC is wrong for key {trailer.key_id}")
    if secrets.hmac_keys and not keys:
        return _worse(frame, f"key {trailer.key_id} of its HMAC is not among the secrets")
    return frame


def _carp(frame: Frame, payload: bytes, secrets: Secrets) -> Frame:
    advert = decode_carp(payload)
    valid = None
    if secrets.carp_password is not None and secrets.carp_addresses:
        valid = carp_hmac_is_valid(advert, secrets.carp_password, secrets.carp_addresses)
    part = Carp(advert=advert, checksum_ok=checksum_is_valid(payload), hmac_valid=valid)
    frame = replace(frame, kind="carp", carp=part)
    if not part.checksum_ok:
        frame = _worse(frame, "its checksum is wrong")
    if frame.ttl != 255:
        frame = _worse(frame, f"TTL {frame.ttl} instead of 255: receivers drop it")
    if valid is False:
        frame = _worse(frame, "its HMAC is wrong: another password, vhid or virtual address")
    return frame


def _pseudo(frame: Frame, length: int, protocol: int) -> bytes:
    source, destination = frame.source or b"", frame.destination or b""
    if len(source) == 16:
        return source + destination + struct.pack("!IBBBB", length, 0, 0, 0, protocol)
    return source + destination + struct.pack("!BBH", 0, protocol, length)


def _udp(frame: Frame, payload: bytes, whole: bool) -> Frame:
    if len(payload) < 8:
        return frame
    source_port, destination_port, length, checksum = struct.unpack_from("!HHHH", payload)
    if destination_port not in (CONTROL_PORT, MULTIHOP_PORT):
        return frame
    frame = replace(frame, kind="bfd")
    if not whole:
        return frame
    datagram = payload[:length]
    none = checksum == 0 and frame.ipv4 is not None
    pseudo = _pseudo(frame, length, UDP_PROTOCOL)
    right = none or (checksum != 0 and internet_checksum(pseudo + datagram) == 0)
    # captured on the sender, before its network card has finished the sum that Linux began
    offloaded = checksum == internet_checksum(pseudo) ^ 0xFFFF
    part = Udp(
        source_port=source_port,
        destination_port=destination_port,
        length=length,
        checksum=checksum,
        checksum_ok=right,
    )
    frame = replace(frame, udp=part)
    if length < 8 or length > len(payload):
        return _worse(frame, f"UDP length {length} in {len(payload)} octets")
    try:
        packet = decode_bfd(datagram[8:])
    except MalformedBfd as wrong:
        return _worse(frame, str(wrong))
    frame = replace(frame, bfd=packet)
    if not right and not offloaded:
        frame = _worse(frame, "its UDP checksum is wrong")
    if destination_port == CONTROL_PORT and frame.ttl != 255:
        frame = _worse(frame, f"TTL {frame.ttl} instead of 255: who keeps to RFC 5881 drops it")
    refused = refusal(packet, length - 8)
    return _worse(frame, refused) if refused else frame


def _arp(frame: Frame, octets: bytes) -> Frame:
    frame = replace(frame, kind="arp")
    if len(octets) < 28:
        return _worse(frame, f"{len(octets)} octets are too few for an ARP message")
    hardware, protocol, hlen, plen, opcode, sender_mac, sender, target_mac, target = _ARP.unpack_from(octets)
    if (hardware, protocol, hlen, plen) != (1, IPV4, 6, 4):
        return replace(frame, kind="other")
    part = Arp(
        opcode=opcode,
        sender_mac=Mac(sender_mac),
        sender_address=Address(sender),
        target_mac=Mac(target_mac),
        target_address=Address(target),
    )
    frame = replace(frame, arp=part, kind="garp" if part.gratuitous else "arp")
    outside = frame.source_mac
    if outside and outside != part.sender_mac:
        frame = _worse(frame, f"it names {part.sender_mac.hex(':')} and comes from {outside.hex(':')}")
    return frame


def _neighbour_advert(frame: Frame, payload: bytes) -> Frame:
    frame = replace(frame, kind="na")
    if len(payload) < 24:
        return _worse(frame, f"{len(payload)} octets are too few for a neighbour advertisement")
    part = NeighbourAdvert(
        code=payload[1],
        checksum=payload[2] << 8 | payload[3],
        checksum_ok=internet_checksum(_pseudo(frame, len(payload), ICMPV6_PROTOCOL) + payload) == 0,
        router=bool(payload[4] & 0x80),
        solicited=bool(payload[4] & 0x40),
        override=bool(payload[4] & 0x20),
        target=Address(bytes(payload[8:24])),
        link_address=_link_address(payload),
    )
    frame = replace(frame, na=part)
    if not part.checksum_ok:
        frame = _worse(frame, "its checksum is wrong")
    return frame if frame.ttl == 255 else _worse(frame, f"hop limit {frame.ttl} instead of 255: receivers drop it")


def _link_address(payload: bytes) -> Mac | None:
    position = 24
    while position + 8 <= len(payload):
        units = payload[position + 1]
        if units == 0:
            return None
        if payload[position] == _LINK_ADDRESS_OPTION and units == 1:
            return Mac(bytes(payload[position + 2 : position + 8]))
        position += units * 8
    return None
