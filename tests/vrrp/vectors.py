"""Adverts as keepalived 2.2.7, keepalived 2.4.3 and FRR 8.4.4 put them on a wire, one a line in vectors.json."""

from pathlib import Path

import msgspec

from holdfast.base.address import Address, is_multicast, parse
from holdfast.vrrp.config import AuthType, Family, InstanceConfig, UnicastPeer, VirtualAddress
from holdfast.vrrp.packet import Advert, ChecksumForm
from holdfast.vrrp.receive import ReceivedPacket

HERE = Path(__file__).parent


class Vector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One packet (`hex` begins with the IP header) and its fields as an independent decoder read them."""

    name: str
    hex: str
    source: str
    destination: str
    ttl: int
    version: int
    vrid: int
    priority: int
    addresses: list[str]
    checksum: int
    covers: ChecksumForm
    tos: int = 0
    identification: int = 0
    df: bool = False
    interval_s: int = 0
    interval_cs: int = 0
    auth_type: int = 0
    auth: str = ""

    @property
    def packet(self) -> bytes:
        """The whole IP packet."""
        return bytes.fromhex(self.hex)

    @property
    def ipv6(self) -> bool:
        """Whether it is an IPv6 packet."""
        return ":" in self.source

    @property
    def message(self) -> bytes:
        """The VRRP message in it."""
        return self.packet[40 if self.ipv6 else 20 :]

    @property
    def adver_interval_ns(self) -> int:
        """The interval, from whichever unit the version has."""
        return self.interval_s * 1_000_000_000 if self.version == 2 else self.interval_cs * 10_000_000

    @property
    def advert(self) -> Advert:
        """What `decode_vrrp` must make of it."""
        return Advert(
            version=self.version,
            vrid=self.vrid,
            priority=self.priority,
            addresses=tuple(parse(address) for address in self.addresses),
            adver_interval_ns=self.adver_interval_ns,
            auth_type=self.auth_type,
            auth_data=bytes.fromhex(self.auth) if self.version == 2 else bytes(8),
            checksum=self.checksum,
        )

    @property
    def config(self) -> InstanceConfig:
        """An instance that speaks as the sender does and hears it."""
        to = parse(self.destination)
        multicast = is_multicast(to)
        return InstanceConfig(
            name="VI",
            vrid=self.vrid,
            interface="eth0",
            family=Family.IPV6 if self.ipv6 else Family.IPV4,
            version=self.version,
            addresses=tuple(VirtualAddress(address=parse(one), prefix_length=24) for one in self.addresses),
            adver_interval_ns=self.adver_interval_ns,
            group=to if multicast else None,
            unicast_peers=() if multicast else (UnicastPeer(address=parse(self.source)),),
            auth_type=AuthType(self.auth_type),
            auth_pass=bytes.fromhex(self.auth) if self.auth_type == AuthType.PASS else b"",
        )

    def received(self, payload: bytes | None = None) -> ReceivedPacket:
        """The packet as the socket hands it over, or another payload in its place."""
        return received(self.packet, payload)


def received(packet: bytes, payload: bytes | None = None) -> ReceivedPacket:
    """What the socket layer makes of an IP packet: the payload ends where the IP header says."""
    if packet[0] >> 4 == 6:
        source, destination, ttl = packet[8:24], packet[24:40], packet[7]
        carried = packet[40 : 40 + int.from_bytes(packet[4:6], "big")]
        family = Family.IPV6
    else:
        source, destination, ttl = packet[12:16], packet[16:20], packet[8]
        carried = packet[20 : int.from_bytes(packet[2:4], "big")]
        family = Family.IPV4
    return ReceivedPacket(
        source=Address(source),
        destination=Address(destination),
        ttl=ttl,
        payload=carried if payload is None else payload,
        family=family,
    )


VECTORS = msgspec.json.decode((HERE / "vectors.json").read_bytes(), type=list[Vector])
