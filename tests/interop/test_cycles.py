"""Both hosts restarted at the same instant, links cut and healed, over and over: one master, one owner, true states.

HOLDFAST_CYCLES says how often; the default keeps the tests short.
"""

import os
import signal

import pytest

from holdfast.lab.ask import who_answers
from holdfast.lab.daemons import holdfast_state, start_holdfast
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until

pytestmark = pytest.mark.alone

VIP = "192.0.2.100"
CYCLES = int(os.environ.get("HOLDFAST_CYCLES", "8"))
PATIENCE_S = 5.0
CONFIGURATION = """\
vrrp_instance web {
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.1
    priority %d
    virtual_ipaddress {
        192.0.2.100/24
    }
}
"""


def written_state(host: Host) -> str:
    """What RUN_DIR/state says of the instance."""
    lines = host.run("sh", "-c", "cat /run/holdfast/state 2>/dev/null || true").split()
    return lines[2] if len(lines) >= 3 else ""


def settled(one: Host, other: Host) -> bool:
    """Whether one is master and the other backup, in what they say, write and hold."""
    states = {holdfast_state(one): one, holdfast_state(other): other}
    if set(states) != {"MASTER", "BACKUP"}:
        return False
    master, backup = states["MASTER"], states["BACKUP"]
    return (
        master.holds(VIP)
        and not backup.holds(VIP)
        and (written_state(master), written_state(backup)) == ("MASTER", "BACKUP")
    )


def check_one_owner(lab: Lab, one: Host, other: Host, client: Host, what: str) -> None:
    wait_until(lambda: settled(one, other), PATIENCE_S, f"{what}: one master, one backup")
    owner = one if one.holds(VIP) else other
    wait_until(lambda: who_answers(client, VIP) == {owner.mac}, PATIENCE_S, f"{what}: one answering MAC")


def test_both_restarted_at_the_same_instant(lab: Lab) -> None:
    one, other, client = lab.host("one"), lab.host("other"), lab.host("client")
    for cycle in range(CYCLES):
        rank = (100, 100) if cycle % 2 else (100, 150)  # a tie every other time
        daemons = [start_holdfast(host, CONFIGURATION % rank[n]) for n, host in enumerate((one, other))]
        check_one_owner(lab, one, other, client, f"restart {cycle}")
        stop_together(daemons)


def stop_together(daemons: list[Spawned]) -> None:
    for daemon in daemons:
        daemon.signal(signal.SIGTERM)
    for daemon in daemons:
        assert daemon.wait(3) == 0


def test_cut_and_healed_at_any_moment(lab: Lab) -> None:
    one, other, client = lab.host("one"), lab.host("other"), lab.host("client")
    daemons = [start_holdfast(one, CONFIGURATION % 150), start_holdfast(other, CONFIGURATION % 100)]
    check_one_owner(lab, one, other, client, "start")
    for cycle in range(CYCLES):
        host = (one, other)[cycle % 2]
        lab.cut(host)
        # healed before anybody noticed, at the moment of the take-over, and after it
        waited_s = (0.05, 0.15, 0.36, 0.4, 0.6)[cycle % 5]
        pause(waited_s)
        lab.heal(host)
        check_one_owner(lab, one, other, client, f"cut {cycle}")
    stop_together(daemons)


def pause(seconds: float) -> None:
    """Let time pass; what happens meanwhile is the point."""
    signal.sigtimedwait((), seconds)
