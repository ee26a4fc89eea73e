"""holdfast beside ucarp, in both roles, and two holdfasts speaking CARP; every scene ends with exactly one master."""

import signal
import subprocess

import pytest

from holdfast.lab.ask import who_answers
from holdfast.lab.daemons import UcarpHost, holdfast_status, start_holdfast, start_ucarp
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until

VHID, PASSWORD, VIP = 7, "a-long-password", "192.0.2.77"
FAST, SLOW = 0, 40  # advskew
DEAD_RATIO = 2
DEAD_S = DEAD_RATIO + SLOW / 256
UCARP_LATE_S = 3.0  # it looks at its timer once an interval, and reads packets up to 1 s late

CONFIGURATION = """
carp_instance gate {{
    interface eth0
    vhid {vhid}
    password {password}
    advskew {advskew}
    dead_ratio {dead_ratio}
    {more}
    virtual_ipaddress {{
        {vip}/24
    }}
}}
"""


class Node:
    """holdfast or ucarp on a host."""

    def __init__(self, kind: str, host: Host) -> None:
        self.kind, self.host = kind, host
        self.daemon: Spawned

    def start(self, advskew: int, more: str = "preempt") -> "Node":
        if self.kind == "ucarp":
            asked = UcarpHost(vhid=VHID, password=PASSWORD, vip=VIP, advskew=advskew, dead_ratio=DEAD_RATIO,
                              preempt="nopreempt" not in more, broadcast="broadcast" in more)  # fmt: skip
            self.daemon = start_ucarp(self.host, asked)
        else:
            text = CONFIGURATION.format(
                dead_ratio=DEAD_RATIO, vhid=VHID, password=PASSWORD, advskew=advskew, vip=VIP, more=more
            )
            self.daemon = start_holdfast(self.host, text)
        return self

    def holds(self) -> bool:
        return self.host.holds(VIP)


def alone(client: Host, node: Node, other: Node, seconds: float) -> None:
    """Within `seconds` `node`, and nobody else, has the address and answers for it."""
    wait_until(
        lambda: node.holds() and not other.holds() and who_answers(client, VIP, 0.02) == {node.host.mac},
        seconds,
        f"{node.kind} on {node.host.name} alone has {VIP}",
    )


def nodes(lab: Lab, first: str, second: str) -> tuple[Node, Node, Host]:
    return Node(first, lab.host("one")), Node(second, lab.host("two")), lab.host("client")


@pytest.mark.parametrize(("better", "worse"), [("holdfast", "ucarp"), ("ucarp", "holdfast"), ("holdfast", "holdfast")])
def test_election_stop_return_cut_and_heal(lab: Lab, better: str, worse: str) -> None:
    one, two, client = nodes(lab, better, worse)
    one.start(FAST)
    two.start(SLOW)
    alone(client, one, two, DEAD_S + 4)
    one.daemon.signal(signal.SIGTERM)
    assert one.daemon.wait(5) == 0
    alone(client, two, one, 1.5 if better == "holdfast" else DEAD_S + UCARP_LATE_S)  # ucarp has no farewell
    one.start(FAST)
    alone(client, one, two, DEAD_S + UCARP_LATE_S)
    lab.cut(one.host)
    wait_until(two.holds, DEAD_S + UCARP_LATE_S, "both lead, apart")
    lab.heal(one.host)
    alone(client, one, two, 3 + UCARP_LATE_S)


def test_without_preempt_the_slower_master_stays(lab: Lab) -> None:
    ours, peer, client = nodes(lab, "holdfast", "ucarp")
    peer.start(SLOW)
    alone(client, peer, ours, DEAD_S + UCARP_LATE_S)
    ours.start(FAST, more="nopreempt")
    wait_until(lambda: _heard(ours.host) >= 4, 12, "four adverts of ucarp are taken")
    alone(client, peer, ours, 1)
    (instance,) = holdfast_status(ours.host)["instances"]
    assert instance["state"] == "BACKUP"
    assert instance["protocol"] == "carp"
    assert instance["master"]["address"] == peer.host.ip4


@pytest.mark.parametrize(("first", "second"), [("holdfast", "ucarp"), ("ucarp", "holdfast")])
def test_killed_without_a_word_in_broadcast_frames(lab: Lab, first: str, second: str) -> None:
    """Both send frames to everyone, as `ucarp -M` does; then every process of the master is killed at one moment."""
    one, two, client = nodes(lab, first, second)
    one.start(FAST, "preempt\n broadcast")
    alone(client, one, two, DEAD_S + 4)
    wire = lab.capture(frozenset((112,)))
    two.start(SLOW, "preempt\n broadcast")
    wait_until(lambda: len(list(wire.adverts())) >= 3, 6, "adverts are seen")
    assert {frame.octets[:6] for frame in wire.frames} == {b"\xff" * 6}
    assert {(advert.octets[1], advert.destination) for advert in wire.adverts()} == {(VHID, "224.0.0.18")}
    wait_until(lambda: two.kind == "ucarp" or _heard(two.host) >= 2, 12, "the backup takes the master's adverts")
    assert not two.holds()
    one.host.power_off()
    wait_until(lambda: who_answers(client, VIP, 0.02) == {two.host.mac}, DEAD_S + UCARP_LATE_S, "the other took over")


def _heard(host: Host) -> int:
    try:
        instances = holdfast_status(host)["instances"]
    except subprocess.CalledProcessError:
        return 0  # not started yet
    return int(instances[0]["statistics"]["adverts_received"]) if instances else 0
