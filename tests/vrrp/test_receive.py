"""The receive checks one by one: what is refused, under which counter, with which words; what is only remarked."""

from typing import Any

import msgspec
import pytest

from holdfast.base.address import Address, parse
from holdfast.vrrp.config import AuthType, Family, InstanceConfig, OldChecksum, UnicastPeer, VirtualAddress
from holdfast.vrrp.packet import Advert, ChecksumForm, encode_vrrp
from holdfast.vrrp.receive import PacketRejected, ReceivedPacket, ReceiveRules, RejectReason, receive

GROUP_4, GROUP_6 = parse("224.0.0.18"), parse("ff02::12")
PEER, OURS, STRANGER = parse("192.0.2.12"), parse("192.0.2.11"), parse("192.0.2.77")
VIP, OTHER_VIP = parse("192.0.2.100"), parse("192.0.2.101")


def vip(address: Address) -> VirtualAddress:
    """A virtual address as the configuration has it."""
    return VirtualAddress(address=address, prefix_length=24)


V2 = InstanceConfig(
    name="VI", vrid=51, interface="eth0", family=Family.IPV4, version=2, group=GROUP_4, addresses=(vip(VIP),)
)
V3 = msgspec.structs.replace(V2, version=3)
V6 = msgspec.structs.replace(
    V3, family=Family.IPV6, group=GROUP_6, addresses=(vip(parse("fe80::65")), vip(parse("2001:db8:1::65")))
)
UNICAST = msgspec.structs.replace(V3, group=None, unicast_peers=(UnicastPeer(address=PEER),))
PASSWORD = msgspec.structs.replace(V2, auth_type=AuthType.PASS, auth_pass=b"secret\0\0")

SAID_2 = Advert(version=2, vrid=51, priority=200, addresses=(VIP,), adver_interval_ns=1_000_000_000)
SAID_3 = Advert(version=3, vrid=51, priority=200, addresses=(VIP,), adver_interval_ns=1_000_000_000)


def but(config: InstanceConfig, **changes: Any) -> InstanceConfig:
    """The instance with something else."""
    return msgspec.structs.replace(config, **changes)


def says(advert: Advert, **changes: Any) -> Advert:
    """The advert with something else."""
    return msgspec.structs.replace(advert, **changes)


def hears(
    config: InstanceConfig,
    advert: Advert,
    *,
    source: Address = PEER,
    to: Address | None = None,
    ttl: int = 255,
    form: ChecksumForm = ChecksumForm.PSEUDO_HEADER,
    surplus: bytes = b"",
    cut: int = 0,
) -> Advert | PacketRejected:
    """What the instance makes of the advert."""
    destination = to if to is not None else OURS if config.unicast else config.group or OURS
    message = encode_vrrp(advert, source=source, destination=destination, checksum_form=form)
    payload = message[: len(message) - cut] + surplus
    packet = ReceivedPacket(source=source, destination=destination, ttl=ttl, payload=payload, family=config.family)
    return receive(ReceiveRules.from_config(config), packet)


def accepted(outcome: Advert | PacketRejected) -> tuple[str, ...]:
    """The remarks about an advert that was taken."""
    assert isinstance(outcome, Advert), outcome
    return outcome.remarks


