"""BFD control packets on the wire, both directions (RFC 5880 §4.1), and the checks that need no session (§6.8.6)."""

import struct
from enum import IntEnum

import msgspec

from holdfast.base.time import MICROSECOND, Nanoseconds

CONTROL_PORT, ECHO_PORT, MULTIHOP_PORT = 3784, 3785, 4784
CONTROL_BYTES = 24
_POLL, _FINAL, _INDEPENDENT, _AUTH, _DEMAND, _MULTIPOINT = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01
_FORMAT = struct.Struct("!BBBBIIIII")


class BfdState(IntEnum):
    """bfd.SessionState, with the value it has on the wire (RFC 5880 §4.1)."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3

    @property
    def word(self) -> str:
        """As the RFC writes it: `AdminDown`, `Down`, `Init`, `Up`."""
        return ("AdminDown", "Down", "Init", "Up")[self]


DIAGNOSTICS = (
    "no diagnostic",
    "control detection time expired",
    "echo function failed",
    "neighbour signalled session down",
    "forwarding plane reset",
    "path down",
    "concatenated path down",
    "administratively down",
    "reverse concatenated path down",
)
"""The words for bfd.LocalDiag, by its value."""


class MalformedBfd(ValueError):
    """Octets that are no control packet; the text says what is wrong with them."""


class ControlPacket(msgspec.Struct, frozen=True, kw_only=True):
    """One control packet. Intervals are microseconds, as on the wire."""

    state: BfdState
    detect_mult: int
    my_discriminator: int
    your_discriminator: int
    desired_min_tx_us: int
    required_min_rx_us: int
    required_min_echo_rx_us: int = 0
    diag: int = 0
    poll: bool = False
    final: bool = False
    control_plane_independent: bool = False
    auth_present: bool = False
    demand: bool = False
    multipoint: bool = False
    version: int = 1
    length: int = CONTROL_BYTES
    authentication: bytes = b""  # the section behind the 24 octets, as far as `length` reaches

    @property
    def desired_min_tx_ns(self) -> Nanoseconds:
        """How often the sender would like to send."""
        return self.desired_min_tx_us * MICROSECOND

    @property
    def required_min_rx_ns(self) -> Nanoseconds:
        """How often the sender is able to receive; 0: it wants no regular packets."""
        return self.required_min_rx_us * MICROSECOND


def encode_bfd(packet: ControlPacket) -> bytes:
    """The octets of a control packet."""
    flags = (
        (packet.poll and _POLL)
        | (packet.final and _FINAL)
        | (packet.control_plane_independent and _INDEPENDENT)
        | (packet.auth_present and _AUTH)
        | (packet.demand and _DEMAND)
        | (packet.multipoint and _MULTIPOINT)
    )
    fixed = (packet.version << 5 | packet.diag, packet.state << 6 | flags, packet.detect_mult, packet.length)
    discriminators = (packet.my_discriminator, packet.your_discriminator)
    intervals = (packet.desired_min_tx_us, packet.required_min_rx_us, packet.required_min_echo_rx_us)
    return _FORMAT.pack(*fixed, *discriminators, *intervals) + packet.authentication


def decode_bfd(octets: bytes) -> ControlPacket:
    """The control packet at the beginning of `octets`, valid or not; MalformedBfd when they are fewer than 24."""
    if len(octets) < CONTROL_BYTES:
        raise MalformedBfd(f"too short for a BFD control packet: {len(octets)} octets of {CONTROL_BYTES}")
    first, second, detect_mult, length, mine, yours, min_tx, min_rx, min_echo_rx = _FORMAT.unpack_from(octets)
    return ControlPacket(
        state=BfdState(second >> 6),
        detect_mult=detect_mult,
        my_discriminator=mine,
        your_discriminator=yours,
        desired_min_tx_us=min_tx,
        required_min_rx_us=min_rx,
        required_min_echo_rx_us=min_echo_rx,
        diag=first & 31,
        poll=bool(second & _POLL),
        final=bool(second & _FINAL),
        control_plane_independent=bool(second & _INDEPENDENT),
        auth_present=bool(second & _AUTH),
        demand=bool(second & _DEMAND),
        multipoint=bool(second & _MULTIPOINT),
        version=first >> 5,
        length=length,
        authentication=bytes(octets[CONTROL_BYTES:length]),
    )


def refusal(packet: ControlPacket, payload_bytes: int) -> str:
    """Why a receiver must discard it, whatever its sessions (RFC 5880 §6.8.6); "" when it needn't.

    `payload_bytes`: the length of the UDP payload it came in.
    """
    if packet.version != 1:
        return f"BFD version {packet.version} is not 1"
    need = CONTROL_BYTES + 2 if packet.auth_present else CONTROL_BYTES
    if packet.length < need:
        return f"length {packet.length} is below {need}"
    if packet.length > payload_bytes:
        return f"length {packet.length} is above the {payload_bytes} octets there are"
    if packet.detect_mult == 0:
        return "detect multiplier 0"
    if packet.multipoint:
        return "the multipoint bit is set"
    if packet.my_discriminator == 0:
        return "my discriminator is 0"
    if packet.your_discriminator == 0 and packet.state not in (BfdState.DOWN, BfdState.ADMIN_DOWN):
        return f"your discriminator is 0 in state {packet.state.word}"
    return ""
