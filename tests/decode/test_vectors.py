"""Every captured packet decodes to the fields another decoder found, and encodes back octet for octet."""

from typing import Any

import msgspec
import pytest

from holdfast.base.address import parse
from holdfast.bfd.packet import BfdState, ControlPacket, decode_bfd, encode_bfd, refusal
from holdfast.carp.packet import CarpAdvert, carp_hmac, decode_carp, hmac_is_valid
from holdfast.dissect.fields import fields
from holdfast.dissect.frame import dissect
from holdfast.dissect.secrets import Secrets
from holdfast.vrrp.hmac_trailer import decode_trailer, hmac_pseudo_header, sign
from holdfast.vrrp.hmac_trailer import hmac_is_valid as trailer_is_valid
from tests.decode.encoding import ah_packet, encode
from tests.decode.vectors import cases, records, secrets, vectors

NAMES = sorted(vectors())


def test_there_is_something_of_every_kind() -> None:
    kinds = [packet["kind"] for _, packet in cases()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"vrrp": 161, "garp": 59, "bfd": 53, "na": 12, "carp": 12}
    layers = [name for _, packet in cases() for name in packet["fields"]]
    assert (layers.count("ah"), layers.count("auth_hmac")) == (6, 35)


@pytest.mark.parametrize("name", NAMES)
def test_decodes_to_the_same_fields(name: str) -> None:
    frames, known = records(name), secrets(name)
    for packet in vectors()[name]["packets"]:
        record = frames[packet["frame"] - 1]
        frame = dissect(record.link_type, record.octets, known)
        assert (record.time_ns - frames[0].time_ns) / 1e9 == packet["time_s"]
        assert (frame.kind, fields(frame)) == (packet["kind"], packet["fields"])


@pytest.mark.parametrize("name", NAMES)
def test_encodes_back_octet_for_octet(name: str) -> None:
    for packet in vectors()[name]["packets"]:
        assert encode(packet["fields"]).hex() == records(name)[packet["frame"] - 1].octets.hex()


@pytest.mark.parametrize("name", NAMES)
def test_only_a_hop_limit_of_64_is_wrong_with_any_of_them(name: str) -> None:
    found = {wrong for record in records(name) for wrong in dissect(record.link_type, record.octets, secrets(name)).problems}
    low = name in ("frr_ka227_bfd_ipv6_interop_hl64", "ka227_bfd_ipv6_cut_heal")
    assert found == ({"TTL 64 instead of 255: who keeps to RFC 5881 drops it"} if low else set())


def of(name: str, layer: str) -> tuple[dict[str, Any], bytes]:
    packet = next(packet for packet in vectors()[name]["packets"] if layer in packet["fields"])
    return packet["fields"], records(name)[packet["frame"] - 1].octets


@pytest.mark.parametrize(
    ("name", "password"), [("ka227_v2_mcast_auth_ah", b"ahpass99"), ("ka227_v2_unicast_ah_ttl64", b"uniAH")]
)
def test_an_ah_packet_is_made_as_keepalived_makes_it(name: str, password: bytes) -> None:
    shown, octets = of(name, "ah")
    assert ah_packet(shown, password).hex() == octets[14:].hex()


@pytest.mark.parametrize("position", [14 + 1, 14 + 8, 14 + 6, 14 + 10])
def test_what_a_router_may_change_is_not_in_the_icv(position: int) -> None:
    """TOS, TTL (unicast), flags, header checksum: RFC 2402 §3.3.3.1.1.1."""
    octets = bytearray(of("ka227_v2_unicast_ah_ttl64", "ah")[1])
    octets[position] ^= 0x40 if position == 20 else 0x01
    frame = dissect(1, bytes(octets), Secrets(ah_key=b"uniAH"))
    assert frame.ah is not None
    assert frame.ah.valid_ttl_zeroed


@pytest.mark.parametrize("position", [14 + 4, 14 + 12, 14 + 16, 34 + 4, 34 + 8, 34 + 12, 34 + 24 + 2, 34 + 24 + 8])
def test_one_bit_elsewhere_fails_the_icv(position: int) -> None:
    octets = bytearray(of("ka227_v2_mcast_auth_ah", "ah")[1])
    octets[position] ^= 1
    frame = dissect(1, bytes(octets), Secrets(ah_key=b"ahpass99"))
    assert frame.ah is not None
    assert not frame.ah.valid_ttl_kept
    assert "its ICV is wrong: another password, or the packet was changed on its way" in frame.problems


# the examples of draft-cassen-vrrp-auth-hmac: key 00 01 … 1f, VRID 51, priority 200, 100 cs
DRAFT_KEY = bytes(range(32))
DRAFT = [
    ("198.51.100.10", "224.0.0.18", "3133c80100644402c0000264", "010100006800000080000000", "1b84bc4e8e43892dc6d98448f8ee2265"),
    ("fe80::10", "fe80::20", "3133c8010064a2e9fe800000000000000000000000000100", "010100006800000080000000", "c8c56146ebfd66ee10ec4d8186461b78"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "destination", "message", "head", "digest"), DRAFT)
