"""The layers of a frame, as they stand on the wire, with a verdict where one can be given."""

import msgspec

from holdfast.base.address import Address, Mac
from holdfast.bfd.packet import ControlPacket
from holdfast.carp.packet import CarpAdvert
from holdfast.vrrp.ah import AuthenticationHeader
from holdfast.vrrp.hmac_trailer import Trailer
from holdfast.vrrp.packet import Advert, ChecksumForm


class Ethernet(msgspec.Struct, frozen=True, kw_only=True):
    """An Ethernet II header; `vlans` are the 802.1Q tags, outermost first, `ethertype` what is behind them."""

    destination: Mac
    source: Mac
    ethertype: int
    vlans: tuple[int, ...] = ()


class Cooked(msgspec.Struct, frozen=True, kw_only=True):
    """What Linux keeps of a link-layer header when it captures on "any"; `version` 1 or 2."""

    version: int
    packet_type: int  # 0 to us, 1 broadcast, 2 multicast, 3 to somebody else, 4 from us
    arphrd: int
    source: Mac
    ethertype: int


class Ipv4(msgspec.Struct, frozen=True, kw_only=True):
    """An IPv4 header. `fragment`: more fragments follow, or this is not the first."""

    ihl: int
    tos: int
    total_length: int
    identification: int
    dont_fragment: bool
    fragment: bool
    ttl: int
    protocol: int
    header_checksum: int
    header_checksum_ok: bool
    source: Address
    destination: Address
    options: bytes = b""


class Ipv6(msgspec.Struct, frozen=True, kw_only=True):
    """An IPv6 header."""

    traffic_class: int
    flow_label: int
    payload_length: int
    next_header: int
    hop_limit: int
    source: Address
    destination: Address


class Authentication(msgspec.Struct, frozen=True, kw_only=True):
    """An authentication header; the verdicts are None without the key."""

    header: AuthenticationHeader
    spi_is_source: bool
    valid_ttl_kept: bool | None = None
    valid_ttl_zeroed: bool | None = None


class Vrrp(msgspec.Struct, frozen=True, kw_only=True):
    """A VRRP message; `covers` is None when no form of the checksum fits. `extra`: octets behind the message."""

    advert: Advert
    message_bytes: int
    covers: ChecksumForm | None
    extra: bytes = b""


class Hmac(msgspec.Struct, frozen=True, kw_only=True):
    """An auth_hmac trailer; `valid` is None without a key of its id, `key` the one that fits."""

    trailer: Trailer
    pseudo_header: bytes
    valid: bool | None = None
    key: bytes | None = None


class Carp(msgspec.Struct, frozen=True, kw_only=True):
    """A CARP advert; `hmac_valid` is None without the password and the addresses."""

    advert: CarpAdvert
    checksum_ok: bool
    hmac_valid: bool | None = None


class Udp(msgspec.Struct, frozen=True, kw_only=True):
    """A UDP header; a checksum of 0 over IPv4 means none and is fine."""

    source_port: int
    destination_port: int
    length: int
    checksum: int
    checksum_ok: bool


class Arp(msgspec.Struct, frozen=True, kw_only=True):
    """An ARP message for IPv4 over Ethernet."""

    opcode: int
    sender_mac: Mac
    sender_address: Address
    target_mac: Mac
    target_address: Address

    @property
    def gratuitous(self) -> bool:
        """Whether it asks for, or answers, the sender's own address (RFC 5227 §3)."""
        return self.sender_address == self.target_address


class NeighbourAdvert(msgspec.Struct, frozen=True, kw_only=True):
    """An ICMPv6 neighbour advertisement (RFC 4861 §4.4); `link_address`: its target link-layer option, if any."""

    code: int
    checksum: int
    checksum_ok: bool
    router: bool
    solicited: bool
    override: bool
    target: Address
    link_address: Mac | None = None


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """A frame, as far as it is understood. `kind`: vrrp, carp, bfd, garp, arp, na or other.

    `problems` says in words what is wrong with it: damage, checksums, a TTL that receivers refuse, authentication.
    """

    kind: str = "other"
    ethernet: Ethernet | None = None
    cooked: Cooked | None = None
    ipv4: Ipv4 | None = None
    ipv6: Ipv6 | None = None
    ah: Authentication | None = None
    vrrp: Vrrp | None = None
    hmac: Hmac | None = None
    carp: Carp | None = None
    udp: Udp | None = None
    bfd: ControlPacket | None = None
    arp: Arp | None = None
    na: NeighbourAdvert | None = None
    problems: tuple[str, ...] = ()

    @property
    def source(self) -> Address | None:
        """The sender's IP address."""
        ip = self.ipv4 or self.ipv6
        return ip.source if ip else None

    @property
    def destination(self) -> Address | None:
        """The IP address it was sent to."""
        ip = self.ipv4 or self.ipv6
        return ip.destination if ip else None

    @property
    def ttl(self) -> int | None:
        """The TTL, or the hop limit."""
        return self.ipv4.ttl if self.ipv4 else self.ipv6.hop_limit if self.ipv6 else None

    @property
    def source_mac(self) -> Mac | None:
        """The sender's link-layer address, where the capture has it."""
        link = self.ethernet or self.cooked
        return link.source if link else None
