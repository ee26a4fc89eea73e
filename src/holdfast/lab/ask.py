"""Who answers for an address: an ARP request or a neighbour solicitation, and every answer that comes.

Two owners show as two answers: the evidence that "exactly one master" asks for.
"""

import socket
import struct
import time

from holdfast.base import address
from holdfast.base.checksum import internet_checksum
from holdfast.lab.capture import Capture, tap_here
from holdfast.lab.hosts import Host


def who_answers(client: Host, target: str, seconds: float = 0.05, interface: str = "eth0") -> set[str]:
    """The link-layer addresses that answer `client` for `target` within `seconds`."""
    wanted = address.parse(target)
    with client.inside():
        tap = tap_here()
    capture = Capture(tap, interface)
    try:
        tap.send(_arp_request(client, wanted) if len(wanted) == 4 else _solicitation(client, wanted))
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            capture.wait(left)
            capture.drain()
        return {mac for frame in capture.frames if (mac := _answer(frame.octets, wanted)) is not None}
    finally:
        capture.close()


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _arp_request(client: Host, wanted: address.Address) -> bytes:
    mac = _octets(client.mac)
    head = b"\xff" * 6 + mac + b"\x08\x06"
    return head + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + address.parse(client.ip4) + bytes(6) + wanted


def _solicitation(client: Host, wanted: address.Address) -> bytes:
    mac, source = _octets(client.mac), address.parse(client.link_local)
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + wanted[13:]
    body = b"\x87\0\0\0" + bytes(4) + wanted + b"\x01\x01" + mac
    checksum = internet_checksum(source + group + struct.pack("!II", len(body), 58) + body)
    body = body[:2] + struct.pack("!H", checksum) + body[4:]
    header = struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + source + group
    return b"\x33\x33" + group[12:] + mac + b"\x86\xdd" + header + body


def _answer(octets: bytes, wanted: address.Address) -> str | None:
    if octets[12:14] == b"\x08\x06" and octets[20:22] == b"\x00\x02" and octets[28:32] == wanted:
        return octets[22:28].hex(":")
    if octets[12:14] == b"\x86\xdd" and octets[20] == 58 and octets[54] == 136 and octets[62:78] == wanted:
        if octets[80:82] == b"\x02\x01":
            return octets[80 + 2 : 88].hex(":")
        return octets[6:12].hex(":")
    return None