def test_the_examples_of_the_auth_hmac_draft(source: str, destination: str, message: str, head: str, digest: str) -> None:
    signed = sign(
        bytes.fromhex(message),
        key=DRAFT_KEY,
        key_id=1,
        sequence=0x6800000080000000,
        source=parse(source),
        destination=parse(destination),
    )
    assert signed.hex() == message + head + digest


def test_the_pseudo_header_of_the_draft() -> None:
    assert hmac_pseudo_header(3, 51, parse("198.51.100.10")).hex() == "04033300c633640a000000000000000000000000"
    assert hmac_pseudo_header(3, 51, parse("fe80::10")).hex() == "06033300fe800000000000000000000000000010"


@pytest.mark.parametrize(
    ("position", "source", "valid"),
    [
        (None, "198.51.100.10", True),
        (6, "198.51.100.10", True),  # the checksum is not covered
        (1, "198.51.100.10", False),
        (2, "198.51.100.10", False),
        (5, "198.51.100.10", False),
        (8, "198.51.100.10", False),
        (12 + 1, "198.51.100.10", False),
        (12 + 4, "198.51.100.10", False),
        (12 + 11, "198.51.100.10", False),
        (12 + 27, "198.51.100.10", False),
        (None, "198.51.100.11", False),
    ],
)
def test_what_the_hmac_covers(position: int | None, source: str, valid: bool) -> None:
    octets = bytearray(bytes.fromhex("".join(DRAFT[0][2:])))
    if position is not None:
        octets[position] ^= 1
    trailer = decode_trailer(bytes(octets[12:]))
    assert trailer_is_valid(DRAFT_KEY, bytes(octets[:12]), trailer, parse(source)) is valid


def test_what_the_hmac_of_carp_covers() -> None:
    shown, octets = of("ucarp_failover_preempt", "carp")
    advert = decode_carp(octets[34:])
    vip = [parse("192.0.2.77")]
    assert carp_hmac(b"carpsecret", 7, vip, int(shown["carp"]["counter"], 16)).hex() == shown["carp"]["hmac_sha1"]
    assert hmac_is_valid(advert, b"carpsecret" + bytes(10), vip)  # padded to 20 octets
    assert not hmac_is_valid(advert, b"carpsecre", vip)
    assert not hmac_is_valid(advert, b"carpsecret", [parse("192.0.2.78")])
    assert not hmac_is_valid(advert, b"carpsecret", [*vip, parse("2001:db8::1")])


def test_carp_sorts_its_addresses() -> None:
    one, two, three = parse("10.0.0.9"), parse("192.0.2.1"), parse("2001:db8::1")
    assert carp_hmac(b"p", 1, [three, two, one], 5) == carp_hmac(b"p", 1, [one, two, three], 5)


def test_carps_interval_is_its_rank() -> None:
    advert = CarpAdvert(vhid=1, advbase=1, advskew=100, counter=0, hmac=bytes(20))
    assert advert.interval_ns == 1_390_625_000


UP = ControlPacket(
    state=BfdState.UP,
    detect_mult=3,
    my_discriminator=7,
    your_discriminator=8,
    desired_min_tx_us=300_000,
    required_min_rx_us=300_000,
)
REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({}, 24, ""),
    ({"state": BfdState.DOWN, "your_discriminator": 0}, 24, ""),
    ({"state": BfdState.ADMIN_DOWN, "your_discriminator": 0}, 24, ""),
    ({"length": 26}, 26, ""),
    ({"version": 0}, 24, "BFD version 0 is not 1"),
    ({"length": 23}, 24, "length 23 is below 24"),
    ({"length": 25, "auth_present": True}, 26, "length 25 is below 26"),
    ({"length": 25}, 24, "length 25 is above the 24 octets there are"),
    ({"detect_mult": 0}, 24, "detect multiplier 0"),
    ({"multipoint": True}, 24, "the multipoint bit is set"),
    ({"my_discriminator": 0}, 24, "my discriminator is 0"),
    ({"your_discriminator": 0}, 24, "your discriminator is 0 in state Up"),
    ({"state": BfdState.INIT, "your_discriminator": 0}, 24, "your discriminator is 0 in state Init"),
]


@pytest.mark.parametrize(("changes", "octets", "why"), REFUSED)
def test_rfc5880_6_8_6_what_a_receiver_must_discard(changes: dict[str, Any], octets: int, why: str) -> None:
    assert refusal(msgspec.structs.replace(UP, **changes), octets) == why


@pytest.mark.parametrize("cut", range(24))
def test_bfd_cut_short_is_malformed(cut: int) -> None:
    octets = of("frr_bfd_ipv4", "bfd")[1][42:]
    assert encode_bfd(decode_bfd(octets)) == octets
    with pytest.raises(ValueError, match=f"too short for a BFD control packet: {cut} octets of 24"):
        decode_bfd(octets[:cut])