REFUSED = [
    ("TTL 254", V2, SAID_2, {"ttl": 254}, RejectReason.TTL,
     "invalid TTL/HL from 192.0.2.12. Received 254 and expect 255"),
    ("TTL 0", V3, SAID_3, {"ttl": 0}, RejectReason.TTL, "invalid TTL/HL from 192.0.2.12. Received 0 and expect 255"),
    ("v3 to v2", V2, SAID_3, {}, RejectReason.VERSION, "wrong VRRP version from 192.0.2.12. Received 3 and expect 2"),
    ("v2 to v3", V3, SAID_2, {}, RejectReason.VERSION, "wrong VRRP version from 192.0.2.12. Received 2 and expect 3"),
    ("v4 to v3", V3, says(SAID_3, version=4), {}, RejectReason.VERSION,
     "wrong VRRP version from 192.0.2.12. Received 4 and expect 3"),
    ("v2 type 2", V2, says(SAID_2, type=2), {}, RejectReason.TYPE,
     "Invalid packet type from 192.0.2.12. 2 and expect 1"),
    ("v3 type 0", V3, says(SAID_3, type=0), {}, RejectReason.TYPE,
     "Invalid packet type from 192.0.2.12. 0 and expect 1"),
    ("auth type 3", V2, says(SAID_2, auth_type=3), {}, RejectReason.AUTH_TYPE,
     "Invalid auth type from 192.0.2.12: 3"),
    ("password, none here", V2, says(SAID_2, auth_type=1, auth_data=b"abc\0\0\0\0\0"), {}, RejectReason.AUTH_MISMATCH,
     "received a 1 auth from 192.0.2.12, expecting 0!"),
    ("no password, one here", PASSWORD, SAID_2, {}, RejectReason.AUTH_MISMATCH,
     "received a 0 auth from 192.0.2.12, expecting 1!"),
    ("wrong password", PASSWORD, says(SAID_2, auth_type=1, auth_data=b"secreT\0\0"), {}, RejectReason.AUTH_FAILURE,
     "received an invalid passwd from 192.0.2.12!"),
    ("password not padded with zeros", PASSWORD, says(SAID_2, auth_type=1, auth_data=b"secret\0x"), {},
     RejectReason.AUTH_FAILURE, "received an invalid passwd from 192.0.2.12!"),
    ("beginning of the password", PASSWORD, says(SAID_2, auth_type=1, auth_data=b"secr\0\0\0\0"), {},
     RejectReason.AUTH_FAILURE, "received an invalid passwd from 192.0.2.12!"),
    ("AH without its header", but(V2, auth_type=AuthType.AH), says(SAID_2, auth_type=2), {}, RejectReason.AUTH_FAILURE,
     "advert from 192.0.2.12 says auth type 2 and has no Authentication Header"),
    ("v2 interval 2 s", V2, says(SAID_2, adver_interval_ns=2_000_000_000), {}, RejectReason.INTERVAL,
     "advertisement interval mismatch with 192.0.2.12 mine=1 sec rcv'd=2 sec"),
    ("v2 interval 0", V2, says(SAID_2, adver_interval_ns=0), {}, RejectReason.INTERVAL,
     "advertisement interval mismatch with 192.0.2.12 mine=1 sec rcv'd=0 sec"),
    ("v3 interval 0", V3, says(SAID_3, adver_interval_ns=0), {}, RejectReason.INTERVAL,
     "advertisement interval 0 from 192.0.2.12: a backup cannot wait for it"),
    ("old form, never", but(UNICAST, old_checksum=OldChecksum.NEVER), SAID_3, {"form": ChecksumForm.OLD_MULTICAST},
     RejectReason.CHECKSUM, "Invalid VRRPv3 checksum from 192.0.2.12"),
    ("multicast to unicast", UNICAST, SAID_3, {"to": GROUP_4}, RejectReason.DESTINATION,
     "received a multicast advert from 192.0.2.12, we speak unicast"),
    ("unicast to multicast", V3, SAID_3, {"to": OURS}, RejectReason.DESTINATION,
     "received a unicast advert from 192.0.2.12, we speak multicast"),
    ("another group", V3, SAID_3, {"to": parse("224.0.0.19")}, RejectReason.DESTINATION,
     "received an advert for 224.0.0.19 from 192.0.2.12, we listen to another group"),
    ("not a peer", but(UNICAST, check_unicast_source=True), SAID_3, {"source": STRANGER}, RejectReason.UNICAST_SOURCE,
     "unicast source address 192.0.2.77 not a unicast peer"),
    ("owner", but(V3, owner_ignore_adverts=True, priority=255), SAID_3, {}, RejectReason.OWNER,
     "advert from 192.0.2.12 ignored: we own the addresses (priority 255)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "advert", "how", "reason", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused(
    config: InstanceConfig, advert: Advert, how: dict[str, Any], reason: RejectReason, words: str
) -> None:
    assert hears(config, advert, **how) == PacketRejected(reason, words)


def test_every_reason_has_a_row() -> None:
    elsewhere = {RejectReason.LENGTH} | {one for one in RejectReason if one.startswith(("ah_", "auth_ext", "carp_", "vrrp_"))}
    assert {row[4] for row in REFUSED} | elsewhere == set(RejectReason)  # test_guard and tests/carp have the rest


# ---- lengths: one VIP makes 20 octets in v2, 12 in v3; the words count the IP header in ------------------------------


@pytest.mark.parametrize(
    ("config", "advert", "surplus", "words"),
    [
        (V2, SAID_2, 0, ""),
        (V2, SAID_2, 6, ""),  # 46 octets: what Ethernet pads to
        (V2, SAID_2, 7, "vrrp packet from 192.0.2.12 too long, length 47 and expect 40"),
        (V2, SAID_2, 28, "vrrp packet from 192.0.2.12 too long, length 68 and expect 40"),
        (V3, SAID_3, 14, ""),
        (V3, SAID_3, 15, "vrrp packet from 192.0.2.12 too long, length 47 and expect 32"),
        (V3, SAID_3, 28, "vrrp packet from 192.0.2.12 too long, length 60 and expect 32"),
        (V2, SAID_2, -1, "vrrp packet from 192.0.2.12 too short, length 39 and expect 40"),
        (V3, SAID_3, -4, "vrrp packet from 192.0.2.12 too short, length 28 and expect 32"),
        (V3, SAID_3, -5, "vrrp packet from 192.0.2.12 too short, 7 octets of VRRP and expect 8 or more"),
        (V3, SAID_3, -12, "vrrp packet from 192.0.2.12 too short, 0 octets of VRRP and expect 8 or more"),
    ],
)
def test_length(config: InstanceConfig, advert: Advert, surplus: int, words: str) -> None:
    outcome = hears(config, advert, surplus=bytes(max(surplus, 0)), cut=max(-surplus, 0))
    if words:
        assert outcome == PacketRejected(RejectReason.LENGTH, words)
    else:
        assert accepted(outcome) == ()


@pytest.mark.parametrize(("surplus", "cut", "words"), [
    (1, 0, "vrrp packet from fe80::b too long, length 81 and expect 80"),
    (0, 1, "vrrp packet from fe80::b too short, length 79 and expect 80"),
])  # fmt: skip
def test_ipv6_has_no_padding(surplus: int, cut: int, words: str) -> None:
    said = says(SAID_3, addresses=(parse("fe80::65"), parse("2001:db8:1::65")))
    assert accepted(hears(V6, said, source=parse("fe80::b"))) == ()
    outcome = hears(V6, said, source=parse("fe80::b"), surplus=bytes(surplus), cut=cut)
    assert outcome == PacketRejected(RejectReason.LENGTH, words)


def test_more_addresses_said_than_there_are() -> None:
    said = hears(V2, says(SAID_2, addresses=(VIP, OTHER_VIP)), cut=4)
    words = "vrrp packet from 192.0.2.12 too short, length 40 and expect 44"
    assert said == PacketRejected(RejectReason.LENGTH, words)


def test_padding_is_no_part_of_the_password() -> None:
    said = says(SAID_2, auth_type=1, auth_data=b"secret\0\0")
    assert accepted(hears(PASSWORD, said, surplus=b"\xff" * 6)) == ()


# ---- the order of the checks, as keepalived has it: of two faults the earlier one is told ---------------------------


@pytest.mark.parametrize(
    ("config", "advert", "how", "reason"),
    [
        (V2, SAID_3, {"ttl": 1, "cut": 1}, RejectReason.LENGTH),
        (V2, SAID_3, {"ttl": 1}, RejectReason.TTL),
        (V2, says(SAID_3, type=2), {}, RejectReason.VERSION),
        (V2, says(SAID_2, auth_type=9, type=2), {}, RejectReason.AUTH_TYPE),
        (V2, says(SAID_2, auth_type=1, adver_interval_ns=0), {}, RejectReason.AUTH_MISMATCH),
        (V2, says(SAID_2, adver_interval_ns=0), {"to": OURS}, RejectReason.INTERVAL),
        (V2, says(SAID_2, adver_interval_ns=0, type=2), {}, RejectReason.INTERVAL),
        (V3, says(SAID_3, adver_interval_ns=0, type=2), {}, RejectReason.TYPE),
        (but(V3, owner_ignore_adverts=True, priority=255), SAID_3, {"to": OURS}, RejectReason.DESTINATION),
    ],
)
def test_order(config: InstanceConfig, advert: Advert, how: dict[str, Any], reason: RejectReason) -> None:
    outcome = hears(config, advert, **how)
    assert isinstance(outcome, PacketRejected)
    assert outcome.reason is reason


# ---- IPv4 checksums -------------------------------------------------------------------------------------------------


def hears_checksum(config: InstanceConfig, advert: Advert, checksum: str, to: Address) -> Advert | PacketRejected:
    """What the instance makes of the advert with this checksum, written out."""
    message = encode_vrrp(advert, source=PEER, destination=to)
    payload = message[:6] + bytes.fromhex(checksum) + message[8:]
    packet = ReceivedPacket(source=PEER, destination=to, ttl=255, payload=payload, family=Family.IPV4)
    return receive(ReceiveRules.from_config(config), packet)


def test_rfc3768_5_3_8_the_v2_checksum_covers_the_message_alone() -> None:
    assert accepted(hears_checksum(V2, SAID_2, "5465", GROUP_4)) == ()
    for wrong in ("5464", "b1c1", "0000", "ffff"):  # b1c1: as if with a pseudo header
        outcome = hears_checksum(V2, SAID_2, wrong, GROUP_4)
        assert outcome == PacketRejected(RejectReason.CHECKSUM, "Invalid VRRPv2 checksum from 192.0.2.12")


def test_rfc1071_1_a_checksum_of_zero_has_two_forms() -> None:
    said = says(SAID_2, auth_data=bytes.fromhex("5465000000000000"))  # makes the words sum to ffff
    assert accepted(hears_checksum(V2, said, "0000", GROUP_4)) == ()
    assert accepted(hears_checksum(V2, said, "ffff", GROUP_4)) == ()
    for wrong in ("0001", "fffe"):
        assert isinstance(hears_checksum(V2, said, wrong, GROUP_4), PacketRejected)


WITHOUT = "192.0.2.12 sends VRRPv3 checksums without the pseudo header (RFC 9568); accepted"
WITH = "192.0.2.12 sends checksums with the pseudo header, we without (v3_checksum_as_v2)"
OLD = "192.0.2.12 sends the old unicast VRRPv3 checksum (with 224.0.0.18); accepted"
BAD = "Invalid VRRPv3 checksum from 192.0.2.12"
AS_V2 = but(V3, checksum_as_v2=True)
GROUP_19 = parse("224.0.0.19")
AT_19 = but(V3, group=GROUP_19)
ALWAYS, NEVER = but(UNICAST, old_checksum=OldChecksum.ALWAYS), but(UNICAST, old_checksum=OldChecksum.NEVER)


# The message alone sums to 4402; with the pseudo header to the group a166, to 192.0.2.11 bf6d
@pytest.mark.parametrize(
    ("config", "checksum", "to", "remark"),
    [
        (V3, "a166", GROUP_4, ""),
        (V3, "4402", GROUP_4, WITHOUT),
        (V3, "bf6d", GROUP_4, BAD),
        (V3, "a167", GROUP_4, BAD),
        (AT_19, "a165", GROUP_19, ""),
        (AT_19, "a166", GROUP_19, BAD),  # the old form is for unicast
        (AS_V2, "a166", GROUP_4, WITH),
        (AS_V2, "4402", GROUP_4, ""),
        (AS_V2, "a167", GROUP_4, BAD),
        (UNICAST, "bf6d", OURS, ""),
        (UNICAST, "4402", OURS, WITHOUT),
        (UNICAST, "a166", OURS, OLD),
        (ALWAYS, "bf6d", OURS, ""),
        (ALWAYS, "a166", OURS, OLD),
        (NEVER, "bf6d", OURS, ""),
        (NEVER, "a166", OURS, BAD),
    ],
)
def test_v3_checksum_forms(config: InstanceConfig, checksum: str, to: Address, remark: str) -> None:
    outcome = hears_checksum(config, SAID_3, checksum, to)
    if remark == BAD:
        assert outcome == PacketRejected(RejectReason.CHECKSUM, BAD)
    else:
        assert accepted(outcome) == ((remark,) if remark else ())


def test_the_kernel_has_checked_ipv6s() -> None:
    said = says(SAID_3, addresses=(parse("fe80::65"), parse("2001:db8:1::65")))
    message = encode_vrrp(said, source=parse("fe80::b"), destination=GROUP_6)[:6] + b"\0\0"
    payload = message + b"".join(said.addresses)
    packet = ReceivedPacket(
        source=parse("fe80::b"), destination=GROUP_6, ttl=255, payload=payload, family=Family.IPV6
    )
    assert accepted(receive(ReceiveRules.from_config(V6), packet)) == ()


# ---- who sends, and from how far ------------------------------------------------------------------------------------

NEAR = but(UNICAST, unicast_peers=(UnicastPeer(address=PEER, min_ttl=254), UnicastPeer(address=STRANGER)))
FAR = but(UNICAST, unicast_peers=(UnicastPeer(address=PEER, max_ttl=10),))
BETWEEN = but(UNICAST, unicast_peers=(UnicastPeer(address=PEER, min_ttl=60, max_ttl=64),))


@pytest.mark.parametrize(
    ("config", "source", "ttl", "words"),
    [
        (UNICAST, PEER, 1, ""),  # no bounds: any TTL
        (UNICAST, STRANGER, 255, ""),  # no source check: anybody takes part
        (but(UNICAST, check_unicast_source=True), PEER, 64, ""),
        (NEAR, PEER, 254, ""),
        (NEAR, PEER, 255, ""),
        (NEAR, PEER, 253, "TTL 253 of 192.0.2.12 is not within 254 to 255 (min_ttl, max_ttl)"),
        (NEAR, STRANGER, 1, ""),  # a peer without bounds
        (FAR, PEER, 10, ""),
        (FAR, PEER, 11, "TTL 11 of 192.0.2.12 is not within 0 to 10 (min_ttl, max_ttl)"),
        (BETWEEN, PEER, 59, "TTL 59 of 192.0.2.12 is not within 60 to 64 (min_ttl, max_ttl)"),
        (BETWEEN, PEER, 62, ""),
        (BETWEEN, PEER, 65, "TTL 65 of 192.0.2.12 is not within 60 to 64 (min_ttl, max_ttl)"),
    ],
)
def test_unicast_ttl(config: InstanceConfig, source: Address, ttl: int, words: str) -> None:
    outcome = hears(config, SAID_3, source=source, ttl=ttl)
    if words:
        assert outcome == PacketRejected(RejectReason.TTL, words)
    else:
        assert accepted(outcome) == ()


def test_ttl_bounds_bring_the_source_check_along() -> None:
    words = "unicast source address 192.0.2.77 not a unicast peer"
    assert hears(FAR, SAID_3, source=STRANGER) == PacketRejected(RejectReason.UNICAST_SOURCE, words)


@pytest.mark.parametrize(
    ("priority", "ignores", "taken"), [(255, False, True), (254, True, True), (255, True, False)]
)
def test_only_an_owner_told_to_ignores_adverts(priority: int, ignores: bool, taken: bool) -> None:
    outcome = hears(but(V3, priority=priority, owner_ignore_adverts=ignores), SAID_3)
    assert isinstance(outcome, Advert) is taken


@pytest.mark.parametrize(
    ("config", "source", "to", "meant"),
    [
        (V3, PEER, GROUP_4, True),
        (V3, STRANGER, GROUP_4, True),
        (V3, PEER, parse("224.0.0.19"), False),
        (V3, PEER, OURS, False),
        (UNICAST, PEER, OURS, True),
        (UNICAST, STRANGER, OURS, False),
        (UNICAST, PEER, GROUP_4, False),
    ],
)
def test_which_of_two_instances_of_one_vrid_is_meant(
    config: InstanceConfig, source: Address, to: Address, meant: bool
) -> None:
    assert ReceiveRules.from_config(config).meant_for(source, to) is meant


# ---- taken, and remarked --------------------------------------------------------------------------------------------


def test_the_right_password_and_authentication_octets_nobody_asked_for() -> None:
    assert accepted(hears(PASSWORD, says(SAID_2, auth_type=1, auth_data=b"secret\0\0"))) == ()
    assert accepted(hears(V2, says(SAID_2, auth_data=b"garbage!"))) == ()


def test_v2_over_ipv6_has_no_authentication() -> None:
    over_ipv6 = but(V6, version=2)
    said = says(
        SAID_2, addresses=(parse("fe80::65"), parse("2001:db8:1::65")), auth_type=7, auth_data=b""
    )
    assert accepted(hears(over_ipv6, said, source=parse("fe80::b"))) == ()


TWO = but(V2, addresses=(vip(VIP), vip(OTHER_VIP)))


@pytest.mark.parametrize(
    ("config", "heard", "remarks"),
    [
        (V2, (), ["expected 1 VIPs but received 0 from 192.0.2.12",
                  "ip address associated with VRID 51 not present in advert from 192.0.2.12: 192.0.2.100"]),
        (V2, (VIP, OTHER_VIP), ["expected 1 VIPs but received 2 from 192.0.2.12"]),
        (V2, (OTHER_VIP,), ["ip address associated with VRID 51 not present in advert from 192.0.2.12: 192.0.2.100"]),
        (TWO, (VIP, VIP), ["ip address associated with VRID 51 not present in advert from 192.0.2.12: 192.0.2.101"]),
        (TWO, (OTHER_VIP, VIP), []),  # another order is the same list
        (but(V2, skip_check_adv_addr=True), (OTHER_VIP,), []),
    ],
)  # fmt: skip
def test_another_address_list_is_remarked_and_counted(
    config: InstanceConfig, heard: tuple[Address, ...], remarks: list[str]
) -> None:
    outcome = hears(config, says(SAID_2, addresses=heard))
    assert isinstance(outcome, Advert)
    assert list(outcome.remarks) == remarks
    assert outcome.counted == ("addr_list_err" if remarks else "")


def test_who_resigns_need_not_list_addresses() -> None:
    assert accepted(hears(V2, says(SAID_2, priority=0, addresses=()))) == ()


def test_rfc9568_7_1_another_v3_interval_is_only_remarked() -> None:
    swapped = but(V3, addresses=(vip(VIP), vip(OTHER_VIP)))
    outcome = hears(swapped, says(SAID_3, addresses=(OTHER_VIP, VIP), adver_interval_ns=500_000_000))
    assert isinstance(outcome, Advert)
    assert outcome.remarks == (
        "advertisement interval mismatch ours = 100 centi-sec rcv'd=50 centi-sec from 192.0.2.12; "
        "taking theirs while it is master",
    )
    assert outcome.counted == ""
    assert outcome.adver_interval_ns == 500_000_000


def test_rfc9568_5_2_6_reserved_bits_mean_nothing() -> None:
    assert accepted(hears(V3, says(SAID_3, reserved=15))) == ()
