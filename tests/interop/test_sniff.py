"""`holdfast sniff` on a third host, beside real routers of every make."""

import json
import signal
import time
from typing import Any

import pytest

from holdfast.lab.daemons import (
    FrrRouter,
    holdfast_command,
    source_environment,
    start_frr,
    start_holdfast,
    start_keepalived,
)
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until


def configuration(priority: int, vip: str = "192.0.2.100", *more: str) -> str:
    lines = "".join(f"    {line}\n" for line in ("interface eth0", "virtual_router_id 51", f"priority {priority}", *more))
    return f"vrrp_instance web {{\n{lines}    virtual_ipaddress {{\n        {vip}/24\n    }}\n}}\n"


def sniff(host: Host, *options: str) -> Spawned:
    """Listening, once it does."""
    listening = host.spawn(*holdfast_command("sniff", "-i", "eth0", "--json", *options), environment=source_environment())
    wait_until(lambda: "allmulti" in host.run("ip", "-d", "link", "show", "eth0"), 5, "sniff listens")
    return listening


def documents(listening: Spawned) -> list[dict[str, Any]]:
    return [json.loads(line) for line in listening.text().splitlines()]


def until(listening: Spawned, source: str, event: str, times: int = 1, topic: str = "") -> dict[str, Any]:
    """That event of that source, for the nth time, with a finding of that topic."""

    def found() -> list[dict[str, Any]]:
        return [
            one
            for one in documents(listening)
            if (one.get("source"), one["event"]) == (source, event)
            and (not topic or topic in [problem["topic"] for problem in one["problems"]])
        ]

    wait_until(lambda: len(found()) >= times, 10, f"{source} has {event} {topic}")
    return found()[times - 1]


@pytest.mark.parametrize("peer", ["keepalived", "frr"])
def test_both_makes_are_heard_and_a_hand_over_told(lab: Lab, peer: str) -> None:
    one, other, third = lab.host("one"), lab.host("two"), lab.host("three")
    listening = sniff(third)
    if peer == "frr":
        start_frr(other, FrrRouter(vrid=51, priority=100, version=3, interval_ms=100, vip="192.0.2.100", prefix=24))
    else:
        start_keepalived(other, configuration(100, "192.0.2.100", "version 3", "advert_int 0.1"))
    first = until(listening, other.ip4, "appeared")
    virtual = "00:00:5e:00:01:33"
    assert {name: first[name] for name in ("protocol", "vrid", "version", "priority", "interval_s", "addresses", "auth",
                                           "checksum", "ttl", "mac", "problems")} == {
        "protocol": "vrrp", "vrid": 51, "version": 3, "priority": 100, "interval_s": 0.1, "addresses": ["192.0.2.100"],
        "auth": "none", "checksum": "pseudo_header", "ttl": 255, "mac": virtual if peer == "frr" else other.mac,
        "problems": [],
    }  # fmt: skip
    ours = start_holdfast(one, configuration(150, "192.0.2.100", "version 3", "advert_int 0.1"))
    until(listening, one.ip4, "appeared")
    assert until(listening, other.ip4, "silent")["yielded_to"] == one.ip4
    ours.signal(signal.SIGTERM)
    until(listening, other.ip4, "appeared", 2)
    listening.signal(signal.SIGINT)
    assert listening.wait(5) == 0
    end = documents(listening)[-1]
    assert {one["source"]: one["state"] for one in end["speakers"]} == {other.ip4: "speaking", one.ip4: "resigned"}
    topics = {found["topic"] for speaker in end["speakers"] for found in speaker["problems"]}
    assert topics - {"late"} == ({"mac"} if peer == "frr" else set())


def test_two_masters_that_do_not_hear_each_other(lab: Lab) -> None:
    one, other, third = lab.host("one"), lab.host("two"), lab.host("three")
    listening = sniff(third)
    lab.split(one, other)
    start_holdfast(one, configuration(150, "192.0.2.100", "version 3", "advert_int 0.1"))
    start_keepalived(other, configuration(100, "192.0.2.100", "version 3", "advert_int 0.1"))
    for host in (one, other):
        until(listening, host.ip4, "changed", topic="two-masters")
    lab.heal()
    until(listening, other.ip4, "silent")


