"""What AH and `auth_hmac` remember: numbers sent and taken, through replays, clock steps and changes of keys."""

from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.base.address import Address, parse
from holdfast.vrrp.ah import decode_ah, encode_ah, icv_of
from holdfast.vrrp.config import AuthHmac, AuthMode, AuthType, Family, HmacKey, InstanceConfig, UnicastPeer
from holdfast.vrrp.guard import AhGuard, HmacGuard, fits, make_guard
from holdfast.vrrp.hmac_trailer import TRAILER_BYTES, decode_trailer
from holdfast.vrrp.packet import encode_vrrp
from holdfast.vrrp.receive import (
    Guard,
    PacketRejected,
    ReceivedPacket,
    ReceiveRules,
    RejectReason,
    receive,
    said_bytes,
)
from tests.vrrp.test_receive import OURS, PEER, SAID_2, SAID_3, STRANGER, UNICAST, V2, V3, V6, but

SECOND = 1_000_000_000
NOON = 1_795_000_000 * SECOND
KEY_1, KEY_2 = HmacKey(id=1, secret=bytes(range(32))), HmacKey(id=2, secret=bytes(range(40)))


def signed(config: InstanceConfig, *keys: HmacKey, **more: Any) -> InstanceConfig:
    """The instance with `auth_hmac`, signing with the first key."""
    keys = keys or (KEY_1,)
    return but(config, auth_hmac=AuthHmac(keys=keys, active_key=keys[0].id, **more))


AH = but(V2, auth_type=AuthType.AH, auth_pass=b"ahkey\0\0\0")


class Router:
    """One router: what it sends, and what it makes of what others send."""

    def __init__(self, config: InstanceConfig, address: Address = OURS) -> None:
        self.config, self.address = config, address
        self.guard: Guard = make_guard(config)

    def becomes(self, config: InstanceConfig) -> None:
        """A reload."""
        self.config = config
        self.guard.configure(config)

    def says(self, wall_ns: int = NOON) -> ReceivedPacket:
        """Its next advert, as it arrives."""
        addresses = tuple(address.address for address in self.config.addresses)
        said = SAID_2 if self.config.version == 2 else SAID_3
        advert = replace(said, addresses=addresses, auth_type=self.config.auth_type)
        six = self.config.family == Family.IPV6
        target = self.config.group or PEER
        message = encode_vrrp(advert, source=self.address, destination=target)
        packet = bytearray(self.guard.enclose(message, self.address, target, 255))
        self.guard.renew([memoryview(packet)], wall_ns)
        begins = 0 if six else 44 if self.config.auth_type is AuthType.AH else 20
        start = 0 if six else 20
        return ReceivedPacket(
            source=self.address, destination=target, ttl=255, payload=bytes(packet[begins:]), family=self.config.family,
            ah=bytes(packet[start:begins]), ip_header=bytes(packet[:start]),
        )  # fmt: skip

    def hears(self, packet: ReceivedPacket, wall_ns: int = NOON) -> RejectReason | None:
        """Why it refuses a packet that comes at that time of day; None: it takes it."""
        outcome = receive(ReceiveRules.from_config(self.config), replace(packet, wall_ns=wall_ns), self.guard)
        return outcome.reason if isinstance(outcome, PacketRejected) else None


def sequence_of(packet: ReceivedPacket) -> int:
    return decode_trailer(packet.payload[-TRAILER_BYTES:]).sequence


# ---- AH --------------------------------------------------------------------------------------------------------------


def test_ah_counts_on_from_master_to_master() -> None:
    a, b, c = Router(AH, PEER), Router(AH, OURS), Router(AH, STRANGER)
    said = [a.says() for _ in range(3)]
    assert [int.from_bytes(one.ah[8:12], "big") for one in said] == [1, 2, 3]
    assert [int.from_bytes(one.ip_header[4:6], "big") for one in said] == [1, 2, 3]
    assert [b.hears(one) for one in said] == [None, None, None]
    assert b.hears(said[2]) is RejectReason.AH_REPLAY
    assert c.hears(said[0]) is None
    assert c.hears(said[2]) is None
    after = b.says()
    assert int.from_bytes(after.ah[8:12], "big") == 4
    assert c.hears(after) is None


def test_a_restarted_router_is_refused_until_it_has_heard_the_others() -> None:
    old, other = Router(AH, PEER), Router(AH, OURS)
    for _ in range(5):
        assert other.hears(old.says()) is None
    new = Router(AH, PEER)
    assert other.hears(new.says()) is RejectReason.AH_REPLAY
    assert new.hears(other.says()) is None
    assert other.hears(new.says()) is None


def test_whoever_speaks_for_a_dead_one_counts_on() -> None:
    old, other = Router(AH, PEER), Router(AH, OURS)
    for _ in range(5):
        assert other.hears(old.says()) is None
    heir = Router(AH, PEER)
    heir.guard.count_from(old.guard.number + 1000)
    assert other.hears(heir.says()) is None
    assert other.guard.number == 1006


