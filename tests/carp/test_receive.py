"""Bad input: each packet a CARP instance refuses, with its counter and words; and that no octets upset it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.base.address import parse
from holdfast.base.checksum import internet_checksum
from holdfast.carp.guard import CarpGuard
from holdfast.carp.receive import CarpHeard, concerns, receive_either, rules_of
from holdfast.vrrp.config import Family, InstanceConfig
from holdfast.vrrp.packet import Advert, ChecksumForm, encode_vrrp
from holdfast.vrrp.receive import PacketRejected, ReceivedPacket, RejectReason
from tests.carp.scenes import GROUP, OURS, THEIRS, VIP, WALL, instance, said, unicast

CONFIG = instance(advskew=0)
OTHER_VIP = msgspec.structs.replace(CONFIG, addresses=())
S = 1_000_000_000


def hears(packet: ReceivedPacket, config: InstanceConfig = CONFIG, guard: CarpGuard | None = None) -> Any:
    return receive_either(rules_of(config), packet, guard or CarpGuard(config))


def but(packet: ReceivedPacket, **changed: Any) -> ReceivedPacket:
    return msgspec.structs.replace(packet, **changed)


def patched(packet: ReceivedPacket, at: int, value: int) -> ReceivedPacket:
    """One octet changed, the checksum made right again."""
    octets = bytearray(packet.payload)
    octets[at] = value
    octets[6:8] = b"\0\0"
    octets[6:8] = internet_checksum(bytes(octets)).to_bytes(2, "big")
    return but(packet, payload=bytes(octets))


def good(config: InstanceConfig = CONFIG) -> ReceivedPacket:
    return said(CarpGuard(config), config)


def vrrp_2() -> bytes:
    advert = Advert(version=2, vrid=7, priority=100, addresses=(VIP,), adver_interval_ns=S)
    return encode_vrrp(advert, source=THEIRS, destination=GROUP, checksum_form=ChecksumForm.MESSAGE_ONLY)


REFUSED: list[tuple[str, ReceivedPacket, RejectReason, str]] = [
    ("ttl", but(good(), ttl=254), RejectReason.TTL, "invalid TTL/HL from 192.0.2.9. Received 254 and expect 255"),
    ("group", but(good(), destination=parse("224.0.0.19")), RejectReason.DESTINATION,
     "received an advert for 224.0.0.19 from 192.0.2.9, we listen to another group"),
    ("unicast", but(good(), destination=OURS), RejectReason.DESTINATION,
     "received a unicast advert from 192.0.2.9, we speak multicast"),
    ("checksum", but(good(), payload=good().payload[:6] + b"\0\0" + good().payload[8:]), RejectReason.CHECKSUM,
     "Invalid CARP checksum from 192.0.2.9"),
    ("password", good(instance(advskew=0, password=b"another")), RejectReason.AUTH_FAILURE,
     "wrong HMAC from 192.0.2.9: its password or its virtual addresses differ from ours"),
    ("addresses", good(OTHER_VIP), RejectReason.AUTH_FAILURE,
     "wrong HMAC from 192.0.2.9: its password or its virtual addresses differ from ours"),
    ("one bit of the HMAC", patched(good(), 35, good().payload[35] ^ 1), RejectReason.AUTH_FAILURE,
     "wrong HMAC from 192.0.2.9: its password or its virtual addresses differ from ours"),
    ("one bit of the counter", patched(good(), 15, good().payload[15] ^ 1), RejectReason.AUTH_FAILURE,
     "wrong HMAC from 192.0.2.9: its password or its virtual addresses differ from ours"),
    ("no interval", patched(good(), 5, 0), RejectReason.INTERVAL,
     "advbase 0 and advskew 0 from 192.0.2.9: nobody can keep to that"),
    ("version", patched(good(), 0, 0x41), RejectReason.VERSION, "CARP version 4 from 192.0.2.9 and expect 2"),
    ("type", patched(good(), 0, 0x22), RejectReason.TYPE,
     "CARP packet from 192.0.2.9: type 2, 7 words of authentication, and expect 1 and 7"),
    ("short", but(good(), payload=good().payload[:35]), RejectReason.LENGTH,
     "CARP packet from 192.0.2.9 has 35 octets and expect 36"),
    ("VRRP", but(good(), payload=vrrp_2()), RejectReason.VRRP_HEARD,
     "192.0.2.9 speaks VRRPv2 (VRID 7) on our vhid: give one of the two another number"),
]  # fmt: skip


@pytest.mark.parametrize(("packet", "reason", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(packet: ReceivedPacket, reason: RejectReason, words: str) -> None:
    assert hears(packet) == PacketRejected(reason, words)


def test_taken() -> None:
    assert hears(good()) == CarpHeard(priority=254, adver_interval_ns=S)
    demoted = patched(patched(good(), 4, 9), 2, 100)  # neither is under the HMAC
    assert hears(demoted) == CarpHeard(priority=154, adver_interval_ns=1_390_625_000)
    farewell = said(CarpGuard(CONFIG), CONFIG, priority=0)
    assert farewell.payload[2] == farewell.payload[5] == 255
    assert hears(farewell) == CarpHeard(priority=0, adver_interval_ns=255_996_093_750)


def test_unicast_takes_its_peers_alone() -> None:
    config = unicast(CONFIG)
    direct = but(good(config), destination=OURS)
    assert hears(direct, config) == CarpHeard(priority=254, adver_interval_ns=S)
    stranger = hears(but(direct, source=parse("192.0.2.66")), config)
    assert stranger.reason is RejectReason.UNICAST_SOURCE
    assert hears(good(config), config).reason is RejectReason.DESTINATION


def test_carp_on_a_vrrp_number_is_told_by_name_and_routed_past_it() -> None:
    vrrp = InstanceConfig(name="web", vrid=7, interface="eth0", family=Family.IPV4, version=2, group=GROUP)
    taken = receive_either(rules_of(vrrp), good(), None)
    assert taken == PacketRejected(
        RejectReason.CARP_HEARD, "192.0.2.9 speaks CARP (vhid 7) on our VRID: give one of the two another number"
    )
    for config, message, wanted in (
        (vrrp, good().payload, False), (vrrp, vrrp_2(), True), (CONFIG, good().payload, True), (CONFIG, vrrp_2(), False)
    ):  # fmt: skip
        assert concerns(rules_of(config), message, THEIRS, GROUP) is wanted


def test_an_advert_of_ours_that_comes_back_is_refused() -> None:
    guard = CarpGuard(CONFIG)
    ours = said(guard, CONFIG)
    assert hears(ours, guard=guard).reason is RejectReason.CARP_REPLAY
    assert isinstance(hears(said(CarpGuard(CONFIG), CONFIG, WALL + 1), guard=guard), CarpHeard)


def test_ucarp_and_bsd_may_repeat_a_counter() -> None:
    guard, packet = CarpGuard(CONFIG), good()
    assert [isinstance(hears(packet, guard=guard), CarpHeard) for _ in range(3)] == [True, True, True]


def test_anti_replay_wants_counters_that_grow_and_are_of_now() -> None:
    config = instance(advskew=0, anti_replay=True)
    sender, guard = CarpGuard(config), CarpGuard(config)
    first, second, third = (said(sender, config, WALL + number * S) for number in range(3))
    assert isinstance(hears(first, config, guard), CarpHeard)
    assert hears(first, config, guard).reason is RejectReason.CARP_REPLAY
    assert isinstance(hears(third, config, guard), CarpHeard)
    late = hears(but(second, wall_ns=third.wall_ns), config, guard)
    assert late.reason is RejectReason.CARP_REPLAY  # overtaken
    elsewhere = hears(but(third, source=OURS), config, guard)
    assert elsewhere.reason is RejectReason.CARP_REPLAY  # the HMAC doesn't cover the source
    stale = hears(but(said(sender, config, WALL + 3 * S), wall_ns=WALL + 9 * S), config, guard)
    assert stale == PacketRejected(
        RejectReason.CARP_STALE,
        "stale CARP counter from 192.0.2.9: its clock and ours are 6 s apart, more than 5 s "
        "(anti_replay is for peers that are all holdfast)",
    )


def test_the_counter_grows_though_the_clock_goes_back_or_the_daemon_starts_anew() -> None:
    guard = CarpGuard(CONFIG)
    walls = (WALL, WALL, WALL - S, WALL + S)
    counters = [int.from_bytes(said(guard, CONFIG, wall).payload[8:16], "big") for wall in walls]
    assert counters == [WALL, WALL + 1, WALL + 2, WALL + S]
    assert int.from_bytes(said(CarpGuard(CONFIG), CONFIG, WALL + 2 * S).payload[8:16], "big") > counters[-1]


@given(st.binary(min_size=8, max_size=60), st.booleans())
def test_no_octets_upset_it(octets: bytes, headed: bool) -> None:
    message = b"\x21\x07\x00\x07" + octets[4:] if headed else octets
    packet = but(good(), payload=message)
    assert isinstance(hears(packet), PacketRejected)


@given(st.integers(0, 35), st.integers(0, 255))
def test_one_octet_off_is_refused_or_says_another_rank(at: int, value: int) -> None:
    packet = good()
    if packet.payload[at] == value:
        return
    taken = hears(patched(packet, at, value))
    unprotected = at in (2, 4, 5, 6, 7)  # advskew, demotion, advbase; the checksum was made right
    assert isinstance(taken, CarpHeard) == (unprotected and (at, value) != (5, 0)), taken
