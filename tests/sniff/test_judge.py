"""What is inconsistent about a speaker: a row a finding, the other way round too."""

from typing import Any

import pytest

from holdfast.dissect.frame import dissect
from holdfast.sniff.listener import Listener
from holdfast.vrrp.packet import ChecksumForm
from tests.decode.vectors import records
from tests.sniff.frames import Event, carp, every, heard, topics, vrrp

VMAC = "00:00:5e:00:01:33"  # of VRID 51
HERE, THERE = "192.0.2.1", "192.0.2.2"


def texts(listener: Listener) -> str:
    return " | ".join(one.text for speaker in listener.speakers() for one in speaker.problems)


ALONE: list[tuple[str, list[Event], list[str], str]] = [
    ("well", every(1, 6), [], ""),
    ("well, with a virtual MAC", every(1, 6, from_mac=VMAC), [], ""),
    ("well, unicast with another TTL", every(1, 6, ttl=64, to="192.0.2.2"), [], ""),
    ("TTL", every(1, 1, ttl=254), ["packet"], "TTL 254 instead of 255: receivers drop it"),
    ("MAC of another VRID", every(1, 1, from_mac="00:00:5e:00:01:34"), ["mac"], "virtual MAC of IPv4 VRID 52"),
    ("MAC of the other family", every(1, 1, from_mac="00:00:5e:00:02:33"), ["mac"], "virtual MAC of IPv6 VRID 51"),
    ("twice the same address", every(1, 1, vips=("192.0.2.9",) * 2), ["addresses"], "an address stands twice"),
    ("no address", every(1, 1, vips=()), ["packet"], "no virtual address in it"),
    ("IPv6 from a global address", every(1, 1, vips=("fe80::64",), source="2001:db8::1"), ["source"], "not link-local"),
    ("another rhythm", every(1.5, 6, every_s=1), ["interval"], "an advert every 1 s and sends one every 1.5 s"),
    ("a faster rhythm", every(0.5, 6, every_s=1), ["interval"], "an advert every 1 s and sends one every 500 ms"),
    ("once late", [*every(1, 6), *every(1, 6, 7.6)], ["late"], "1 of 12 adverts came late, up to 2.6 s after"),
    ("a busy host at 10 ms", [*every(0.01, 9, every_s=0.01), *every(0.01, 9, 0.112, every_s=0.01)], [], ""),
    ("two MACs in turn", [(n * 0.9, vrrp(from_mac=f"02:00:00:00:00:0{1 + n % 2}")) for n in range(3)], ["mac"],
     "two hosts use its address: 02:00:00:00:00:01 and 02:00:00:00:00:02"),
    ("the MAC changed for good", [(n * 1.0, vrrp(from_mac=f"02:00:00:00:00:0{1 + n // 2}")) for n in range(4)], [], ""),
]  # fmt: skip


@pytest.mark.parametrize(("events", "found", "said"), [case[1:] for case in ALONE], ids=[case[0] for case in ALONE])
def test_alone(events: list[Event], found: list[str], said: str) -> None:
    listener, _ = heard(*events)
    assert list(topics(listener).values()) == [found]
    assert said in texts(listener)


PASS: dict[str, Any] = {"version": 2, "password": b"secret"}
BESIDE = [
    ("well", {}, {}, [], ""),
    ("other order of addresses", {"vips": ("192.0.2.8", "192.0.2.9")}, {"vips": ("192.0.2.9", "192.0.2.8")}, [], ""),
    ("same password", PASS, PASS, [], ""),
    ("version", {"version": 2}, {"version": 3}, ["version"], "it speaks version 2, 192.0.2.2 3: each drops"),
    ("addresses", {}, {"vips": ("192.0.2.9",)}, ["addresses"], "192.0.2.100 only here, 192.0.2.9 only from 192.0.2.2"),
    ("interval in v2", {"version": 2}, {"version": 2, "every_s": 2}, ["intervals"], "every 1 s, 192.0.2.2 every 2 s: each drops"),
    ("interval in v3", {}, {"every_s": 2}, ["intervals"], "every 1 s, 192.0.2.2 every 2 s"),
    ("authentication", PASS, {"version": 2}, ["auth"], "it uses PASS, 192.0.2.2 no authentication: each drops"),
    ("HMAC here", {"key": bytes(32)}, {}, ["auth"], "it uses HMAC, 192.0.2.2 no authentication"),
    ("password", PASS, {"version": 2, "password": b"other"}, ["password"], "another password than 192.0.2.2"),
    ("checksum", {}, {"form": ChecksumForm.MESSAGE_ONLY}, ["checksum"], "pseudo header, that of 192.0.2.2: no pseudo header"),
    ("transport", {}, {"to": "192.0.2.1"}, ["transport"], "it sends multicast, 192.0.2.2 unicast"),
    ("MAC", {}, {"from_mac": VMAC}, ["mac"], "it sends from its own MAC, 192.0.2.2 from the virtual one"),
]  # fmt: skip


