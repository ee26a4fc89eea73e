"""When somebody appears, changes, yields, resigns and falls silent, with the times written out."""

import pytest

from holdfast.base.time import seconds
from holdfast.dissect.frame import dissect
from holdfast.sniff.listener import MOST_SPEAKERS, Listener, Report
from holdfast.sniff.speaker import document
from tests.decode.vectors import records, secrets, vectors
from tests.sniff.frames import carp, every, heard, told, vrrp


@pytest.mark.parametrize(
    ("version", "priority", "every_s", "silent_s"),
    [
        (2, 100, 1, 2 + 3 + 0.609 + 0.010),  # RFC 3768 §6.1: 3 intervals and 156/256 s; 10 ms of grace
        (3, 100, 1, 2 + 3 + 0.609 + 0.010),
        (2, 100, 4, 8 + 12 + 0.609 + 0.010),  # in version 2 the skew does not scale with the interval
        (3, 100, 4, 8 + 12 + 2.438 + 0.010),  # in version 3 it does: RFC 9568 §6.1
        (3, 254, 0.01, 0.02 + 0.03 + 0.010),
    ],
)
def test_silent_when_a_backup_would_stop_waiting(version: int, priority: int, every_s: float, silent_s: float) -> None:
    adverts = every(every_s, 3, version=version, priority=priority, every_s=every_s)
    listener, reports = heard(*adverts, until_s=silent_s - 0.001)
    assert told(reports) == [(0, "192.0.2.1", "appeared")]
    [silent] = listener.advance(seconds(silent_s + 0.001))
    assert (silent.event, silent.speaker["state"]) == ("silent", "silent")
    assert silent.time_ns / 1e9 == pytest.approx(silent_s, abs=0.001)
    assert listener.deadline() is None


def test_resigning_is_said_at_once_and_once() -> None:
    _, reports = heard(*every(1, 2), (1.5, vrrp(priority=0)), (1.6, vrrp(priority=0)), until_s=60)
    assert told(reports) == [(0, "192.0.2.1", "appeared"), (1.5, "192.0.2.1", "changed")]
    assert reports[1].speaker["state"] == "resigned"


def test_a_hand_over_is_told_as_one() -> None:
    _, reports = heard(*every(1, 5), *every(1, 4, 4.5, host=2, priority=150), until_s=8)
    assert told(reports) == [
        (0, "192.0.2.1", "appeared"),
        (4.5, "192.0.2.2", "appeared"),
        (5.52, "192.0.2.1", "silent"),
    ]
    assert reports[2].speaker["yielded_to"] == "192.0.2.2"
    assert not any(report.found for report in reports)


def test_a_master_that_comes_back_was_not_late() -> None:
    listener, reports = heard(*every(1, 3), (2.5, vrrp(2, priority=150)), (2.9, vrrp(2, priority=0)), *every(1, 3, 6.5))
    assert [event for _, _, event in told(reports)] == ["appeared", "appeared", "changed", "silent", "appeared"]
    assert [document(one)["late"] for one in listener.speakers()] == [0, 0]


def test_what_changed_is_named() -> None:
    _, reports = heard((0, vrrp()), (1, vrrp(priority=90, vips=("192.0.2.100", "192.0.2.101"), ttl=254)))
    [_, changed] = reports
    assert [(one.field, one.before, one.after) for one in changed.changes] == [
        ("priority", 100, 90),
        ("addresses", ["192.0.2.100"], ["192.0.2.100", "192.0.2.101"]),
        ("ttl", 255, 254),
    ]
    assert [one.text for one in changed.found] == ["TTL 254 instead of 255: receivers drop it"]


def test_copies_for_several_unicast_peers_are_one_advert() -> None:
    copies = [(at + 0.001 * n, vrrp(to=f"192.0.2.{n}")) for at in range(6) for n in (2, 3, 4)]
    listener, reports = heard(*copies)
    assert told(reports) == [(0.002, "192.0.2.1", "appeared")]
    [speaker] = listener.speakers()
    assert (speaker.adverts, speaker.median_gap_ns()) == (6, seconds(1))


