"""Planned hand-overs on real hosts, with holdfast and with keepalived as the peer: a client hardly notices."""

import signal

import msgspec
import pytest

from holdfast.lab.ask import who_answers
from holdfast.lab.daemons import holdfast_command, holdfast_state, holdfast_status, start_holdfast, start_keepalived
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until
from holdfast.lab.probe import Probe

pytestmark = pytest.mark.alone

VIP = "192.0.2.100"
LOST = 2
"""So many of a thousand probes a second a hand-over may lose."""

CONFIGURATION = """\
vrrp_instance web {
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 1
    priority %d
    %s
    virtual_ipaddress {
        192.0.2.100/24
    }
}
"""


def start(host: Host, make: str, priority: int, more: str = "") -> Spawned:
    text = CONFIGURATION % (priority, more)
    return start_holdfast(host, text) if make == "holdfast" else start_keepalived(host, text)


def switch(host: Host, *words: str) -> dict[str, object]:
    answer = host.run(*holdfast_command("switch", "web", *words, "--json", "--run-dir", "/run/holdfast"), check=False)
    return msgspec.json.decode(answer, type=dict[str, object])


def hears_a_master(host: Host) -> bool:
    return holdfast_status(host)["instances"][0]["master"] is not None


@pytest.mark.parametrize("peer", ["holdfast", "keepalived"])
def test_here_and_release(lab: Lab, peer: str) -> None:
    ours, other, client = lab.host("ours"), lab.host("other"), lab.host("client")
    start(other, peer, 150)
    wait_until(lambda: other.holds(VIP), 5, "the peer is master")
    start(ours, "holdfast", 100)
    wait_until(lambda: holdfast_state(ours) == "BACKUP", 5, "we are backup")
    probe = Probe(client, VIP)
    probe.answered_by(other.mac, 5)
    wait_until(lambda: hears_a_master(ours), 5, "the peer is heard")
    assert switch(ours, "--here")["switched"] is True
    probe.answered_by(ours.mac, 2)
    assert who_answers(client, VIP) == {ours.mac}
    ours.run(*holdfast_command("release", "web", "--run-dir", "/run/holdfast"))
    probe.answered_by(other.mac, 5)
    report = probe.finish()
    assert report.outage_lost <= LOST, report
    assert who_answers(client, VIP) == {other.mac}


@pytest.mark.parametrize("peer", ["holdfast", "keepalived"])
def test_away(lab: Lab, peer: str) -> None:
    ours, other, client = lab.host("ours"), lab.host("other"), lab.host("client")
    start(ours, "holdfast", 150)
    wait_until(lambda: ours.holds(VIP), 5, "we are master")
    start(other, peer, 100)
    probe = Probe(client, VIP)
    probe.answered_by(ours.mac, 5)
    wait_until(lambda: switch(ours, "--away")["switched"] is True, 10, "somebody has taken over")
    probe.answered_by(other.mac, 2)
    report = probe.finish()
    assert report.outage_lost <= LOST, report
    assert who_answers(client, VIP) == {other.mac}


def test_away_with_nobody_there_stays_and_says_so(lab: Lab) -> None:
    ours = lab.host("ours")
    start(ours, "holdfast", 150)
    wait_until(lambda: ours.holds(VIP), 5, "we are master")
    assert switch(ours, "--away")["switched"] is False
    assert holdfast_state(ours) == "MASTER"
    assert ours.holds(VIP)


@pytest.mark.parametrize("master", ["holdfast", "keepalived"])
def test_a_clean_stop_of_the_one_unicast_peer_leaves_no_pause(lab: Lab, master: str) -> None:
    ours, other, client = lab.host("ours"), lab.host("other"), lab.host("client")
    first, second = "192.0.2.1", "192.0.2.2"
    stopping = start(other, master, 150, f"unicast_src_ip {second}\n    unicast_peer {{\n        {first}\n    }}")
    wait_until(lambda: other.holds(VIP), 5, "the peer is master")
    start(ours, "holdfast", 100, f"unicast_src_ip {first}\n    unicast_peer {{\n        {second}\n    }}")
    wait_until(lambda: holdfast_state(ours) == "BACKUP", 5, "we are backup")
    probe = Probe(client, VIP)
    probe.answered_by(other.mac, 5)
    wait_until(lambda: hears_a_master(ours), 5, "the peer is heard")
    stopping.signal(signal.SIGTERM)
    probe.answered_by(ours.mac, 3)
    report = probe.finish()
    assert report.outage_lost <= 3, report