@pytest.mark.parametrize(("mine", "theirs", "found", "said"), [case[1:] for case in BESIDE], ids=[c[0] for c in BESIDE])
def test_beside(mine: dict[str, object], theirs: dict[str, object], found: list[str], said: str) -> None:
    """The second speaks after the first resigned, so that there is never more than one master."""
    first, resigns = vrrp(1, **mine), vrrp(1, **mine, priority=0, sequence=2)  # type: ignore[arg-type]
    listener, _ = heard((0, first), (1, resigns), (1.6, vrrp(2, **theirs)))  # type: ignore[arg-type]
    assert topics(listener) == {HERE: found, THERE: found}
    assert said in texts(listener)


def test_no_password_is_ever_told() -> None:
    listener, reports = heard((0, vrrp(version=2, password=b"hunter2")), (1, vrrp(2, version=2, password=b"other")))
    assert "hunter2" not in repr([report.document(0) for report in reports]) + texts(listener)


def test_two_masters_at_once() -> None:
    both = [*every(1, 6, priority=150), *every(1, 6, 0.5, host=2, priority=100)]
    listener, reports = heard(*both)
    assert topics(listener) == {HERE: ["two-masters"], THERE: ["deaf", "two-masters"]}
    assert "192.0.2.2 is master too (priority 100 there, 150 here)" in texts(listener)
    assert "it became master though 192.0.2.1 is and ranks above it" in texts(listener)
    told_at = [report.time_ns / 1e9 for report in reports if any(one.topic == "two-masters" for one in report.found)]
    assert told_at == [2.5, 2.5]  # each has sent two beside the other
    reports = listener.hear(vrrp(2, priority=0), 5_700_000_000)
    assert {one.topic for report in reports for one in report.settled} == {"two-masters", "deaf"}


@pytest.mark.parametrize(("password", "found"), [(b"secret", []), (b"other", ["hidden", "password"])])
def test_one_that_yields_to_whom_it_cannot_understand(password: bytes, found: list[str]) -> None:
    """keepalived puts its next advert off with each one that it drops, so that of two masters only one is heard."""
    beside = every(1, 6, 2.5, host=2, priority=150, version=2, password=password)
    listener, _ = heard(*every(1, 3, **PASS), *beside)
    assert sorted(topics(listener)[HERE]) == found


def test_being_deaf_is_over_when_the_better_one_leaves() -> None:
    listener, _ = heard(*every(1, 3, priority=150), *every(1, 2, 0.5, host=2))
    assert topics(listener)[THERE] == ["deaf"]
    listener, reports = heard(*every(1, 3, priority=150), *every(1, 2, 0.5, host=2), (2.1, vrrp(1, priority=0)))
    assert topics(listener)[THERE] == []
    assert [one.topic for one in reports[-1].settled] == ["deaf"]


def test_who_comes_back_is_counted_anew() -> None:
    """The second speaks, yields, and speaks again beside the first: two masters only when both have gone on again."""
    first = every(1, 12, priority=100)
    second = [*every(1, 3, 0.5, host=2, priority=150), *every(1, 3, 8.5, host=2, priority=150)]
    _, reports = heard(*first, *second)
    told_at = [report.time_ns / 1e9 for report in reports if any(one.topic == "two-masters" for one in report.found)]
    assert told_at == [2.5, 2.5, 10.5, 10.5]


