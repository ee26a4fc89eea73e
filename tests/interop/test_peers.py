"""holdfast beside keepalived and FRR's vrrpd, in both roles; every test ends with exactly one master."""

import time

import pytest

from holdfast.lab.hosts import Lab, wait_until
from tests.interop.routers import OURS, Network, Node, Setting

V3 = [Setting(), Setting(unicast=True), Setting(six=True), Setting(six=True, unicast=True)]
V2 = [Setting(version=2, password="secret"), Setting(version=2, unicast=True)]
FRR = [Setting(), Setting(six=True, link_local_only=True), Setting(version=2)]
HIGH, LOW = 150, 100

quick = [
    pytest.param(peer, s, id=f"{peer}-{s}")
    for peer, settings in (("keepalived", V3), ("frr", FRR[:2]))
    for s in settings
]
slow = [
    pytest.param(peer, s, id=f"{peer}-{s}")
    for peer, settings in (("keepalived", V2), ("frr", FRR[2:]))
    for s in settings
]
roles = pytest.mark.parametrize("we_are_better", [True, False], ids=["better", "worse"])


def _roles(network: Network, we_are_better: bool) -> tuple[Node, Node]:
    return (network.ours, network.peer) if we_are_better else (network.peer, network.ours)


def _took_over(network: Network, dead: Node, heir: Node, priority: int, gone_ns: int) -> None:
    """The first advert of `heir` came Master_Down_Interval after the last that `dead` sent before `gone_ns`."""
    last = [a for a in network.adverts(dead) if a.time_ns < gone_ns][-1].time_ns
    first = network.adverts(heir, last)[0].time_ns
    assert (first - last) / 1e9 == pytest.approx(network.setting.down_s(priority) + 0.2, abs=0.23)


@roles
@pytest.mark.parametrize(("peer", "setting"), quick)
def test_election_kill_and_return(lab: Lab, peer: str, setting: Setting, we_are_better: bool) -> None:
    network = Network(lab, OURS, peer, setting)
    better, worse = _roles(network, we_are_better)
    better.start(HIGH)
    worse.start(LOW)
    network.alone(better, network.boot_s(HIGH))
    gone = time.time_ns()
    better.die()
    network.alone(worse, network.boot_s(LOW))
    _took_over(network, better, worse, LOW, gone)
    better.revive()
    better.start(HIGH)  # preempts
    network.alone(better, network.boot_s(HIGH))


@roles
@pytest.mark.parametrize(("peer", "setting"), quick)
def test_clean_stop(lab: Lab, peer: str, setting: Setting, we_are_better: bool) -> None:
    network = Network(lab, OURS, peer, setting)
    better, worse = _roles(network, we_are_better)
    better.start(HIGH)
    worse.start(LOW)
    network.alone(better, network.boot_s(HIGH))
    asked = time.time_ns()
    better.term()
    network.alone(worse, network.boot_s(LOW))
    resigned = [a for a in network.adverts(better, asked) if a.priority == 0]
    assert resigned, "no advert with priority 0"
    first = network.adverts(worse, resigned[0].time_ns)[0]
    assert (first.time_ns - resigned[0].time_ns) / 1e9 < (256 - LOW) / 256 * setting.interval_s + 0.2
    assert better.kind == "frr" or better.ended() == 0
    assert not better.holds()


@roles
@pytest.mark.parametrize(("peer", "setting"), quick)
def test_cut_and_heal(lab: Lab, peer: str, setting: Setting, we_are_better: bool) -> None:
    network = Network(lab, OURS, peer, setting)
    better, worse = _roles(network, we_are_better)
    better.start(HIGH)
    worse.start(LOW)
    network.alone(better, network.boot_s(HIGH))
    cut = time.time_ns()
    lab.cut(better.host)
    network.speaks(worse, network.boot_s(LOW), after_ns=cut)
    lab.heal(better.host)
    network.alone(better, network.boot_s(HIGH))


@pytest.mark.parametrize("ours_first", [True, False], ids=["lower-address", "higher-address"])
@pytest.mark.parametrize(("peer", "setting"), quick)
def test_tie_goes_to_the_higher_address(lab: Lab, peer: str, setting: Setting, ours_first: bool) -> None:
    network = Network(lab, OURS, peer, setting, ours_first)
    first, second = (network.ours, network.peer) if ours_first else (network.peer, network.ours)
    if setting.six and "frr" in (first.kind, second.kind):  # its adverts come from fe80::aN, above our fe80::N
        first, second = network.ours, network.peer
    lab.split(first.host, second.host)
    first.start(LOW)
    second.start(LOW)
    network.leads(first, network.boot_s(LOW))
    network.leads(second, network.boot_s(LOW))
    lab.heal()
    network.alone(second, network.boot_s(LOW))


@roles
@pytest.mark.parametrize(("peer", "setting"), quick)
def test_nopreempt(lab: Lab, peer: str, setting: Setting, we_are_better: bool) -> None:
    network = Network(lab, OURS, peer, setting)
    better, worse = _roles(network, we_are_better)
    worse.start(LOW)
    network.alone(worse, network.boot_s(LOW))
    better.start(HIGH, preempt=False)
    started = time.time_ns()
    enough = round((setting.down_s(HIGH) + 0.6) / setting.interval_s)
    network.speaks(worse, network.boot_s(LOW), enough, started)  # longer than the better one needs to take over
    assert network.adverts(better) == []
    network.alone(worse, 1)
    worse.die()
    network.alone(better, network.boot_s(HIGH))


@roles
@pytest.mark.parametrize(("peer", "setting"), slow)
def test_version_2(lab: Lab, peer: str, setting: Setting, we_are_better: bool) -> None:
    """Election, cut, heal, a kill and a clean stop in one go: a second's interval makes each step long."""
    network = Network(lab, OURS, peer, setting)
    better, worse = _roles(network, we_are_better)
    better.start(HIGH)
    worse.start(LOW)
    network.alone(better, network.boot_s(HIGH))
    cut = time.time_ns()
    lab.cut(better.host)
    network.speaks(worse, network.boot_s(LOW), after_ns=cut)
    _took_over(network, better, worse, LOW, cut)
    lab.heal(better.host)
    network.alone(better, network.boot_s(HIGH))
    gone = time.time_ns()
    better.die()
    network.alone(worse, network.boot_s(LOW))
    _took_over(network, better, worse, LOW, gone)
    better.revive()
    better.start(HIGH)
    network.alone(better, network.boot_s(HIGH))
    better.term()
    wait_until(lambda: network.adverts(better)[-1].priority == 0, 3, "priority 0")
    network.alone(worse, network.boot_s(LOW))