@pytest.mark.parametrize(
    ("place", "reason"),
    [("payload", RejectReason.AUTH_FAILURE), ("ah", RejectReason.AUTH_FAILURE), ("ip_header", RejectReason.AUTH_FAILURE)],
)
def test_ah_notices_any_change(place: str, reason: RejectReason) -> None:
    a, b = Router(AH, PEER), Router(AH, OURS)
    packet = a.says()
    octets = bytearray(getattr(packet, place))
    octets[{"payload": 2, "ah": 11, "ip_header": 5}[place]] ^= 1  # priority, sequence number, identification
    assert b.hears(replace(packet, **{place: bytes(octets)})) is reason
    assert b.hears(packet) is None


def test_the_spi_is_the_senders_address() -> None:
    a, b = Router(AH, PEER), Router(AH, OURS)
    packet = a.says()
    header = replace(decode_ah(packet.ah), spi=1)
    icv = icv_of(b"ahkey", packet.ip_header, header, packet.payload, keep_ttl=True)
    assert b.hears(replace(packet, ah=encode_ah(replace(header, icv=icv)))) is RejectReason.AUTH_FAILURE
    assert b.hears(packet) is None


def test_another_password_and_a_packet_without_header() -> None:
    a, b = Router(AH, PEER), Router(but(AH, auth_pass=b"other\0\0\0"))
    packet = a.says()
    assert b.hears(packet) is RejectReason.AUTH_FAILURE
    assert b.hears(replace(packet, ah=b"", ip_header=b"")) is RejectReason.AUTH_FAILURE
    assert b.hears(replace(packet, ah=packet.ah[:7])) is RejectReason.AUTH_FAILURE


def test_the_identification_is_never_zero() -> None:
    a = Router(AH, PEER)
    assert isinstance(a.guard, AhGuard)
    a.guard._identification = 0xFFFE
    assert [int.from_bytes(a.says().ip_header[4:6], "big") for _ in range(3)] == [0xFFFF, 1, 2]


