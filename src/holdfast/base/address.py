"""IP and link-layer addresses as packed bytes: comparing bytes is the protocol's tie-break (RFC 9568 §6.4.3)."""

import socket
from typing import NewType

Address = NewType("Address", bytes)
"""An IPv4 (4 bytes) or IPv6 (16 bytes) address in network order."""

Mac = NewType("Mac", bytes)
"""A link-layer address, 6 bytes."""

VRRP_GROUP_4 = Address(bytes((224, 0, 0, 18)))
VRRP_GROUP_6 = Address(bytes.fromhex("ff020000000000000000000000000012"))


def parse(text: str) -> Address:
    """The address written in `text`; ValueError when it is neither IPv4 nor IPv6 in numeric form."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return Address(socket.inet_pton(family, text))
    except (OSError, UnicodeError, ValueError):
        raise ValueError(f"{text!r} is not a numeric IPv4 or IPv6 address") from None


def text(address: Address) -> str:
    """The usual notation of `address` (RFC 5952 for IPv6)."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def is_link_local(address: Address) -> bool:
    """Whether `address` is an IPv6 link-local address (fe80::/10)."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80


def is_multicast(address: Address) -> bool:
    """Whether `address` is a group address (224.0.0.0/4, ff00::/8)."""
    return address[0] & 0xF0 == 0xE0 if len(address) == 4 else address[0] == 0xFF


def mac_text(mac: Mac) -> str:
    """`mac` as `02:00:5e:…`, lower case."""
    return mac.hex(":")