def test_a_master_kept_quiet_by_adverts_it_drops_and_on_a_master_itself(lab: Lab) -> None:
    """Another password: keepalived is master and says nothing as long as it hears the other one."""
    one, other = lab.host("one"), lab.host("two")
    word = "authentication {{\n auth_type PASS\n auth_pass {}\n }}"
    listening = sniff(one)  # the adverts of the host it runs on are heard too
    start_keepalived(other, configuration(100, "192.0.2.101", word.format("wrong")))
    until(listening, other.ip4, "appeared")
    start_holdfast(one, configuration(150, "192.0.2.100", word.format("right")))
    heard = until(listening, one.ip4, "appeared")
    assert [found["topic"] for found in heard["problems"]] == ["addresses", "password"]
    assert other.holds("192.0.2.101")
    until(listening, other.ip4, "silent", topic="hidden")
    assert other.holds("192.0.2.101")


def test_it_ends_when_nobody_reads_any_more(lab: Lab) -> None:
    router, third = lab.host("one"), lab.host("two")
    start_keepalived(router, configuration(100, "192.0.2.100", "version 3", "advert_int 0.1"))
    command = " ".join(holdfast_command("sniff", "-i", "eth0"))
    said = third.run("sh", "-c", f"{command} 2>&1 | head -1", seconds=8)
    assert "VRRP 51 192.0.2.1 is heard" in said
    wait_until(lambda: not third.processes(), 5, "sniff has ended")


def test_ucarp_and_bfd_are_heard(lab: Lab) -> None:
    one, other = lab.host("one"), lab.host("two")
    script = one.write("none.sh", "#!/bin/sh\n", 0o755)
    secrets = one.write("keys.json", '{"carp_password": "carpsecret", "carp_virtual_address": "192.0.2.77"}')
    listening = sniff(one, "--secrets", secrets)
    one.spawn(
        "/usr/sbin/ucarp", "-i", "eth0", "-s", one.ip4, "-v", "7", "-p", "carpsecret", "-a", "192.0.2.77", "-b", "1",
        "-r", "1", "-u", script, "-d", script, "-f", "none",
    )  # fmt: skip
    for here, there in ((one, other), (other, one)):
        lines = f"neighbor_ip {there.ip4}\n source_ip {here.ip4}\n min_rx 100\n min_tx 100\n multiplier 3\n"
        start_keepalived(here, f"bfd_instance peer {{\n {lines} }}\n")
    until(listening, one.ip4, "appeared")
    wait_until(lambda: "Up" in [one.get("session") for one in documents(listening)], 8, "the session is up")
    wait_until(lambda: "carp" in [one.get("protocol") for one in documents(listening)], 8, "ucarp is master")
    other.kill_everything()
    silent = until(listening, other.ip4, "silent")
    assert (silent["protocol"], silent["destination"]) == ("bfd", one.ip4)
    listening.signal(signal.SIGTERM)
    listening.wait(5)
    assert [speaker["problems"] for speaker in documents(listening)[-1]["speakers"]] == [[], [], []]


def test_nothing_leaves_the_host_that_listens(lab: Lab) -> None:
    router, third = lab.host("one"), lab.host("two")
    third.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1")
    start_keepalived(router, configuration(100, "192.0.2.100", "version 3", "advert_int 0.1"))
    wire = lab.capture()
    listening = sniff(third)
    until(listening, router.ip4, "appeared")
    listening.signal(signal.SIGTERM)
    assert listening.wait(5) == 0
    time.sleep(0.2)  # what would still be on its way
    frames = wire.drain()
    assert [frame for frame in frames if frame.source_mac == router.mac]
    assert [frame.octets.hex() for frame in frames if frame.source_mac == third.mac] == []