# ---- auth_hmac: the number sent --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "wall_ns", "monotonic", "sent"),
    [
        (0, 16 * SECOND, False, 0x10_0000_0000),
        (0, 16 * SECOND + SECOND // 2, False, 0x10_8000_0000),
        (0x10_8000_0000, 16 * SECOND + SECOND // 2, False, 0x10_8000_0001),  # the clock stands
        (0x10_8000_0000, 14 * SECOND, False, 0x10_8000_0001),  # put back a little
        (0x10_8000_FFFF, 14 * SECOND, False, 0x10_8001_0000),  # the counter carries
        (0x20_8000_0000, 16 * SECOND, False, 0x10_0000_0000),  # put back by more than the window: as it is now
        (0x20_8000_0000, 16 * SECOND, True, 0x20_8000_0001),  # never back where only growth counts
        (0xFFFF_FFFF_FFFF_0000, 0x1_0000_0001 * SECOND, False, 0x1_0000_0000),  # 2106: round the corner
    ],
)
def test_the_number_sent(last: int, wall_ns: int, monotonic: bool, sent: int) -> None:
    guard = HmacGuard(signed(V3, monotonic=monotonic, time_window_s=5))
    guard.sequence = last
    assert guard.next_sequence(wall_ns) == sent


def test_every_copy_has_the_same_trailer() -> None:
    guard = make_guard(signed(UNICAST))
    packets = [bytearray(guard.enclose(encode_vrrp(SAID_3, source=OURS, destination=to), OURS, to, 255))
               for to in (PEER, STRANGER)]  # fmt: skip
    guard.renew([memoryview(one) for one in packets], NOON)
    assert packets[0][-28:] == packets[1][-28:]
    assert packets[0][26:28] != packets[1][26:28], "checksums cover the destination"


# ---- auth_hmac: what is taken ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [V2, V3, V6], ids=["v2", "v3", "ipv6"])
def test_signed_adverts_are_taken_once_and_in_order(config: InstanceConfig) -> None:
    source, here = (parse("fe80::1"), parse("fe80::2")) if config.family == Family.IPV6 else (PEER, OURS)
    a, b = Router(signed(config), source), Router(signed(config), here)
    first, second, third = (a.says(NOON + n) for n in range(3))
    assert b.hears(first) is None
    assert b.hears(third) is None
    assert b.hears(third) is RejectReason.HMAC_REPLAY
    assert b.hears(second) is RejectReason.HMAC_REPLAY


def test_a_clock_put_back_is_survived_by_both() -> None:
    a, b = Router(signed(V3), PEER), Router(signed(V3))
    assert b.hears(a.says(NOON)) is None
    before = NOON - 3600 * SECOND
    assert b.hears(a.says(before), NOON) is RejectReason.HMAC_STALE  # ours is yet to be put back
    assert b.hears(a.says(before), before) is None
    assert b.hears(a.says(before), before) is None


def test_a_clock_put_forward_is_survived_by_both() -> None:
    a, b = Router(signed(V3), PEER), Router(signed(V3))
    assert b.hears(a.says(NOON)) is None
    after = NOON + 86400 * SECOND
    assert b.hears(a.says(NOON), after) is RejectReason.HMAC_STALE
    assert b.hears(a.says(after), after) is None


def test_clocks_do_not_matter_where_only_growth_counts() -> None:
    a, b = Router(signed(V3, monotonic=True), PEER), Router(signed(V3, monotonic=True))
    old = a.says(NOON)
    assert b.hears(old, 0) is None
    assert b.hears(a.says(NOON - 86400 * SECOND), NOON) is None
    assert b.hears(old, 0) is RejectReason.HMAC_REPLAY


def test_four_senders_of_a_group_are_told_apart() -> None:
    b = Router(signed(V3))
    others = [Router(signed(V3), Address(bytes((192, 0, 2, n)))) for n in range(1, 6)]
    assert [b.hears(other.says(NOON)) for other in others] == [None] * 5
    assert isinstance(b.guard, HmacGuard)
    assert [sender[3] for sender in b.guard.marks] == [2, 3, 4, 5]


def test_a_unicast_sender_must_be_a_peer() -> None:
    config = but(signed(V3), group=None, unicast_peers=(UnicastPeer(address=PEER),))
    b = Router(config)
    a = Router(but(config, unicast_peers=(UnicastPeer(address=OURS),)), STRANGER)
    packet = replace(a.says(), destination=OURS)
    assert b.hears(packet) is RejectReason.UNICAST_SOURCE


# ---- auth_hmac: rotation and migration -------------------------------------------------------------------------------


def test_a_key_is_exchanged_without_a_refusal() -> None:
    a, b = Router(signed(V3), PEER), Router(signed(V3))
    for config_of_b, config_of_a in (
        (signed(V3, KEY_1, KEY_2), signed(V3)),
        (signed(V3, KEY_1, KEY_2), signed(V3, KEY_1, KEY_2)),
        (signed(V3, KEY_1, KEY_2), signed(V3, KEY_2, KEY_1)),
        (signed(V3, KEY_2, KEY_1), signed(V3, KEY_2, KEY_1)),
        (signed(V3, KEY_2), signed(V3, KEY_2)),
    ):
        b.becomes(config_of_b)
        a.becomes(config_of_a)
        assert b.hears(a.says()) is None
        assert a.hears(b.says()) is None
    a.becomes(signed(V3))
    assert b.hears(a.says()) is RejectReason.HMAC_UNKNOWN_KEY


@pytest.mark.parametrize(
    ("sender", "receiver", "reason"),
    [
        (AuthMode.RECEIVE_ONLY, AuthMode.RECEIVE_ONLY, None),
        (AuthMode.RECEIVE_ONLY, AuthMode.PERMISSIVE, None),
        (AuthMode.PERMISSIVE, AuthMode.RECEIVE_ONLY, None),
        (AuthMode.PERMISSIVE, AuthMode.PERMISSIVE, None),
        (AuthMode.PERMISSIVE, AuthMode.ENFORCE, None),
        (AuthMode.ENFORCE, AuthMode.PERMISSIVE, None),
        (AuthMode.ENFORCE, AuthMode.ENFORCE, None),
        (AuthMode.RECEIVE_ONLY, AuthMode.ENFORCE, RejectReason.HMAC_MISSING),
    ],
)
def test_modes_side_by_side(sender: AuthMode, receiver: AuthMode, reason: RejectReason | None) -> None:
    a, b = Router(signed(V3, mode=sender), PEER), Router(signed(V3, mode=receiver))
    packet = a.says()
    assert len(packet.payload) == said_bytes(packet) + (0 if sender is AuthMode.RECEIVE_ONLY else 28)
    assert b.hears(packet) is reason


@pytest.mark.parametrize("mode", list(AuthMode))
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (-28, RejectReason.HMAC_MALFORMED),
        (-27, RejectReason.HMAC_UNKNOWN_KEY),
        (-26, RejectReason.HMAC_MALFORMED),
        (-24, RejectReason.HMAC_STALE),
        (-17, RejectReason.HMAC_INVALID),
        (-1, RejectReason.HMAC_INVALID),
        (2, RejectReason.HMAC_INVALID),
    ],
)
def test_a_bad_signature_is_refused_in_every_mode(mode: AuthMode, place: int, reason: RejectReason) -> None:
    a, b = Router(signed(V3), PEER), Router(signed(V3, mode=mode))
    packet = a.says()
    octets = bytearray(packet.payload)
    octets[place] ^= 0x40
    assert b.hears(replace(packet, payload=bytes(octets))) is reason
    assert b.hears(packet) is None


def test_without_its_guard_nothing_passes() -> None:
    for config in (signed(V3), AH):
        packet = replace(Router(config, PEER).says(), wall_ns=NOON)
        outcome = receive(ReceiveRules.from_config(config), packet)
        assert isinstance(outcome, PacketRejected)
        assert outcome.reason is RejectReason.AUTH_FAILURE


def test_a_guard_is_kept_only_by_its_kind() -> None:
    assert fits(make_guard(AH), AH)
    assert not fits(make_guard(AH), signed(V2))
    assert fits(make_guard(signed(V2)), signed(V3))
    assert not fits(make_guard(signed(V2)), AH)


def test_keys_are_not_in_the_words_for_a_configuration() -> None:
    assert "secret" not in repr(signed(V3))
