"""AH beside keepalived, and `auth_hmac` between two holdfasts through a migration and an exchange of keys."""

import json
import os
import signal
import time

from holdfast.lab.capture import Capture
from holdfast.lab.daemons import holdfast_command, holdfast_status, start_holdfast, start_keepalived
from holdfast.lab.hosts import Host, Lab, wait_until
from tests.daemon.two_hosts import BOOT_S, VIP, Site, state, worker_of

MULTICAST, UNICAST = "192.0.2.101", "192.0.2.102"


def with_ah(here: Host, there: Host, first: int, second: int) -> str:
    """Two instances with AH: to the group, where the ICV covers the TTL, and to a peer, where it does not."""
    block = """vrrp_instance {name} {{
    state BACKUP
    interface eth0
    virtual_router_id {vrid}
    priority {priority}
    advert_int 1
    {transport}
    authentication {{
        auth_type AH
        auth_pass {password}
    }}
    virtual_ipaddress {{
        {vip}/24
    }}
}}
"""
    peer = f"unicast_src_ip {here.ip4}\n    unicast_peer {{\n        {there.ip4}\n    }}"
    return block.format(
        name="group", vrid=51, priority=first, transport="", password="s3cret12", vip=MULTICAST
    ) + block.format(name="peer", vrid=52, priority=second, transport=peer, password="uniAH", vip=UNICAST)


def test_ah_beside_keepalived(lab: Lab) -> None:
    """Each is the better one of one instance: election, cut, a crash, a clean stop and a dead host in one life."""
    ours, other = lab.host("ours"), lab.host("other")
    mine, theirs = with_ah(ours, other, 150, 100), with_ah(other, ours, 100, 150)

    def owners(group: set[Host], peer: set[Host], seconds: float, what: str) -> None:
        wait_until(
            lambda: (
                {host for host in (ours, other) if host.holds(MULTICAST)} == group
                and {host for host in (ours, other) if host.holds(UNICAST)} == peer
            ),
            seconds,
            what,
        )

    daemon, keepalived = start_holdfast(ours, mine), start_keepalived(other, theirs)
    owners({ours}, {other}, 9, "the better one has each")
    lab.cut(other)
    owners({ours, other}, {ours, other}, 6, "cut off from each other both have all")
    lab.heal(other)
    owners({ours}, {other}, 4, "healed, the better one has each")
    os.kill(worker_of(daemon), signal.SIGKILL)
    owners({other}, {other}, 2, "the farewell of a crashed worker is believed")
    owners({ours}, {other}, 8, "the new worker counts on from what it heard")
    keepalived.signal(signal.SIGTERM)
    owners({ours}, {ours}, 2, "its farewell is believed")
    keepalived.wait(5)
    again = start_keepalived(other, theirs)
    owners({ours}, {other}, 8, "it counts on from ours")
    ours.power_off()
    wait_until(lambda: other.holds(MULTICAST), 6, "the heir of a dead host")
    for said in (keepalived.text(), again.text()):
        assert "invalid IPSEC HMAC-MD5" not in said, said
    assert "invalid IPSEC" not in daemon.text()



KEYS = {1: "hex:" + "0123456789abcdef" * 4, 2: "correct-horse-battery-staple-0123456789"}
STEPS = [
    ("receive-only", (1,), 1),
    ("permissive", (1,), 1),
    ("enforce", (1,), 1),
    ("enforce", (1, 2), 1),
    ("enforce", (1, 2), 2),
    ("enforce", (2,), 2),
]


def block(mode: str, keys: tuple[int, ...], active: int) -> str:
    lines = [f"key {number} {KEYS[number]}" for number in keys]
    return "\n        ".join(["auth_hmac {", *lines, f"active_key {active}", f"mode {mode}"]) + "\n    }"


def refused(host: Host) -> dict[str, int]:
    counters = holdfast_status(host)["instances"][0]["statistics"]
    return {name: count for name, count in counters.items() if count and name.startswith("auth")}


def test_signing_begins_and_a_key_is_exchanged_without_losing_the_master(lab: Lab) -> None:
    site = Site(lab)
    begun = time.time_ns()
    for step in STEPS:
        site.more = block(*step)
        for host, priority in ((site.b, 100), (site.a, 150)):
            site.reload(host, site.text(host, priority))
        site.goes_on(site.a, 3)
        assert state(site.b) == "BACKUP", step
    assert site.adverts(site.b, begun) == [], "the backup never spoke"
    assert site.longest_gap_s(site.a, begun) < 0.3
    assert refused(site.a) == refused(site.b) == {}
    site.only(site.a)

    # nothing of the keys is shown by whatever shows something
    hidden = [key.removeprefix("hex:") for key in KEYS.values()]
    site.a.write("keepalived.conf", site.text(site.a, 150).replace(KEYS[2], KEYS[1].removeprefix("hex:")[:50]))
    plan = json.loads(site.a.run(*holdfast_command("plan", "--json", "--run-dir", "/run/holdfast")))
    assert [change["what"].split(":")[0] for change in plan["changes"]] == ["auth_hmac"]
    shown = json.dumps(plan) + json.dumps(holdfast_status(site.a)) + site.first.text()
    assert not [secret for secret in hidden if secret[:12] in shown]

    # a backup with another key is deaf, takes over beside it, and both say why
    site.reload(site.b, site.text(site.b, 100).replace(KEYS[2], KEYS[1]))
    wait_until(lambda: refused(site.b).keys() == {"auth_ext_invalid_hmac"}, 5, "refused")
    wait_until(lambda: "SPLIT BRAIN" in site.second.text(), 10, "said")
    assert "as its password or key is another" in site.second.text()


def test_a_crashed_workers_farewell_is_signed(lab: Lab) -> None:
    site = Site(lab, block("enforce", (1,), 1), head="")
    capture: Capture = site.wire
    os.kill(worker_of(site.first), signal.SIGKILL)
    wait_until(lambda: site.b.holds(VIP), BOOT_S, "b takes over")
    farewell = [advert for advert in capture.adverts() if advert.source == site.a.ip4 and advert.priority == 0]
    assert farewell
    assert refused(site.b) == {}
