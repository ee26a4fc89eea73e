"""The kernel's virtual server table in plain values: what is wanted, what is there, and what turns one into the other.

Numbers are the kernel's own (linux/ip_vs.h), so that reading the table back gives values that compare equal.
"""

from enum import IntEnum, IntFlag
from typing import TypeAlias

import msgspec

from holdfast.base.address import Address, text

INET, INET6 = 2, 10
"""Address families as the kernel counts them."""

HOST_MASK = {INET: 0xFFFFFFFF, INET6: 128}
"""The persistence mask that takes each client for itself: IPv4 a mask, IPv6 a prefix length."""

PROTOCOL_NAMES = {6: "tcp", 17: "udp", 132: "sctp"}
PROTOCOL_NUMBERS = {name: number for number, name in PROTOCOL_NAMES.items()}


class Method(IntEnum):
    """How a packet reaches the server (IP_VS_CONN_F_FWD_MASK)."""

    NAT = 0
    LOCAL = 1
    TUN = 2
    DR = 3
    BYPASS = 4


class TunnelType(IntEnum):
    """What a tunnelled packet is wrapped in (IP_VS_CONN_F_TUNNEL_TYPE_…)."""

    IPIP = 0
    GUE = 1
    GRE = 2


class TunnelFlags(IntEnum):
    """Checksums of the wrapping (IP_VS_TUNNEL_ENCAP_FLAG_…)."""

    NOCSUM = 0
    CSUM = 1
    REMCSUM = 2


class ServiceFlags(IntFlag):
    """Flags of a service (IP_VS_SVC_F_…); what SCHED1 and SCHED2 mean is the scheduler's affair."""

    PERSISTENT = 0x1
    HASHED = 0x2  # the kernel's own: it is in the table
    ONE_PACKET = 0x4
    SCHED1 = 0x8  # sh-fallback, mh-fallback
    SCHED2 = 0x10  # sh-port, mh-port
    SCHED3 = 0x20


SETTABLE = int(~ServiceFlags.HASHED & 0x3F)
"""The flags that are the operator's."""


class Forwarding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`lvs_method`: the method and, for TUN, its wrapping. `tunnel_port` is GUE's UDP port."""

    method: int = Method.NAT
    tunnel_type: int = TunnelType.IPIP
    tunnel_port: int = 0
    tunnel_flags: int = TunnelFlags.NOCSUM

    @property
    def name(self) -> str:
        """`NAT`, `DR` or `TUN`."""
        return Method(self.method).name


class ServiceKey(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What makes a service that one: protocol, address and port, or a packet mark (then protocol and port are 0)."""

    family: int
    protocol: int = 0
    address: bytes = b""
    port: int = 0
    fwmark: int = 0

    def text(self) -> str:
        """`tcp 192.0.2.1:80`, `udp [2001:db8::1]:53`, `fwmark 3 inet6`."""
        if not self.address:
            return f"fwmark {self.fwmark} {'inet6' if self.family == INET6 else 'inet'}"
        protocol = PROTOCOL_NAMES.get(self.protocol, str(self.protocol))
        return f"{protocol} {endpoint_text(self.address, self.port)}"


class Service(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What can be changed of a service. `netmask` as HOST_MASK; `flags` are ServiceFlags without HASHED."""

    scheduler: str
    flags: int = 0
    timeout_s: int = 0  # of persistence
    netmask: int = HOST_MASK[INET]
    engine: str = ""


class DestinationKey(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Which server of a service: address (4 or 16 octets, its family follows) and port (0: the service's)."""

    address: bytes
    port: int = 0

    def text(self) -> str:
        """`192.0.2.1:80`."""
        return endpoint_text(self.address, self.port)


class Destination(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What can be changed of a server: its weight, how it is reached, and the numbers of connections it may have."""

    weight: int = 1
    forwarding: Forwarding = Forwarding()
    upper_threshold: int = 0
    lower_threshold: int = 0


Destinations: TypeAlias = dict[DestinationKey, Destination]


class Pool(msgspec.Struct, frozen=True, gc=False):
    """A service with its servers."""

    service: Service
    destinations: Destinations


Table: TypeAlias = dict[ServiceKey, Pool]


class Action(IntEnum):
    """What is done to the table, with the kernel's number for it (IPVS_CMD_…)."""

    NEW_SERVICE = 1
    SET_SERVICE = 2
    DELETE_SERVICE = 3
    NEW_DESTINATION = 5
    SET_DESTINATION = 6
    DELETE_DESTINATION = 7


class Operation(msgspec.Struct, frozen=True, gc=False):
    """One step. `service` goes with the first two actions, `destination` with NEW_ and SET_DESTINATION."""

    action: Action
    key: ServiceKey
    service: Service | None = None
    destination_key: DestinationKey | None = None
    destination: Destination | None = None

    def text(self) -> str:
        """As an operator would say it: `add real server 192.0.2.7:80 to tcp 192.0.2.1:80`."""
        verb, noun, joins = _WORDS[self.action]
        if self.destination_key is None:
            return f"{verb} {noun} {self.key.text()}"
        return f"{verb} {noun} {self.destination_key.text()} {joins} {self.key.text()}"


_WORDS = {
    Action.NEW_SERVICE: ("add", "virtual server", ""),
    Action.SET_SERVICE: ("change", "virtual server", ""),
    Action.DELETE_SERVICE: ("remove", "virtual server", ""),
    Action.NEW_DESTINATION: ("add", "real server", "to"),
    Action.SET_DESTINATION: ("change", "real server", "of"),
    Action.DELETE_DESTINATION: ("remove", "real server", "from"),
}


class Counts(msgspec.Struct, frozen=True, gc=False):
    """What the kernel counted: connections, packets and octets since the start; connections now (of a server)."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    active: int = 0
    inactive: int = 0
    persistent: int = 0


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Idle connections are forgotten after so many seconds; 0 leaves a value as it is."""

    tcp_s: int = 0
    tcp_fin_s: int = 0
    udp_s: int = 0


class SyncRole(IntEnum):
    """Which end of the connection synchronisation (IP_VS_STATE_…)."""

    MASTER = 1
    BACKUP = 2


class SyncDaemon(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The kernel's connection synchronisation; zeros and None leave the choice to the kernel."""

    interface: str
    sync_id: int = 0
    max_bytes: int = 0
    port: int = 0
    ttl: int = 0
    group: Address | None = None


def endpoint_text(address: bytes, port: int) -> str:
    """`192.0.2.1:80`, `[2001:db8::1]:80`."""
    shown = text(Address(address))
    return f"[{shown}]:{port}" if len(address) == 16 else f"{shown}:{port}"
