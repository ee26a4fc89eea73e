"""The probe: its sums by themselves, and an outage of known length on a real wire."""

import time

import pytest

from holdfast.lab.hosts import Lab, wait_until
from holdfast.lab.probe import Answerer, Probe, Tally

pytestmark = pytest.mark.alone

MS = 1_000_000


def test_tally_finds_the_longest_gap_and_who_answered() -> None:
    tally = Tally()
    for sequence, at, mac in ((1, 1, "a"), (2, 2, "a"), (2, 3, "b"), (5, 5, "a"), (16, 16, "b"), (17, 17, "b")):
        tally.answer(sequence, at * MS, mac)
    report = tally.report(20)
    assert (report.sent, report.answered, report.lost) == (20, 5, 15)
    assert (report.outage_ns, report.outage_from_ns, report.outage_lost) == (11 * MS, 5 * MS, 10)
    assert report.answerers == (
        Answerer(mac="a", first_ns=1 * MS, last_ns=5 * MS, answers=3),
        Answerer(mac="b", first_ns=16 * MS, last_ns=17 * MS, answers=2),
    )


@pytest.mark.parametrize("target", ["192.0.2.1", "2001:db8:1::1", "fe80::1"])
def test_an_outage_of_a_fifth_of_a_second(target: str) -> None:
    with Lab() as lab:
        server, client = lab.host("server"), lab.host("client")
        probe = Probe(client, target)
        probe.answered_by(server.mac, 5)
        begun = time.monotonic_ns()
        lab.cut(server)
        cut = time.monotonic_ns()
        time.sleep(0.2)
        healing = time.monotonic_ns()
        lab.heal(server)
        healed = time.monotonic_ns()
        wait_until(lambda: (seen := probe.now()) is not None and seen.outage_lost > 100, 3, "answered again")
        report = probe.finish()
    # a millisecond between probes on either side, and two for a busy machine
    assert healing - cut - 2 * MS < report.outage_ns < healed - begun + 4 * MS
    assert report.lost >= report.outage_lost
    assert [answerer.mac for answerer in report.answerers] == [server.mac]