def test_a_frame_captured_on_several_interfaces_is_one_advert() -> None:
    listener, _ = heard(*((at + 0.0005 * n, vrrp(key=bytes(32), sequence=(at << 32) + 1)) for at in range(6) for n in range(3)))
    [speaker] = listener.speakers()
    assert (speaker.adverts, speaker.problems) == (6, ())


def test_when_the_first_peer_is_gone_the_others_count() -> None:
    copies = [(at, vrrp(to="192.0.2.2")) for at in (0, 1, 2)] + [(at + 0.01, vrrp(to="192.0.2.3")) for at in range(10)]
    _, reports = heard(*copies)
    assert told(reports) == [(0, "192.0.2.1", "appeared")]


def test_families_vlans_protocols_and_numbers_are_apart() -> None:
    frames = [vrrp(), vrrp(vips=("fe80::64",)), vrrp(vrid=52), vrrp(vlan=7), carp(vhid=8)]
    listener, reports = heard(*((0.01 * n, frame) for n, frame in enumerate(frames)))
    assert [event for _, _, event in told(reports)] == ["appeared"] * 5
    assert [document(one)["problems"] for one in listener.speakers()] == [[]] * 5


def test_a_flood_of_senders_is_bounded() -> None:
    listener = Listener()
    for number in range(MOST_SPEAKERS + 50):
        listener.hear(vrrp(source=f"10.0.{number // 250}.{number % 250 + 1}"), seconds(0.001 * number))
    assert (len(listener.speakers()), listener.uncounted) == (MOST_SPEAKERS, 50)


A, B = "192.0.2.11", "192.0.2.12"
TIMELINES = {
    # b speaks, a preempts, resigns, returns, is cut off, returns and resigns: keepalived 2.2.7
    "ka227_v2_election_preempt": [
        (0.0, B, "appeared"), (5.297, A, "appeared"), (6.523, B, "silent"), (8.370, A, "changed"), (8.982, B, "appeared"),
        (15.336, A, "appeared"), (16.503, B, "silent"), (20.772, A, "silent"), (20.958, B, "appeared"),
        (23.959, A, "appeared"), (25.478, B, "silent"), (25.902, A, "changed"), (26.514, B, "appeared"),
        (28.470, B, "changed"),
    ],
    # three keys in turn
    "ka243_hmac_key_rotation_modes": [
        (0.0, A, "appeared"), (2.550, A, "changed"), (5.556, A, "changed"), (8.558, A, "changed"), (11.552, A, "changed"),
        (12.163, B, "appeared"), (14.621, B, "changed"),
    ],
    # a BFD session that comes up, and the one end dies
    "frr_ka227_bfd_ipv4_interop": [
        (0.0, B, "appeared"), (0.194, A, "appeared"), (0.990, B, "changed"), (0.999, A, "changed"), (0.999, B, "changed"),
        (6.949, B, "silent"), (7.031, A, "changed"),
    ],
    "ucarp_failover_preempt": [
        (0.0, B, "appeared"), (1.821, A, "appeared"), (4.913, B, "silent"), (8.829, A, "silent"), (10.982, B, "appeared"),
        (13.853, A, "appeared"), (16.913, B, "silent"),
    ],
}  # fmt: skip


def told_of(name: str) -> list[tuple[float, str, str]]:
    frames, listener = records(name), Listener()
    reports: list[Report] = []
    for record in frames:
        frame = dissect(record.link_type, record.octets, secrets(name))
        reports += listener.hear(frame, record.time_ns - frames[0].time_ns)
    return told(reports)


@pytest.mark.parametrize("name", sorted(vectors()))
def test_time_never_goes_back(name: str) -> None:
    times = [at for at, _, _ in told_of(name)]
    assert times == sorted(times)
    assert times


@pytest.mark.parametrize("name", TIMELINES)
def test_captured_timelines(name: str) -> None:
    seen = told_of(name)
    assert [(who, event) for _, who, event in seen] == [(who, event) for _, who, event in TIMELINES[name]]
    assert [at for at, _, _ in seen] == pytest.approx([at for at, _, _ in TIMELINES[name]], abs=0.0015)
