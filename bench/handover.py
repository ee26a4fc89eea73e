"""A planned hand-over and a clean stop, adverts once a second: how many of 1,000 probes a second a client loses."""

import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial

from bench.sites import STARTERS
from bench.table import Measured
from holdfast.lab.daemons import holdfast_command, holdfast_status
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until
from holdfast.lab.probe import Probe

VIP = "192.0.2.100"
HERE, AWAY = "`switch --here` (keepalived: restart)", "`switch --away` (keepalived: restart)"
BESIDE = ", beside keepalived"
STOP = "clean stop of a unicast master"
STOP_BESIDE = "clean stop of a unicast keepalived master"
UNIT = "lost at 1 kHz"

Pair = tuple[Host, Host, Host]


def _text(priority: int, source: str = "", peer: str = "") -> str:
    unicast = f"    unicast_src_ip {source}\n    unicast_peer {{\n        {peer}\n    }}\n" if source else ""
    return (
        "vrrp_instance web {\n    interface eth0\n    virtual_router_id 51\n    advert_int 1\n"
        f"    priority {priority}\n{unicast}    virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n"
    )


def _pair(lab: Lab, master: str, backup: str, unicast: bool = False) -> tuple[Pair, Spawned]:
    """(master, backup, client) with the products at work, the master leading and heard; and its process."""
    one, two, client = lab.host("one"), lab.host("two"), lab.host("client")
    sides = ((one.ip4, two.ip4), (two.ip4, one.ip4)) if unicast else (("", ""), ("", ""))
    leading = STARTERS[master](one, _text(150, *sides[0]))
    wait_until(lambda: one.holds(VIP), 20, "the master leads")
    STARTERS[backup](two, _text(100, *sides[1]))
    for host, product in ((one, master), (two, backup)):
        if product == "holdfast":
            wait_until(partial(_settled, host), 20, f"{host.name} is settled")
    time.sleep(1.5 if backup == "keepalived" else 0)  # keepalived says nowhere that it has heard the master
    return (one, two, client), leading


def _settled(host: Host) -> bool:
    """Whether the daemon there leads or hears who does."""
    try:
        return bool(holdfast_status(host)["instances"][0]["master"])
    except (subprocess.CalledProcessError, IndexError):
        return False


def _lost(hosts: Pair, act: Callable[[], None], to: Host) -> int:
    """Probes lost in the longest outage while `act` moves the address to the host `to`."""
    client = hosts[2]
    probe = Probe(client, VIP)
    holder = hosts[0] if to is hosts[1] else hosts[1]
    probe.answered_by(holder.mac, 5)
    act()
    probe.answered_by(to.mac, 10)
    time.sleep(0.3)
    return probe.finish().outage_lost


def _command(host: Host, *words: str) -> None:
    host.run(*holdfast_command(*words, "--run-dir", "/run/holdfast"), check=False)


def _switches(peer: str, rounds: int) -> tuple[int, int]:
    """The worst of `rounds` hand-overs to here, and of as many away, `peer` being the other side's product."""
    here, away = [], []
    with Lab() as lab:
        (one, two, client), _ = _pair(lab, peer, "holdfast")
        for _ in range(rounds):
            here.append(_lost((one, two, client), lambda: _command(two, "switch", "web", "--here"), two))
            here.append(_lost((one, two, client), lambda: _command(two, "release", "web"), one))
            wait_until(lambda: _settled(two), 10, "the master is heard again")
    with Lab() as lab:
        (one, two, client), _ = _pair(lab, "holdfast", peer)
        for _ in range(rounds):
            away.append(_lost((one, two, client), lambda: _command(one, "switch", "web", "--away"), two))
            away.append(_lost((one, two, client), lambda: _command(one, "release", "web"), one))
            time.sleep(1.2)  # an advert interval: the peer has heard us
    return max(here), max(away)


def _restart(rounds: int) -> int:
    """What operators do with keepalived: restart the master, and let the other take over meanwhile."""
    worst = 0
    for _ in range(rounds):
        with Lab() as lab:
            hosts, leading = _pair(lab, "keepalived", "keepalived")
            worst = max(worst, _lost(hosts, partial(leading.signal, signal.SIGTERM), hosts[1]))
    return worst


def _clean_stop(master: str, backup: str, rounds: int) -> int:
    worst = 0
    for _ in range(rounds):
        with Lab() as lab:
            hosts, leading = _pair(lab, master, backup, unicast=True)
            worst = max(worst, _lost(hosts, partial(leading.signal, signal.SIGTERM), hosts[1]))
    return worst


def hand_overs(products: list[str], rounds: int) -> Measured:
    """holdfast switches, keepalived's master is restarted: the same wish of the operator's, side by side."""
    measured: Measured = {}
    for product in products:
        if product == "keepalived":
            restart, stop = float(_restart(rounds)), float(_clean_stop("keepalived", "keepalived", rounds))
            found = {HERE: restart, AWAY: restart, HERE + BESIDE: restart, AWAY + BESIDE: restart}
            found |= {STOP: stop, STOP_BESIDE: stop}
        else:
            here, away = _switches("holdfast", rounds)
            here_beside, away_beside = _switches("keepalived", rounds)
            found = {HERE: here, AWAY: away, HERE + BESIDE: here_beside, AWAY + BESIDE: away_beside}
            found |= {STOP: _clean_stop("holdfast", "holdfast", rounds)}
            found |= {STOP_BESIDE: _clean_stop("keepalived", "holdfast", rounds)}
        measured[product] = [(what, UNIT, float(lost)) for what, lost in found.items()]
    return measured