def test_who_comes_back_and_hurries_is_no_second_master() -> None:
    again = every(0.1, 4, 8.5, host=2, priority=150)
    listener, _ = heard(*every(1, 9, priority=100), *every(1, 3, 0.5, host=2, priority=150), *again)
    assert "two-masters" not in [topic for found in topics(listener).values() for topic in found]


def hmac(at_s: int, sent_s: int, counter: int = 0) -> Event:
    return at_s, vrrp(key=bytes(32), sequence=sent_s << 32 | counter)


@pytest.mark.parametrize(
    ("events", "found", "said"),
    [
        ([hmac(100, 100), hmac(101, 101)], [], ""),
        ([hmac(100, 105)], [], ""),
        ([hmac(100, 106)], ["clock"], "the clock in its adverts is 6 s ahead of here: receivers may drop it"),
        ([hmac(100, 94)], ["clock"], "the clock in its adverts is 6 s behind of here"),
        ([hmac(100, 100), hmac(101, 100)], ["replay"], "429496729600 is not above 429496729600, heard before"),
        ([hmac(100, 100, 5), hmac(101, 100, 4)], ["replay"], "is not above 429496729605, heard before"),
    ],
)
def test_the_clock_and_the_sequence_of_auth_hmac(events: list[Event], found: list[str], said: str) -> None:
    listener, _ = heard(*events)
    assert topics(listener) == {HERE: found}
    assert said in texts(listener)


def test_an_ah_sender_that_starts_again_at_1_is_not_heard_by_others() -> None:
    """192.0.2.11 sends 1 to 5, 192.0.2.12 goes on with 6: RFC 2402 §3.4.3 as keepalived does it."""
    frames = [dissect(1, record.octets) for record in records("ka227_v2_mcast_auth_ah") if record.octets[23] == 51]
    adverts = [frame for frame in frames if frame.ah]
    listener, _ = heard(*((float(number), frame) for number, frame in enumerate(adverts)))
    assert topics(listener) == {"192.0.2.11": [], "192.0.2.12": []}
    listener, _ = heard(*((float(number), frame) for number, frame in enumerate([*adverts, adverts[0]])))
    assert topics(listener)["192.0.2.11"] == ["replay"]
    assert f"its sequence number 1 is not above {len(adverts)}, heard before" in texts(listener)


def test_a_loser_that_sends_once_more_is_no_second_master() -> None:
    listener, _ = heard(*every(1, 4, priority=100), *every(1, 4, 3.5, host=2, priority=150), (3.501, vrrp(1)))
    assert topics(listener) == {HERE: [], THERE: []}


def test_a_backup_that_takes_over_in_time_is_not_deaf() -> None:
    """The better one falls silent after 3 s and 106/256 s; the worse one waits 3 s and 156/256 s."""
    listener, _ = heard(*every(1, 3, priority=150), *every(1, 3, 2 + 3.61, host=2, priority=100))
    assert topics(listener) == {HERE: [], THERE: []}
    listener, _ = heard(*every(1, 3, priority=150), *every(1, 1, 2 + 3.3, host=2, priority=100))
    assert topics(listener) == {HERE: [], THERE: ["deaf"]}


def test_findings_are_told_to_both_when_the_second_appears() -> None:
    _, reports = heard((0, vrrp(priority=150)), (0.5, vrrp(2, priority=200, vips=("192.0.2.9",))))
    assert [(report.speaker["source"], [one.topic for one in report.found]) for report in reports] == [
        (HERE, []),
        (THERE, ["addresses"]),
        (HERE, ["addresses"]),
    ]


def test_carp_and_vrrp_with_the_same_number() -> None:
    listener, _ = heard((0, vrrp(vrid=7)), (0.1, carp(2, vhid=7)), (1, vrrp(vrid=7, priority=99)))
    assert topics(listener) == {HERE: ["clash"], THERE: ["clash"]}
    assert "CARP with the same number is spoken by 192.0.2.2" in texts(listener)


def test_carp_masters_at_once() -> None:
    both = [(float(n), carp(1, advskew=0)) for n in range(6)] + [(n * 1.39 + 0.4, carp(2, advskew=100)) for n in range(5)]
    listener, _ = heard(*both)
    assert topics(listener) == {HERE: ["two-masters"], THERE: ["deaf", "two-masters"]}
