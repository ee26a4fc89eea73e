"""AH and `auth_hmac` in the simulated world: real keys and digests, without numbers and clocks.

There every advert of a router is the same frame, which is why nothing is refused as a replay.
"""

from holdfast.base.address import Address
from holdfast.carp.guard import CarpGuard
from holdfast.vrrp.config import AuthType, InstanceConfig
from holdfast.vrrp.guard import AhGuard, HmacGuard
from holdfast.vrrp.receive import Guard, PacketRejected, ReceivedPacket


class _Ah(AhGuard):
    def judge(self, packet: ReceivedPacket, said: int, remarks: list[str]) -> PacketRejected | None:
        self.number = 0
        return super().judge(packet, said, remarks)


class _Hmac(HmacGuard):
    def _grows(self, source: Address, sequence: int, now_s: int) -> bool:
        return True


class _Carp(CarpGuard):
    def configure(self, config: InstanceConfig) -> None:
        super().configure(config)
        self._anti_replay = False


def seal_guard(config: InstanceConfig) -> Guard:
    """What judges the adverts an instance hears."""
    if config.carp is not None:
        return _Carp(config)
    return _Hmac(config) if config.auth_hmac is not None else _Ah(config)


def sealed(
    config: InstanceConfig, message: bytes, source: Address, target: Address, hops: int
) -> tuple[bytes, bytes, bytes]:
    """The message as the instance sends it, with the IP header and the Authentication Header before it, if any."""
    guard = seal_guard(config)
    packet = bytearray(guard.enclose(message, source, target, hops))
    guard.renew([memoryview(packet)], 0)
    start = 20 if len(source) == 4 else 0
    begins = len(packet) - len(message) if config.auth_type is AuthType.AH else start
    return bytes(packet[begins:]), bytes(packet[:start]), bytes(packet[start:begins])
