"""VMACs beside keepalived's and FRR's: the address moves, and the MAC neighbours know stays the same."""

import pytest

from holdfast.lab.hosts import Lab, wait_until
from tests.interop.routers import OURS, Network, Setting

HIGH, LOW = 150, 100
PAIRS = [
    ("keepalived", Setting(version=2, vmac=True)),
    ("keepalived", Setting(vmac=True)),
    ("keepalived", Setting(vmac=True, xmit_base=True)),
    ("keepalived", Setting(six=True, vmac=True)),
    ("frr", Setting(vmac=True)),
    ("frr", Setting(version=2, vmac=True)),
    ("frr", Setting(six=True, link_local_only=True, vmac=True)),
    ("holdfast", Setting(vmac=True)),
    ("holdfast", Setting(six=True, vmac=True)),
]


CASES = [  # with ourselves, and where version and family are not the point, one role will do
    pytest.param(peer, setting, role, id=f"{peer}-{setting}-{'better' if role else 'worse'}")
    for peer, setting in PAIRS
    for role in ((True,) if peer == "holdfast" or setting.xmit_base or setting.version == 2 else (True, False))
]


@pytest.mark.parametrize(("peer", "setting", "we_are_better"), CASES)
def test_election_cut_heal_kill_and_clean_stop(lab: Lab, peer: str, setting: Setting, we_are_better: bool) -> None:
    network = Network(lab, OURS, peer, setting)
    better, worse = (network.ours, network.peer) if we_are_better else (network.peer, network.ours)
    better.start(HIGH)
    worse.start(LOW)
    network.alone(better, network.boot_s(HIGH))
    assert better.mac == worse.mac  # so that whoever knows the one need not learn the other
    lab.cut(better.host)
    network.leads(worse, network.boot_s(LOW))
    lab.heal(better.host)
    network.alone(better, network.boot_s(HIGH))
    better.term()
    network.alone(worse, network.boot_s(LOW))
    if peer == "frr":
        return
    assert better.ended() == 0
    assert "vrrp" not in better.host.run("ip", "-br", "link"), "the VMAC is still there"
    better.leaving = False
    better.start(HIGH)
    network.alone(better, network.boot_s(HIGH))
    better.die()
    wait_until(worse.holds, network.boot_s(LOW), "the other takes over from the dead")
