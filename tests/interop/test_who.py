"""Who has the address, asked on the master, on a backup and on a third host; one owner, none, two; both makes."""

import subprocess
from typing import Any

import msgspec
import pytest

from holdfast.lab.daemons import holdfast_command, holdfast_state, holdfast_status, start_holdfast, start_keepalived
from holdfast.lab.hosts import Host, Lab, wait_until

VIP, VIP6 = "192.0.2.100", "2001:db8::100"
CONFIGURATION = """\
vrrp_instance web {
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.3
    priority %d
    virtual_ipaddress {
        %s
    }
}
"""
STARTERS = {"holdfast": start_holdfast, "keepalived": start_keepalived}


def who(host: Host, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and what `who --json` printed."""
    status = 0
    try:
        said = host.run(*holdfast_command("who", *words, "--json"))
    except subprocess.CalledProcessError as ended:
        said, status = ended.stdout, ended.returncode
        if status not in (3, 4):
            raise
    return status, msgspec.json.decode(said)["vips"]


def owner(found: list[dict[str, Any]]) -> tuple[str, str]:
    return found[0]["owner"]["address"], found[0]["owner"]["mac"]


def hears(host: Host) -> bool:
    instances = holdfast_status(host)["instances"]
    return bool(instances and instances[0]["master"])


@pytest.mark.parametrize("make", ["holdfast", "keepalived"])
def test_the_master_a_backup_and_a_third_host_agree(lab: Lab, make: str) -> None:
    master, backup, third = lab.host("master"), lab.host("backup"), lab.host("third")
    STARTERS[make](master, CONFIGURATION % (150, f"{VIP}/24"))
    wait_until(lambda: master.holds(VIP), 10, "the master leads")
    start_holdfast(backup, CONFIGURATION % (100, f"{VIP}/24"))
    wait_until(lambda: holdfast_state(backup) == "BACKUP" and hears(backup), 10, "the backup hears the master")
    wanted = (master.ip4, master.mac)
    for host, words in ((master, ("-i", "eth0", VIP)), (backup, ()), (backup, ("web",)), (third, ("-i", "eth0", VIP))):
        status, found = who(host, *words)
        assert (status, owner(found), found[0]["conflict"]) == (0, wanted, False), (host.name, found)
        assert found[0]["here"] is (host is master)
        heard = holdfast_status(backup)["instances"][0]["master"]["since"]
        assert found[0]["since"] == (heard if host is backup else None) or (host is master and make == "holdfast")
    assert who(third, VIP)[1][0]["since"] is None  # the interface is found by the routes, too
    if make == "holdfast":
        status, found = who(master)
        assert (status, owner(found), found[0]["instance"]) == (0, wanted, "web")
        assert found[0]["since"] == holdfast_status(master)["instances"][0]["since"]


def test_nobody_has_it(lab: Lab) -> None:
    one, third = lab.host("one"), lab.host("third")
    start_holdfast(one, CONFIGURATION.replace("interface eth0", "interface eth0\n track_interface { eth9 }") % (9, VIP))
    wait_until(lambda: holdfast_state(one) == "FAULT", 10, "the instance is in fault")
    for host, words in ((one, ()), (third, ("-i", "eth0", VIP))):
        status, found = who(host, *words)
        assert (status, found[0]["owner"], found[0]["claimants"]) == (3, None, [])


@pytest.mark.parametrize("make", ["holdfast", "keepalived"])
def test_two_have_it_as_they_do_not_hear_each_other(lab: Lab, make: str) -> None:
    first, second, third = lab.host("first"), lab.host("second"), lab.host("third")
    for host in (first, second):
        host.run("nft", "add table inet t; add chain inet t in { type filter hook input priority 0; };"
                 "add rule inet t in meta l4proto 112 drop")  # fmt: skip
    start_holdfast(first, CONFIGURATION % (150, VIP))
    STARTERS[make](second, CONFIGURATION % (100, VIP))
    wait_until(lambda: first.holds(VIP) and second.holds(VIP), 10, "both lead")
    both = {first.mac, second.mac}
    for host, words in ((first, ()), (third, ("-i", "eth0", VIP)), (second, ("-i", "eth0", VIP))):
        status, found = who(host, *words)
        assert (status, found[0]["conflict"], found[0]["owner"]) == (4, True, None)
        assert {claimant["mac"] for claimant in found[0]["claimants"]} == both
        assert {claimant["address"] for claimant in found[0]["claimants"]} == {first.ip4, second.ip4}
    text = first.run(*holdfast_command("who"), check=False)
    assert "2 OWNERS" in text
    assert second.mac in text
    assert "\x1b" not in text


def test_ipv6(lab: Lab) -> None:
    master, backup, third = lab.host("master"), lab.host("backup"), lab.host("third")
    start_holdfast(master, CONFIGURATION % (150, f"fe80::100\n        {VIP6}/64"))
    wait_until(lambda: master.holds(VIP6), 10, "the master leads")
    start_holdfast(backup, CONFIGURATION % (100, f"fe80::100\n        {VIP6}/64"))
    wait_until(lambda: holdfast_state(backup) == "BACKUP" and hears(backup), 10, "the backup hears the master")
    for host, words in ((master, ()), (backup, ()), (third, ("-i", "eth0", VIP6, "fe80::100"))):
        status, found = who(host, *words)
        assert status == 0, found
        assert {one["owner"]["mac"] for one in found} == {master.mac}
        assert {one["owner"]["address"] for one in found} == {master.link_local}
        assert {one["vip"] for one in found} == {VIP6, "fe80::100"}


def test_what_cannot_be_asked_is_said_plainly(lab: Lab) -> None:
    host = lab.host("host")
    for words, wanted in (
        ((), "name an address"),
        (("-i", "eth9", VIP), "there is no interface 'eth9'"),
        (("webb",), "neither an address nor an instance"),
        (("203.0.113.9",), "say where to ask with -i"),
    ):
        with pytest.raises(subprocess.CalledProcessError) as refused:
            host.run(*holdfast_command("who", *words))
        assert refused.value.returncode == 1
        assert wanted in refused.value.stderr
