"""Which received packets a session may look at (RFC 5880 §6.8.6, RFC 5881 §5), in the order in which it is asked.

Stricter than the RFC in three things, like the reference: octets behind `length`, P and F in one packet, and a
diagnostic that RFC 5880 does not define.
"""

from holdfast.bfd.config import SessionConfig
from holdfast.bfd.messages import Refusal
from holdfast.bfd.packet import CONTROL_BYTES, DIAGNOSTICS, BfdState, ControlPacket


def malformed(packet: ControlPacket, payload_bytes: int) -> Refusal | None:
    """What is wrong with a packet whatever its session; `payload_bytes`: the UDP payload it came in."""
    if packet.version != 1:
        return Refusal.VERSION
    if packet.length < (CONTROL_BYTES + 2 if packet.auth_present else CONTROL_BYTES) or packet.length != payload_bytes:
        return Refusal.LENGTH
    if packet.detect_mult == 0:
        return Refusal.MULTIPLIER
    if packet.multipoint:
        return Refusal.MULTIPOINT
    if packet.my_discriminator == 0:
        return Refusal.DISCRIMINATOR
    if packet.your_discriminator == 0 and packet.state not in (BfdState.DOWN, BfdState.ADMIN_DOWN):
        return Refusal.DISCRIMINATOR
    if packet.auth_present:
        return Refusal.AUTHENTICATION  # no session of ours authenticates
    if packet.poll and packet.final:
        return Refusal.POLL_AND_FINAL
    return Refusal.DIAGNOSTIC if packet.diag >= len(DIAGNOSTICS) else None


def too_far(config: SessionConfig, ttl: int) -> bool:
    """Whether a packet of this TTL came over more hops than the session allows (RFC 5082); 0: not known."""
    return ttl < config.least_ttl
