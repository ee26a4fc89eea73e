"""The wire, both ways: recorded adverts, adverts cut short, adverts with a bit turned, any octets at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.vrrp import VRRP, VRRPv3

from holdfast.base.address import Address, parse, text
from holdfast.vrrp.packet import (
    Advert,
    ChecksumForm,
    Malformed,
    checksum_of,
    decode_vrrp,
    encode_ipv4,
    encode_vrrp,
    message_bytes,
    pseudo_header,
)
from holdfast.vrrp.receive import PacketRejected, ReceiveRules, RejectReason, receive
from tests.vrrp.vectors import VECTORS, Vector

GROUP_4, SOURCE_4 = parse("224.0.0.18"), parse("192.0.2.11")
GROUP_6, SOURCE_6 = parse("ff02::12"), parse("fe80::a")

vectors = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)


def scapys(packet: bytes) -> IP | IPv6:
    """The packet as scapy reads it."""
    return IPv6(packet) if packet[0] >> 4 == 6 else IP(packet)


# ---- recorded adverts -----------------------------------------------------------------------------------------------


def test_the_recordings_hold_every_kind_of_advert() -> None:
    kinds = {(v.version, v.ipv6, v.covers, v.auth_type) for v in VECTORS}
    assert kinds == {
        (2, False, ChecksumForm.MESSAGE_ONLY, 0),
        (2, False, ChecksumForm.MESSAGE_ONLY, 1),
        (2, True, ChecksumForm.PSEUDO_HEADER, 0),
        (3, False, ChecksumForm.MESSAGE_ONLY, 0),
        (3, False, ChecksumForm.PSEUDO_HEADER, 0),
        (3, False, ChecksumForm.OLD_MULTICAST, 0),
        (3, True, ChecksumForm.PSEUDO_HEADER, 0),
    }
    assert {0, 255} <= {v.priority for v in VECTORS}
    assert {1, 4095} <= {v.interval_cs for v in VECTORS}
    assert {1, 5, 255} <= {v.interval_s for v in VECTORS}
    assert max(len(v.addresses) for v in VECTORS) == 25


@vectors
def test_recorded_octets_give_the_recorded_fields(vector: Vector) -> None:
    assert decode_vrrp(vector.message, vector.ipv6) == vector.advert


@vectors
def test_recorded_fields_give_the_recorded_octets(vector: Vector) -> None:
    source, destination = parse(vector.source), parse(vector.destination)
    message = encode_vrrp(vector.advert, source=source, destination=destination, checksum_form=vector.covers)
    assert message == vector.message
    assert len(message) == message_bytes(vector.version, vector.ipv6, len(vector.addresses))
    if not vector.ipv6:
        packet = encode_ipv4(
            message, source, destination, vector.ttl, vector.identification, vector.tos, vector.df
        )
        assert packet == vector.packet


@vectors
def test_receive_takes_the_recorded_advert(vector: Vector) -> None:
    advert = receive(ReceiveRules.from_config(vector.config), vector.received())
    assert isinstance(advert, Advert), advert
    assert (advert.priority, advert.addresses) == (vector.advert.priority, vector.advert.addresses)


@vectors
def test_cut_short_at_every_length_it_is_malformed(vector: Vector) -> None:
    rules = ReceiveRules.from_config(vector.config)
    for length in range(len(vector.message)):
        part = vector.message[:length]
        with pytest.raises(Malformed, match="too short"):
            decode_vrrp(part, vector.ipv6)
        refused = receive(rules, vector.received(part))
        assert isinstance(refused, PacketRejected), length
        assert refused.reason is RejectReason.LENGTH, length


@vectors
def test_one_bit_turned_does_not_pass_the_checksum(vector: Vector) -> None:
    source, destination = parse(vector.source), parse(vector.destination)
    rules = ReceiveRules.from_config(vector.config)
    for bit in range(8 * len(vector.message)):
        octets = bytearray(vector.message)
        octets[bit // 8] ^= 0x80 >> bit % 8
        turned = bytes(octets)
        assert checksum_of(turned, source, destination, vector.covers) != int.from_bytes(turned[6:8], "big"), bit
        if not vector.ipv6:  # the kernel checks IPv6's before we see it
            assert isinstance(receive(rules, vector.received(turned)), PacketRejected), bit


@pytest.mark.parametrize(
    ("octet", "field"),
    [(1, "vrid"), (2, "priority"), (4, "reserved"), (6, "checksum"), (8, "address"), (11, "address")],
)
def test_one_bit_turned_in_a_field_no_other_check_reads_is_a_checksum_error(octet: int, field: str) -> None:
    for vector in VECTORS:
        if vector.ipv6 or (vector.version == 2 and field == "reserved"):
            continue
        octets = bytearray(vector.message)
        octets[octet] ^= 0x10
        refused = receive(ReceiveRules.from_config(vector.config), vector.received(bytes(octets)))
        assert isinstance(refused, PacketRejected)
        assert refused.reason is RejectReason.CHECKSUM, (vector.name, field)


# ---- written out ----------------------------------------------------------------------------------------------------


def test_rfc3768_5_1_an_advert_octet_by_octet() -> None:
    advert = Advert(
        version=2,
        vrid=51,
        priority=150,
        addresses=(parse("192.0.2.100"),),
        adver_interval_ns=1_000_000_000,
        auth_type=1,
        auth_data=b"s3cret12",
    )
    message = encode_vrrp(advert, source=SOURCE_4, destination=GROUP_4)
    assert message.hex(" ") == "21 33 96 01 01 01 18 19 c0 00 02 64 73 33 63 72 65 74 31 32"


def test_rfc9568_5_2_the_interval_has_twelve_bits_and_the_reserved_four_are_left_aside() -> None:
    message = bytes.fromhex("3121c801f064b177c0000264")
    advert = decode_vrrp(message, ipv6=False)
    assert (advert.reserved, advert.adver_interval_ns) == (15, 1_000_000_000)
    assert encode_vrrp(advert, source=parse("192.0.2.12"), destination=GROUP_4) == message


def test_rfc8200_8_1_the_ipv6_pseudo_header() -> None:
    assert pseudo_header(SOURCE_6, GROUP_6, 40).hex() == (
        "fe80000000000000000000000000000a" "ff020000000000000000000000000012" "00000028" "00000070"
    )


def test_the_ipv4_pseudo_header() -> None:
    assert pseudo_header(SOURCE_4, GROUP_4, 12).hex() == "c000020b" "e0000012" "00" "70" "000c"


def test_the_checksum_forms_of_one_advert() -> None:
    advert = Advert(
        version=3, vrid=64, priority=150, addresses=(parse("192.0.2.100"),), adver_interval_ns=1_000_000_000
    )
    forms = {
        form: encode_vrrp(advert, source=SOURCE_4, destination=parse("192.0.2.12"), checksum_form=form)[6:8].hex()
        for form in ChecksumForm
    }
    assert forms == {
        ChecksumForm.PSEUDO_HEADER: "f160",
        ChecksumForm.MESSAGE_ONLY: "75f5",
        ChecksumForm.OLD_MULTICAST: "d35a",
    }


def test_lengths() -> None:
    rows = [(2, False, 1, 20), (2, False, 0, 16), (2, True, 2, 40), (3, False, 1, 12), (3, False, 25, 108)]
    for version, ipv6, count, length in [*rows, (3, True, 3, 56), (3, False, 255, 1028)]:
        assert message_bytes(version, ipv6, count) == length


def test_octets_after_the_end_are_left_aside() -> None:
    message = VECTORS[0].message
    assert decode_vrrp(message + b"padding", ipv6=False) == decode_vrrp(message, ipv6=False)


@pytest.mark.parametrize("version", [0, 1, 4, 9, 15])
def test_other_versions_are_malformed(version: int) -> None:
    with pytest.raises(Malformed, match=f"VRRP version {version} is neither 2 nor 3"):
        decode_vrrp(bytes((version << 4 | 1,)) + bytes(31), ipv6=False)


# ---- scapy, a second opinion ----------------------------------------------------------------------------------------


@vectors
def test_scapy_reads_the_same_fields(vector: Vector) -> None:
    if vector.ipv6 and vector.version == 2:
        return  # scapy knows no VRRPv2 over IPv6
    advert = decode_vrrp(vector.message, vector.ipv6)
    theirs = scapys(vector.packet)[VRRP if vector.version == 2 else VRRPv3]
    assert (theirs.version, theirs.type, theirs.vrid, theirs.priority, theirs.ipcount, theirs.chksum) == (
        advert.version, advert.type, advert.vrid, advert.priority, len(advert.addresses), advert.checksum
    )  # fmt: skip
    assert theirs.addrlist == [text(address) for address in advert.addresses]
    if vector.version == 2:
        assert (theirs.authtype, theirs.adv * 1_000_000_000) == (advert.auth_type, advert.adver_interval_ns)
        assert theirs.auth1 << 32 | theirs.auth2 == int.from_bytes(advert.auth_data, "big")
    else:
        assert (theirs.res, theirs.adv * 10_000_000) == (advert.reserved, advert.adver_interval_ns)


IPV4_ADDRESS = st.binary(min_size=4, max_size=4).map(Address)
IPV6_ADDRESS = st.binary(min_size=16, max_size=16).map(Address)


@st.composite
def adverts(draw: st.DrawFn) -> tuple[Advert, bool]:
    """Any advert that can be said, and whether it goes over IPv6."""
    version, ipv6 = draw(st.sampled_from([(2, False), (2, True), (3, False), (3, True)]))
    addresses = tuple(draw(st.lists(IPV6_ADDRESS if ipv6 else IPV4_ADDRESS, max_size=30)))
    vrid, priority = draw(st.integers(0, 255)), draw(st.integers(0, 255))
    if version == 2:
        return Advert(
            version=2,
            vrid=vrid,
            priority=priority,
            addresses=addresses,
            adver_interval_ns=draw(st.integers(0, 255)) * 1_000_000_000,
            auth_type=draw(st.integers(0, 255)),
            auth_data=b"" if ipv6 else draw(st.binary(min_size=8, max_size=8)),
            type=draw(st.integers(0, 15)),
        ), ipv6
    return Advert(
        version=3,
        vrid=vrid,
        priority=priority,
        addresses=addresses,
        adver_interval_ns=draw(st.integers(0, 4095)) * 10_000_000,
        type=draw(st.integers(0, 15)),
        reserved=draw(st.integers(0, 15)),
    ), ipv6


@settings(deadline=None, max_examples=200)
@given(adverts(), st.sampled_from(ChecksumForm))
def test_any_advert_survives_the_wire(made: tuple[Advert, bool], form: ChecksumForm) -> None:
    advert, ipv6 = made
    source, destination = (SOURCE_6, GROUP_6) if ipv6 else (SOURCE_4, GROUP_4)
    message = encode_vrrp(advert, source=source, destination=destination, checksum_form=form)
    back = decode_vrrp(message, ipv6)
    assert back.checksum == checksum_of(message, source, destination, form)
    assert (back.version, back.vrid, back.priority, back.addresses) == (
        advert.version, advert.vrid, advert.priority, advert.addresses
    )  # fmt: skip
    assert (back.adver_interval_ns, back.auth_type, back.auth_data, back.type, back.reserved) == (
        advert.adver_interval_ns, advert.auth_type, advert.auth_data, advert.type, advert.reserved
    )  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(adverts().filter(lambda made: made[0].version == 3 or not made[1]))
def test_scapy_makes_the_same_octets_of_ours(made: tuple[Advert, bool]) -> None:
    """Scapy counts the pseudo header in, and computes each checksum afresh."""
    advert, ipv6 = made
    source, destination = (SOURCE_6, GROUP_6) if ipv6 else (SOURCE_4, GROUP_4)
    message = encode_vrrp(advert, source=source, destination=destination)
    if ipv6:
        theirs = IPv6(src=text(source), dst=text(destination), hlim=255, nh=112) / VRRPv3(
            type=advert.type, vrid=advert.vrid, priority=advert.priority, res=advert.reserved,
            adv=advert.adver_interval_ns // 10_000_000, addrlist=[text(address) for address in advert.addresses],
        )  # fmt: skip
        assert bytes(theirs)[40:] == message
        return
    ours = encode_ipv4(message, source, destination, identification=7)
    shared = {"type": advert.type, "vrid": advert.vrid, "priority": advert.priority}
    addresses = [text(address) for address in advert.addresses]
    if advert.version == 2:
        layer = VRRP(
            **shared, authtype=advert.auth_type, adv=advert.adver_interval_ns // 1_000_000_000, addrlist=addresses,
            auth1=int.from_bytes(advert.auth_data[:4], "big"), auth2=int.from_bytes(advert.auth_data[4:], "big"),
        )  # fmt: skip
    else:
        interval_cs = advert.adver_interval_ns // 10_000_000
        layer = VRRPv3(**shared, res=advert.reserved, adv=interval_cs, addrlist=addresses)
    assert bytes(IP(src=text(source), dst=text(destination), tos=0xC0, id=7, ttl=255, proto=112) / layer) == ours


# ---- any octets -----------------------------------------------------------------------------------------------------

LIKELY = st.builds(
    lambda head, rest: bytes(head) + rest,
    st.tuples(st.sampled_from([0x21, 0x31, 0x22, 0x41]), st.just(51), st.integers(0, 255), st.integers(0, 6),
              st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)),
    st.binary(max_size=120),
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=120) | LIKELY, st.booleans())
def test_any_octets_are_an_advert_or_malformed(octets: bytes, ipv6: bool) -> None:
    try:
        advert = decode_vrrp(octets, ipv6)
    except Malformed:
        return
    source, destination = (SOURCE_6, GROUP_6) if ipv6 else (SOURCE_4, GROUP_4)
    message = octets[: message_bytes(advert.version, ipv6, len(advert.addresses))]
    assert encode_vrrp(advert, source=source, destination=destination)[8:] == message[8:]


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=120) | LIKELY, st.integers(0, 255), st.sampled_from(VECTORS), st.booleans())
def test_receive_never_raises(octets: bytes, ttl: int, vector: Vector, known: bool) -> None:
    packet = vector.received(vector.message[: len(octets)] + octets[len(vector.message) :] if known else octets)
    outcome = receive(ReceiveRules.from_config(vector.config), packet)
    assert isinstance(outcome, Advert | PacketRejected)
    if isinstance(outcome, PacketRejected):
        assert text(packet.source) in outcome.text
