"""Split brain on real hosts: each cause made for real, one incident with its cure, closed when over; the winner's word."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.lab.ask import who_answers
from holdfast.lab.daemons import holdfast_command, holdfast_status, start_holdfast, start_keepalived
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until

VIP = "192.0.2.100"
STARTERS: dict[str, Callable[[Host, str], Spawned]] = {"holdfast": start_holdfast, "keepalived": start_keepalived}
TEXT = """\
vrrp_instance web {{
    interface eth0
    virtual_router_id 51
    version {version}
    advert_int {interval}
    priority {priority}
    {more}
    virtual_ipaddress {{
        {vips}
    }}
}}
"""
PASSWORD = "authentication {{\n auth_type PASS\n auth_pass {}\n }}"


def text(priority: int, version: int = 3, interval: str = "0.2", more: str = "", vips: str = f"{VIP}/24") -> str:
    return TEXT.format(priority=priority, version=version, interval=interval, more=more, vips=vips)


def open_incidents(host: Host) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = holdfast_status(host)["incidents"]
    return found


def causes(host: Host) -> list[str]:
    return [str(one["cause"]) for one in open_incidents(host)]


def settled(host: Host) -> bool:
    try:
        return bool(holdfast_status(host)["instances"][0]["master"])
    except Exception:
        return False


DIFFERENT: dict[str, tuple[str, str, str, str]] = {
    # cause → the peer's make, ours, the peer's, a word of the cure
    "password": (
        "keepalived",
        text(100, version=2, interval="1", more=PASSWORD.format("ours")),
        text(150, version=2, interval="1", more=PASSWORD.format("theirs")),
        "auth_pass",
    ),
    "authentication": (
        "holdfast",
        text(100, version=2, interval="1", more=PASSWORD.format("ours")),
        text(150, version=2, interval="1"),
        "auth_type",
    ),
    "version": ("keepalived", text(100), text(150, version=2, interval="1"), "version"),
    "interval": ("keepalived", text(100, version=2, interval="1"), text(150, version=2, interval="2"), "advert_int"),
    "stranger": ("holdfast", text(100, version=2, interval="1"), text(150, vips="192.0.2.77/24"), "virtual_router_id"),
}


@pytest.mark.parametrize("cause", DIFFERENT)
def test_two_configurations_that_do_not_agree(lab: Lab, cause: str) -> None:
    ours, other = lab.host("ours"), lab.host("other")
    make, mine, theirs, cure = DIFFERENT[cause]
    STARTERS[make](other, theirs)
    daemon = start_holdfast(ours, mine)
    wait_until(lambda: settled(ours) and cause in causes(ours), 15, f"the incident {cause} is found")
    found = open_incidents(ours)
    assert len(found) == 1, found
    assert other.ip4 in found[0]["text"]
    assert cure in found[0]["cure"]
    assert daemon.text().count("SPLIT BRAIN") == 1, daemon.text()


def cut(host: Host) -> None:
    """No advert comes in, everything else does."""
    host.run("nft", "add table inet cut; add chain inet cut in { type filter hook input priority 0; };"
             "add rule inet cut in meta l4proto 112 drop")  # fmt: skip


def heal(host: Host) -> None:
    host.run("nft", "delete table inet cut")


@pytest.mark.parametrize("make", ["holdfast", "keepalived"])
def test_two_owners_of_which_the_lower_address_ignores_the_other(lab: Lab, make: str) -> None:
    """Priority 255 on both, and one that hears nothing, as a router may that owns the addresses."""
    other, ours, client = lab.host("other"), lab.host("ours"), lab.host("client")
    cut(other)
    peer = STARTERS[make](other, text(255, more="state MASTER"))
    wait_until(lambda: other.holds(VIP), 5, "the peer leads")
    daemon = start_holdfast(ours, text(255, more="state MASTER"))
    wait_until(lambda: ours.holds(VIP) and causes(ours) == ["owners"], 5, "we lead too, and say why")
    wait_until(lambda: not ours.holds(VIP), 5, "we give way")
    assert "give one of the two another priority; unless it gives way within 240 ms, we do" in daemon.text()
    wait_until(lambda: causes(ours) == [], 5, "the incident is closed")
    wait_until(lambda: who_answers(client, VIP) == {other.mac}, 5, "the peer alone answers")
    peer.process.terminate()
    wait_until(lambda: ours.holds(VIP), 5, "it is ours once the other is gone")
    assert daemon.alive()


@pytest.mark.parametrize("make", ["holdfast", "keepalived"])
def test_filtered_adverts_are_found_by_the_answers_and_healing_ends_it(lab: Lab, make: str) -> None:
    ours, other, client = lab.host("ours"), lab.host("other"), lab.host("client")
    STARTERS[make](other, text(150))
    wait_until(lambda: other.holds(VIP), 5, "the peer leads")
    daemon = start_holdfast(ours, text(100))
    wait_until(lambda: settled(ours), 5, "we hear it")
    cut(ours)
    wait_until(lambda: ours.holds(VIP), 5, "we lead too")
    wait_until(lambda: causes(ours) == ["filtered"], 10, "the incident is found")
    assert other.ip4 in open_incidents(ours)[0]["text"]
    assert "split brain: " in ours.run(*holdfast_command("why", "web"))
    heal(ours)
    wait_until(lambda: not ours.holds(VIP), 5, "the better one has won")
    wait_until(lambda: causes(ours) == [], 5, "the incident is closed")
    assert "this node is BACKUP now" in daemon.text()
    assert who_answers(client, VIP) == {other.mac}
    events = [json.loads(line) for line in ours.run(*holdfast_command("events", "--json")).splitlines()]
    told = [(row["what"], row["name"], row["slug"], row["opened"]) for row in events if row["kind"] == "incident"]
    assert told[-2:] == [("split brain", "web", "filtered", True), ("split brain over", "web", "filtered", False)]


def test_the_winner_sees_one_way_adverts_and_tells_the_neighbours_again(lab: Lab) -> None:
    ours, other = lab.host("ours"), lab.host("other")
    start_holdfast(ours, text(150))
    wait_until(lambda: ours.holds(VIP), 5, "we lead")
    start_keepalived(other, text(100))
    cut(other)
    wait_until(lambda: other.holds(VIP), 5, "the peer leads too: it does not hear us")
    wait_until(lambda: causes(ours) == ["one-way"], 10, "the incident is found")
    capture = lab.capture(frozenset((0x0806,)))
    heal(other)
    wait_until(lambda: causes(ours) == [], 10, "the incident is closed")
    assert ours.holds(VIP)
    assert holdfast_status(ours)["incidents_total"] == {"one-way": 1}
    wait_until(lambda: any(a.address == VIP and a.source_mac == ours.mac for a in capture.announcements()), 3,
               "the neighbours are told again")  # fmt: skip


def test_an_address_put_elsewhere_by_hand(lab: Lab) -> None:
    ours, third = lab.host("ours"), lab.host("third")
    daemon = start_holdfast(ours, "global_defs { vrrp_address_probe 1 }\n" + text(150))
    wait_until(lambda: ours.holds(VIP), 5, "we lead")
    third.links.add_address("eth0", VIP, 32)
    wait_until(lambda: causes(ours) == ["two-owners"], 10, "the incident is found")
    assert third.mac in open_incidents(ours)[0]["text"]
    third.run("ip", "address", "delete", f"{VIP}/32", "dev", "eth0")
    wait_until(lambda: causes(ours) == [], 25, "the incident is closed")
    assert daemon.text().count("SPLIT BRAIN") == 1


def test_a_hand_over_is_no_incident(lab: Lab) -> None:
    ours, other = lab.host("ours"), lab.host("other")
    first = start_holdfast(ours, text(150))
    second = start_holdfast(other, text(100))
    wait_until(lambda: ours.holds(VIP) and settled(other), 5, "all is well")
    other.run(*_command("switch", "web", "--here"))
    wait_until(lambda: other.holds(VIP) and not ours.holds(VIP), 5, "it has moved")
    other.run(*_command("release", "web"))
    wait_until(lambda: ours.holds(VIP) and not other.holds(VIP), 5, "it is back")
    for host, daemon in ((ours, first), (other, second)):
        assert causes(host) == []
        assert "SPLIT BRAIN" not in daemon.text()


def _command(*words: str) -> tuple[str, ...]:
    from holdfast.lab.daemons import holdfast_command

    return (*holdfast_command(*words), "--run-dir", "/run/holdfast")
